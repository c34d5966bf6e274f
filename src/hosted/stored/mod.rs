mod blobs;
mod builder;
mod collect;
mod file;
mod holds;
mod index;
mod keys;
mod lists;
mod manifests;
mod records;
mod recover;
mod scan;
mod untagged;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Extensions;
use tower_service::Service;

pub use self::builder::HostedBuilder;
pub use self::collect::{Collect, Collected};
use self::file::{Directory, Upload};
use self::holds::Holds;
use self::keys::Kind;
use self::records::seconds;
use super::answer::{Wanted, no_blob, no_manifest, verified};
use super::manifest::Pushed;
use super::memory::Usage;
use super::settings::Settings;
use super::uploads::Uploads;
use crate::error::Error;
use crate::operation::{
    Blob, BlobContent, BlobPart, BoxFuture, Conditional, DeleteBlob, DeleteManifest, Deleted, GetBlob,
    GetManifest, Manifest, ManifestCreated, Operation, Pong, PutManifest, Reply, Request, Response,
};
use crate::rt::{Clock, Tasks, blocking};
use crate::spec::digest::Digest;
use crate::spec::range::ByteRange;
use crate::store::blobs::{BlobStore as _, DiskBlobs, get_for};
use crate::store::index::Index;

/// After how many seconds it is noted again that a blob which no manifest needs yet was asked for.
const SEEN_AGAIN: u64 = 3600;

/// A registry kept in a directory.
///
/// ```text
/// <directory>/index.redb    what is where: manifests, tags, links to blobs, open uploads
/// <directory>/blobs/        the blobs, each once, whatever repositories show it
/// <directory>/uploads/      what has come of open uploads
/// <directory>/partial/, lock    the blob store's own
/// ```
///
/// One process has it open at a time; clones share it. It has no access control: layers around it have.
///
/// What was acknowledged is there after the process was killed, open uploads included; with
/// [`HostedBuilder::sync`], after a loss of power too. The rules are those of [`Memory`](super::Memory), but for what is
/// bounded: the disk is the only limit on bytes, and a full one is answered with 503.
///
/// A blob that no repository shows is removed when it is deleted; whatever else nobody needs goes with
/// [`Hosted::collect`].
///
/// ```
/// # #[cfg(feature = "redb")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("registry");
/// use tower_oci::hosted::Hosted;
/// use tower_oci::operation::{GetBlob, Registry, Request, SingleUpload, StartUpload};
/// use tower_oci::spec::digest::Digest;
///
/// let registry = Hosted::open(&directory).await?;
/// let (repository, digest) = ("demo/hello".parse()?, Digest::sha256(b"hello"));
/// let mut upload = StartUpload::new(repository);
/// upload.single = Some(SingleUpload::new(digest, Some(5), "hello".into()));
/// registry.send(Request::new(upload)).await?;
/// drop(registry);
///
/// let registry = Hosted::open(&directory).await?;
/// let get = GetBlob::new("demo/hello".parse()?, digest);
/// let blob = registry.send(Request::new(get)).await?.into_reply();
/// assert_eq!(blob.into_whole()?.read(1024).await?, "hello");
/// # Ok(()) }
/// # #[cfg(not(feature = "redb"))] fn main() {}
/// ```
#[derive(Clone)]
pub struct Hosted {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    sync: bool,
    clock: Clock,
    blobs: DiskBlobs,
    index: Arc<dyn Index>,
    directory: Arc<Directory>,
    uploads: Arc<Uploads<Upload>>,
    holds: Arc<Holds>,
    tasks: Tasks,
    /// Held by the collection that runs.
    collecting: tokio::sync::Mutex<()>,
}

impl Hosted {
    /// Opens the registry in `directory`, which is made if need be, with the default limits and switches.
    ///
    /// # Errors
    ///
    /// When the directory can't be made, read or written, or another process has it open.
    #[cfg(feature = "redb")]
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(directory).open().await
    }

    /// Limits and switches of a registry in `directory`.
    pub fn builder(directory: impl Into<PathBuf>) -> HostedBuilder {
        HostedBuilder::new(directory.into())
    }

    /// How much is kept now; the bytes are those of the blobs. It looks at every blob.
    ///
    /// # Errors
    ///
    /// When the disk is out of order.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let uploads = self.inner.uploads.len();
        let repositories = self.view(|view| scan::count(view, &Kind::Repository.below(&[]))).await?;
        let found = self.inner.blobs.usage().await?;
        let blobs = usize::try_from(found.blobs).unwrap_or(usize::MAX);
        Ok(Usage { bytes: found.bytes, repositories, blobs, uploads })
    }

    async fn answer(self, request: Request) -> Result<Response, Error> {
        let (operation, facts) = request.into_parts();
        let reply: Reply = match operation {
            Operation::Ping(_) => Pong::new().into(),
            Operation::GetManifest(get) => return self.manifest(&get).map(verified),
            Operation::GetBlob(get) => return self.blob(&get, &facts).await.map(verified),
            Operation::PutManifest(put) => self.put_manifest(put).await?.into(),
            Operation::DeleteManifest(delete) => self.delete_manifest(delete).await?.into(),
            Operation::DeleteBlob(delete) => self.delete_blob(delete).await?.into(),
            Operation::StartUpload(start) => self.start_upload(start).await?.into(),
            Operation::UploadChunk(chunk) => self.upload_chunk(chunk).await?.into(),
            Operation::FinishUpload(finish) => self.finish_upload(finish).await?.into(),
            Operation::UploadStatus(status) => self.upload_status(status).await?.into(),
            Operation::CancelUpload(cancel) => self.cancel_upload(cancel).await?.into(),
            Operation::ListTags(list) => {
                self.view(move |view| lists::tags(view, &list.repository, &list.page)).await?.into()
            }
            // With the referrers API there is never a 404, whatever is known of the repository.
            Operation::ListReferrers(list) => {
                self.view(move |view| lists::referrers(view, &list)).await?.into()
            }
            Operation::ListRepositories(list) => {
                self.inner.settings.allow_catalog()?;
                self.view(move |view| lists::repositories(view, &list.page)).await?.into()
            }
        };
        Ok(Response::new(reply))
    }

    /// A few look-ups, which are short enough for the task itself.
    fn manifest(&self, get: &GetManifest) -> Result<Conditional<Manifest>, Error> {
        self.inner.read(|view| {
            let Some((digest, record)) = manifests::find(view, &get.repository, &get.reference)? else {
                return Err(no_manifest(&get.repository, &get.reference));
            };
            if get.conditions.has(&digest) {
                return Ok(Conditional::NotModified(digest));
            }
            Ok(Conditional::Full(if get.head {
                Manifest::head(record.media_type, digest, record.size)
            } else {
                let content = manifests::content(view, &get.repository, &digest)?;
                Manifest::new(record.media_type, digest, content)
            }))
        })
    }

    async fn blob(&self, get: &GetBlob, facts: &Extensions) -> Result<Blob, Error> {
        let absent = || no_blob(&get.repository, &get.digest);
        let link = self.inner.read(|view| blobs::link(view, &get.repository, &get.digest))?;
        let link = link.ok_or_else(absent)?;
        let (digest, size) = (get.digest, link.size);
        let mut blob = Blob::head(digest, Some(size));
        blob.content = match Wanted::of(get, size)? {
            Wanted::Head => {
                // Who asks is told to upload again what the disk has lost.
                self.inner.blobs.stat(digest).await?.ok_or_else(absent)?;
                self.see_again(get, &link).await?;
                return Ok(blob);
            }
            Wanted::NotModified => BlobContent::NotModified,
            Wanted::Whole => BlobContent::Whole(self.body(facts, digest, None).await?.ok_or_else(absent)?),
            Wanted::Part(range) => {
                BlobContent::Part(self.part(facts, digest, range).await?.ok_or_else(absent)?)
            }
            Wanted::Parts(ranges) => {
                let mut parts = Vec::new();
                for range in ranges {
                    parts.push(self.part(facts, digest, range).await?.ok_or_else(absent)?);
                }
                BlobContent::Parts(parts)
            }
        };
        Ok(blob)
    }

    async fn body(
        &self,
        facts: &Extensions,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> Result<Option<crate::body::Body>, Error> {
        Ok(get_for(&self.inner.blobs, facts, digest, range).await?.map(|blob| blob.body))
    }

    async fn part(
        &self,
        facts: &Extensions,
        digest: Digest,
        range: ByteRange,
    ) -> Result<Option<BlobPart>, Error> {
        Ok(self.body(facts, digest, Some(range)).await?.map(|body| BlobPart::new(range, body)))
    }

    /// A client that is told that a blob is there relies on it for the manifest to come.
    async fn see_again(&self, get: &GetBlob, link: &records::LinkRecord) -> Result<(), Error> {
        let now = self.inner.now();
        if now.saturating_sub(link.seen) < SEEN_AGAIN {
            return Ok(());
        }
        let (repository, digest) = (get.repository.clone(), get.digest);
        let is_needed = self.inner.read(|view| blobs::is_needed(view, &repository, &digest))?;
        if is_needed {
            return Ok(());
        }
        self.write(move |batch| match blobs::link(batch, &repository, &digest)? {
            Some(link) => blobs::show(batch, &repository, &digest, link.size, now),
            None => Err(no_blob(&repository, &digest)),
        })
        .await
    }

    async fn put_manifest(&self, put: PutManifest) -> Result<ManifestCreated, Error> {
        let inner = Arc::clone(&self.inner);
        let (now, sparse_indexes) = (inner.now(), inner.settings.sparse_indexes);
        blocking(move || {
            let pushed = Pushed::read(&put)?;
            inner.write(move |batch| {
                manifests::put(
                    batch,
                    &put.repository,
                    &put.reference,
                    &put.tags,
                    &pushed,
                    sparse_indexes,
                    now,
                )
            })
        })
        .await?
    }

    async fn delete_manifest(&self, delete: DeleteManifest) -> Result<Deleted, Error> {
        self.inner.settings.allow_deletes()?;
        self.write(move |batch| manifests::delete(batch, &delete.repository, &delete.reference)).await?;
        Ok(Deleted::new())
    }

    async fn delete_blob(&self, delete: DeleteBlob) -> Result<Deleted, Error> {
        self.inner.settings.allow_deletes()?;
        let (digest, absent) = (delete.digest, no_blob(&delete.repository, &delete.digest));
        if !self.write(move |batch| blobs::hide(batch, &delete.repository, &delete.digest)).await? {
            return Err(absent);
        }
        if let Err(error) = self.sweep_blob(digest).await {
            // It is invisible, and goes with the next collection.
            tracing::warn!(%error, %digest, "the file of a blob that was deleted can't be removed");
        }
        Ok(Deleted::new())
    }

    /// Removes a blob that nobody shows and nobody is about to show. Answers whether it was there.
    async fn sweep_blob(&self, digest: Digest) -> Result<bool, Error> {
        let Some(hold) = self.inner.holds.remove(digest) else { return Ok(false) };
        if self.inner.read(|view| blobs::is_shown(view, &digest))? {
            return Ok(false);
        }
        // In a task of its own: were it dropped with its caller, the file could go after somebody has put it anew.
        let (answer, removed) = tokio::sync::oneshot::channel();
        let store = self.inner.blobs.clone();
        let started = self.inner.tasks.spawn(async move {
            let _ = answer.send(store.remove(digest).await);
            drop(hold);
        });
        if !started {
            return Ok(false);
        }
        removed.await.map_err(|error| Error::internal("a removal did not end").with_source(error))?
    }
}

impl Inner {
    fn now(&self) -> u64 {
        seconds(self.clock.now())
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { blobs, index, sync, .. } = &*self.inner;
        f.debug_struct("Hosted").field("blobs", blobs).field("index", index).field("sync", sync).finish()
    }
}

impl Service<Request> for Hosted {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

#[cfg(test)]
#[cfg(feature = "redb")]
mod tests;
