use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tower_service::Service;

use super::answer::{Wanted, no_blob, no_manifest, no_repository, verified};
use super::budget::Budget;
use super::builder::MemoryBuilder;
use super::chunk::Chunk;
use super::manifest::Pushed;
use super::settings::Settings;
use super::state::State;
use super::upload::Upload;
use super::uploads::{Held as _, Uploads, random_id};
use crate::error::Error;
use crate::operation::{
    Blob, BlobContent, BlobCreated, BlobPart, BoxFuture, Conditional, DeleteBlob, DeleteManifest, Deleted,
    FinishUpload, GetBlob, GetManifest, Manifest, ManifestCreated, Operation, Pong, PutManifest, Referrers,
    Reply, Request, Response, SingleUpload, StartUpload, UploadChunk, UploadStarted, UploadState,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::Descriptor;
use crate::spec::media_type::MediaType;
use crate::spec::name::{Reference, Repository};

/// A registry kept in memory. See [the module](crate::hosted) for an example.
///
/// Clones share what is kept, which goes when the last of them does. It has no access control: layers around it
/// have. What is kept is bounded in all by [`MemoryBuilder::max_bytes`].
///
/// Beyond the letter of the specification:
///
/// - A manifest whose config, image layers or (by switch) index entries aren't there is refused with
///   `MANIFEST_BLOB_UNKNOWN`, one that gives a wrong size for them with `SIZE_INVALID`. Foreign image layers and the
///   subject need not be there.
/// - A blob that a manifest of the repository needs can't be deleted.
/// - A blob that no repository shows any more is forgotten, as is a repository with nothing in it.
/// - A chunk that breaks off leaves what has come; one that disagrees with its announced length or range leaves
///   nothing. An upload that is finished with the wrong digest is gone.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    budget: Arc<Budget>,
    uploads: Arc<Uploads<Upload>>,
    state: Mutex<State>,
}

/// How much a [`Memory`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes, as [`MemoryBuilder::max_bytes`] counts them.
    pub bytes: u64,
    /// Repositories with anything in them.
    pub repositories: usize,
    /// Blobs, each counted once.
    pub blobs: usize,
    /// Open uploads.
    pub uploads: usize,
}

impl Memory {
    /// An empty registry with the default limits and switches.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Limits and switches.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::new()
    }

    pub(super) fn with_settings(settings: Settings, max_bytes: u64) -> Self {
        let budget = Budget::new(max_bytes);
        let uploads = Uploads::new(settings.max_uploads, settings.upload_timeout);
        let state = Mutex::new(State::new(Arc::clone(&budget)));
        Self { inner: Arc::new(Inner { settings, budget, uploads, state }) }
    }

    /// Puts a blob into a repository, and answers its descriptor with that media type and a SHA-256 digest.
    ///
    /// # Errors
    ///
    /// When a limit is reached.
    pub fn push_blob(
        &self,
        repository: &Repository,
        media_type: MediaType,
        content: impl Into<Bytes>,
    ) -> Result<Descriptor, Error> {
        let content = content.into();
        let descriptor = Descriptor::of(media_type, &content);
        self.inner.uploads.expire();
        let cost = self.inner.budget.reserve(content.len() as u64)?;
        self.state().put_blob(repository, *descriptor.digest(), content.into(), cost)?;
        Ok(descriptor)
    }

    /// Puts a manifest into a repository, under a tag or its digest, and answers its digest. It is checked as one that
    /// comes over the network is.
    ///
    /// # Errors
    ///
    /// When it is malformed, is not what the reference or the media type says, or refers to what isn't there; when a
    /// limit is reached.
    pub fn push_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        media_type: MediaType,
        content: impl Into<Bytes>,
    ) -> Result<Digest, Error> {
        let (repository, reference) = (repository.clone(), reference.clone());
        let put = PutManifest::new(repository, reference, media_type, content.into());
        Ok(self.put_manifest(put)?.digest)
    }

    /// How much is kept now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        // First, since what has expired is given back then.
        let uploads = self.inner.uploads.len();
        let (repositories, blobs) = self.state().counts();
        Usage { bytes: self.inner.budget.used(), repositories, blobs, uploads }
    }

    /// Never held while anything is awaited.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, operation: Operation) -> Result<Response, Error> {
        let uploads = &self.inner.uploads;
        let reply: Reply = match operation {
            Operation::Ping(_) => Pong::new().into(),
            Operation::GetManifest(get) => return self.manifest(&get).map(verified),
            Operation::GetBlob(get) => return self.blob(&get).map(verified),
            Operation::PutManifest(put) => self.put_manifest(put)?.into(),
            Operation::DeleteManifest(delete) => self.delete_manifest(&delete)?.into(),
            Operation::DeleteBlob(delete) => self.delete_blob(&delete)?.into(),
            Operation::StartUpload(start) => self.start_upload(start).await?.into(),
            Operation::UploadChunk(chunk) => self.upload_chunk(chunk).await?.into(),
            Operation::FinishUpload(finish) => self.finish_upload(finish).await?.into(),
            Operation::UploadStatus(status) => {
                let received = uploads.received(&status.repository, &status.upload)?;
                UploadState::new(status.upload, received).into()
            }
            Operation::CancelUpload(cancel) => {
                uploads.cancel(&cancel.repository, &cancel.upload)?;
                Deleted::new().into()
            }
            Operation::ListTags(list) => match self.state().repository(&list.repository) {
                Some(shelf) => shelf.tags(&list.repository, &list.page).into(),
                None => return Err(no_repository(&list.repository)),
            },
            // With the referrers API there is never a 404, whatever is known of the repository.
            Operation::ListReferrers(list) => {
                let artifact_type = list.artifact_type.as_deref();
                match self.state().repository(&list.repository) {
                    Some(shelf) => shelf.referrers(&list.digest, artifact_type, &list.page).into(),
                    None => Referrers::new(Vec::new(), artifact_type.is_some(), None).into(),
                }
            }
            Operation::ListRepositories(list) => {
                self.inner.settings.allow_catalog()?;
                self.state().repositories(&list.page).into()
            }
        };
        Ok(Response::new(reply))
    }

    fn manifest(&self, get: &GetManifest) -> Result<Conditional<Manifest>, Error> {
        let state = self.state();
        let found = state.repository(&get.repository).and_then(|shelf| shelf.manifest(&get.reference));
        let Some(found) = found else { return Err(no_manifest(&get.repository, &get.reference)) };
        if get.conditions.has(&found.digest) {
            return Ok(Conditional::NotModified(found.digest));
        }
        let media_type = found.media_type.clone();
        Ok(Conditional::Full(if get.head {
            Manifest::head(media_type, found.digest, found.size())
        } else {
            Manifest::new(media_type, found.digest, found.content.clone())
        }))
    }

    fn blob(&self, get: &GetBlob) -> Result<Blob, Error> {
        let content = self
            .state()
            .blob(&get.repository, &get.digest)
            .ok_or_else(|| no_blob(&get.repository, &get.digest))?;
        let (digest, size) = (get.digest, content.size());
        let part = |range| BlobPart::new(range, content.part(range));
        let mut blob = Blob::head(digest, Some(size));
        match Wanted::of(get, size)? {
            Wanted::Head => {}
            Wanted::NotModified => blob.content = BlobContent::NotModified,
            Wanted::Whole => blob.content = BlobContent::Whole(content.body()),
            Wanted::Part(range) => blob.content = BlobContent::Part(part(range)),
            Wanted::Parts(ranges) => {
                blob.content = BlobContent::Parts(ranges.into_iter().map(part).collect())
            }
        }
        Ok(blob)
    }

    fn put_manifest(&self, put: PutManifest) -> Result<ManifestCreated, Error> {
        let pushed = Pushed::read(&put)?;
        let sparse_indexes = self.inner.settings.sparse_indexes;
        self.inner.uploads.expire();
        self.state().put_manifest(&put.repository, put.reference, put.tags, pushed, sparse_indexes)
    }

    fn delete_manifest(&self, delete: &DeleteManifest) -> Result<Deleted, Error> {
        self.inner.settings.allow_deletes()?;
        match self.state().delete_manifest(&delete.repository, &delete.reference) {
            Some(true) => Ok(Deleted::new()),
            Some(false) => Err(no_manifest(&delete.repository, &delete.reference)),
            None => Err(no_repository(&delete.repository)),
        }
    }

    fn delete_blob(&self, delete: &DeleteBlob) -> Result<Deleted, Error> {
        self.inner.settings.allow_deletes()?;
        if self.state().delete_blob(&delete.repository, &delete.digest)? {
            Ok(Deleted::new())
        } else {
            Err(no_blob(&delete.repository, &delete.digest))
        }
    }

    async fn start_upload(&self, start: StartUpload) -> Result<UploadStarted, Error> {
        if let Some(mount) = &start.mount
            && self.mount(&start.repository, &mount.digest, mount.from.as_ref())?
        {
            return Ok(UploadStarted::Created(BlobCreated::new(mount.digest)));
        }
        if let Some(single) = start.single {
            return self.single_upload(&start.repository, single).await.map(UploadStarted::Created);
        }
        let algorithm = start.algorithm.unwrap_or(Algorithm::Sha256);
        let upload = Upload::new(algorithm, &self.inner.budget)?;
        let id = random_id()?;
        self.inner.uploads.open(id.clone(), start.repository, upload)?;
        let mut state = UploadState::new(id, 0);
        state.min_chunk = self.inner.settings.min_chunk;
        Ok(UploadStarted::Open(state))
    }

    /// Whether the blob is in the repository now.
    fn mount(&self, to: &Repository, digest: &Digest, from: Option<&Repository>) -> Result<bool, Error> {
        let mut state = self.state();
        let shows = |name: &Repository| state.repository(name).is_some_and(|shelf| shelf.has_blob(digest));
        let found = shows(to)
            || match from {
                Some(from) => shows(from),
                None => self.inner.settings.mount_from_anywhere && state.keeps(digest),
            };
        if found {
            state.link(to, *digest)?;
        }
        Ok(found)
    }

    async fn single_upload(&self, to: &Repository, single: SingleUpload) -> Result<BlobCreated, Error> {
        let mut upload = Upload::new(single.digest.algorithm(), &self.inner.budget)?;
        let chunk = Chunk { range: None, length: single.length, body: single.body };
        upload.take(chunk, self.inner.settings.limits()).await?;
        self.keep(to, upload, single.digest).await
    }

    async fn upload_chunk(&self, chunk: UploadChunk) -> Result<UploadState, Error> {
        let mut lease = self.inner.uploads.take(&chunk.repository, &chunk.upload)?;
        let upload = lease.upload()?;
        let data = Chunk { range: chunk.range, length: chunk.length, body: chunk.body };
        upload.take(data, self.inner.settings.limits()).await?;
        Ok(UploadState::new(chunk.upload, upload.received()))
    }

    async fn finish_upload(&self, finish: FinishUpload) -> Result<BlobCreated, Error> {
        let mut lease = self.inner.uploads.take(&finish.repository, &finish.upload)?;
        let data = Chunk { range: finish.range, length: finish.length, body: finish.body };
        lease.upload()?.take(data, self.inner.settings.limits()).await?;
        let upload = lease.end()?;
        self.keep(&finish.repository, *upload, finish.digest).await
    }

    async fn keep(&self, to: &Repository, upload: Upload, digest: Digest) -> Result<BlobCreated, Error> {
        let (content, cost) = upload.finish(&digest).await?;
        self.state().put_blob(to, digest, content, cost)?;
        Ok(BlobCreated::new(digest))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memory").field(&self.usage()).finish()
    }
}

impl Service<Request> for Memory {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().answer(request.into_operation()))
    }
}
