//! Uploads: files that grow, and records that say how far they are.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::blobs;
use super::file::Upload;
use super::keys::Kind;
use super::records::{UploadRecord, encode};
use super::{Hosted, Inner, SEEN_AGAIN};
use crate::error::Error;
use crate::hosted::chunk::{Chunk, Limits, Sink, Stopped, wrong_digest};
use crate::hosted::uploads::{Held as _, Lease, random_id};
use crate::operation::{
    BlobCreated, CancelUpload, Deleted, FinishUpload, Mount, SingleUpload, StartUpload, UploadChunk,
    UploadId, UploadStarted, UploadState, UploadStatus,
};
use crate::rt::blocking;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::name::Repository;
use crate::store::blobs::BlobStore as _;
use crate::store::index::Batch;

impl Hosted {
    pub(super) async fn start_upload(&self, start: StartUpload) -> Result<UploadStarted, Error> {
        if let Some(mount) = &start.mount
            && self.mount(&start.repository, mount).await?
        {
            return Ok(UploadStarted::Created(BlobCreated::new(mount.digest)));
        }
        if let Some(single) = start.single {
            return self.single_upload(start.repository, single).await.map(UploadStarted::Created);
        }
        let id = random_id()?;
        let algorithm = start.algorithm.unwrap_or(Algorithm::Sha256);
        let mut upload = Upload::new(&self.inner.directory, id.clone(), algorithm);
        let record = self.inner.record(&start.repository, &upload, None)?;
        upload.set_recorded();
        self.inner.uploads.open(id.clone(), start.repository.clone(), upload)?;
        // What has expired makes place, in the same transaction.
        let abandoned = self.inner.directory.take_abandoned();
        let (inner, key) = (Arc::clone(&self.inner), Kind::Upload.key(&[id.as_str()]));
        let kept = blocking(move || inner.discard(abandoned, move |batch| batch.put(&key, &record))).await;
        if let Err(error) = kept.flatten() {
            // Maybe it has expired by now.
            let _ = self.inner.uploads.cancel(&start.repository, &id);
            return Err(error);
        }
        let mut state = UploadState::new(id, 0);
        state.min_chunk = self.inner.settings.min_chunk;
        Ok(UploadStarted::Open(state))
    }

    /// Whether the blob is in the repository now.
    async fn mount(&self, to: &Repository, mount: &Mount) -> Result<bool, Error> {
        let (now, digest) = (self.inner.now(), mount.digest);
        let anywhere = mount.from.is_none() && self.inner.settings.mount_from_anywhere;
        let (to, from) = (to.clone(), mount.from.clone());
        let source = self.inner.read(|view| blobs::source(view, &to, from.as_ref(), anywhere, &digest))?;
        // What the disk has lost is to be uploaded again.
        if source.is_none() || self.inner.blobs.stat(digest).await?.is_none() {
            return Ok(false);
        }
        self.write(move |batch| {
            let Some(source) = blobs::source(batch, &to, from.as_ref(), anywhere, &digest)? else {
                return Ok(false);
            };
            let own = blobs::link(batch, &to, &digest)?;
            if own.is_none_or(|own| now.saturating_sub(own.seen) >= SEEN_AGAIN) {
                blobs::show(batch, &to, &digest, source.size, now)?;
            }
            Ok(true)
        })
        .await
    }

    async fn single_upload(&self, to: Repository, single: SingleUpload) -> Result<BlobCreated, Error> {
        let upload = Upload::new(&self.inner.directory, random_id()?, single.digest.algorithm());
        let chunk = Chunk { range: None, length: single.length, body: single.body };
        let mut writer = Writer::new(Place::Single(upload));
        match writer.pour(chunk, self.inner.settings.limits()).await {
            Ok(()) => self.keep(writer.into_place()?, to, single.digest).await,
            Err(Stopped::BrokenOff(error) | Stopped::Refused(error)) => Err(error),
        }
    }

    pub(super) async fn upload_chunk(&self, chunk: UploadChunk) -> Result<UploadState, Error> {
        let lease = self.inner.uploads.take(&chunk.repository, &chunk.upload)?;
        let data = Chunk { range: chunk.range, length: chunk.length, body: chunk.body };
        let place = self.pour(lease, data, &chunk.repository).await?;
        let received = self.note(place, chunk.repository).await?;
        Ok(UploadState::new(chunk.upload, received))
    }

    pub(super) async fn finish_upload(&self, finish: FinishUpload) -> Result<BlobCreated, Error> {
        let lease = self.inner.uploads.take(&finish.repository, &finish.upload)?;
        let data = Chunk { range: finish.range, length: finish.length, body: finish.body };
        let place = self.pour(lease, data, &finish.repository).await?;
        self.keep(place, finish.repository, finish.digest).await
    }

    pub(super) async fn upload_status(&self, status: UploadStatus) -> Result<UploadState, Error> {
        let mut received = self.inner.uploads.received(&status.repository, &status.upload)?;
        // What came with a client that left is told now, and so has to last.
        if let Ok(mut lease) = self.inner.uploads.take(&status.repository, &status.upload)
            && lease.upload()?.recorded() != Some(received)
        {
            received = self.note(Place::Open(lease), status.repository).await?;
        }
        Ok(UploadState::new(status.upload, received))
    }

    pub(super) async fn cancel_upload(&self, cancel: CancelUpload) -> Result<Deleted, Error> {
        self.inner.uploads.cancel(&cancel.repository, &cancel.upload)?;
        self.discard_also(cancel.upload).await?;
        Ok(Deleted::new())
    }

    /// Takes a chunk into an open upload.
    async fn pour(
        &self,
        lease: Lease<Upload>,
        chunk: Chunk,
        repository: &Repository,
    ) -> Result<Place, Error> {
        let mut writer = Writer::new(Place::Open(lease));
        let mark = writer.upload()?.mark();
        match writer.pour(chunk, self.inner.settings.limits()).await {
            Ok(()) => writer.into_place(),
            Err(Stopped::BrokenOff(error)) => {
                self.note(writer.into_place()?, repository.clone()).await?;
                Err(error)
            }
            Err(Stopped::Refused(error)) => {
                writer.upload()?.return_to(mark);
                Err(error)
            }
        }
    }

    /// Writes down how far an upload is. Answers how many bytes have come.
    async fn note(&self, mut place: Place, repository: Repository) -> Result<u64, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let upload = place.upload()?;
            upload.flush()?;
            if inner.sync {
                upload.sync()?;
            }
            inner.put_record(&repository, upload, None)?;
            Ok(upload.received())
        })
        .await?
    }

    /// Ends an upload: its content becomes the blob `digest`, if it has that digest.
    async fn keep(&self, mut place: Place, to: Repository, digest: Digest) -> Result<BlobCreated, Error> {
        let inner = Arc::clone(&self.inner);
        let sealed = blocking(move || {
            let found = place.upload()?.seal(digest.algorithm(), inner.sync)?;
            Ok::<_, Error>((place, found))
        });
        let (place, found) = sealed.await??;
        if found != digest {
            if let Place::Open(lease) = place {
                let upload = lease.end()?;
                self.discard_also(upload.id.clone()).await?;
            }
            return Err(wrong_digest(&digest, &found));
        }
        let hold = self.inner.holds.put(digest).await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let kept = inner.keep(place, to, digest);
            drop(hold);
            kept
        })
        .await??;
        Ok(BlobCreated::new(digest))
    }

    /// Removes what is left of the upload `id`, and of others that were given up.
    async fn discard_also(&self, id: UploadId) -> Result<(), Error> {
        let mut abandoned = self.inner.directory.take_abandoned();
        abandoned.push(id);
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.discard(abandoned, |_| Ok(()))).await?
    }

    /// Removes what is left of uploads that were given up. Answers how many.
    pub(super) async fn discard_abandoned(&self) -> Result<usize, Error> {
        let abandoned = self.inner.directory.take_abandoned();
        let (inner, count) = (Arc::clone(&self.inner), abandoned.len());
        if count > 0 {
            blocking(move || inner.discard(abandoned, |_| Ok(()))).await??;
        }
        Ok(count)
    }
}

impl Inner {
    /// The file gets its name among the blobs first, the index names it then. In between, a killed process leaves an
    /// upload without a file: see [`recover`](super::recover).
    fn keep(&self, mut place: Place, to: Repository, digest: Digest) -> Result<(), Error> {
        let upload = place.upload()?;
        let (size, id, now) = (upload.received(), upload.id.clone(), self.now());
        let is_told = upload.recorded().is_some_and(|recorded| recorded > 0);
        if is_told && (upload.recorded() != Some(size) || upload.algorithm() != digest.algorithm()) {
            // The record as it is wouldn't lead to the blob.
            self.put_record(&to, upload, Some(digest))?;
        }
        self.blobs.adopt(&upload.path(), digest)?;
        self.write(move |batch| {
            blobs::show(batch, &to, &digest, size, now)?;
            batch.remove(&Kind::Upload.key(&[id.as_str()])).map(drop)
        })?;
        if let Place::Open(lease) = place {
            // Cancelled in the meantime: too late.
            let _ = lease.end();
        }
        Ok(())
    }

    fn record(
        &self,
        repository: &Repository,
        upload: &Upload,
        finishing: Option<Digest>,
    ) -> Result<Vec<u8>, Error> {
        encode(&UploadRecord {
            repository: repository.clone(),
            algorithm: upload.algorithm().to_string(),
            size: upload.received(),
            hasher: BASE64_STANDARD.encode(upload.hasher().save()),
            touched: self.now(),
            finishing,
        })
    }

    /// Writes down how far an upload is, all of which is flushed, unless it was cancelled.
    pub(super) fn put_record(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        finishing: Option<Digest>,
    ) -> Result<(), Error> {
        let record = self.record(repository, upload, finishing)?;
        let key = Kind::Upload.key(&[upload.id.as_str()]);
        self.write(move |batch| match batch.get(&key)? {
            Some(_) => batch.put(&key, &record),
            None => Ok(()),
        })?;
        upload.set_recorded();
        Ok(())
    }

    /// Removes the records and the files of uploads, and does something else in the same transaction.
    pub(super) fn discard(
        &self,
        abandoned: Vec<UploadId>,
        mut also: impl FnMut(&mut dyn Batch) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let ids = abandoned.clone();
        self.write(move |batch| {
            for id in &ids {
                batch.remove(&Kind::Upload.key(&[id.as_str()]))?;
            }
            also(batch)
        })?;
        abandoned.iter().try_for_each(|id| self.directory.remove(id).map(drop))
    }
}

/// An upload, and whose it is.
enum Place {
    Open(Lease<Upload>),
    /// One that comes in a single request, and that nobody else knows of.
    Single(Upload),
}

impl Place {
    fn upload(&mut self) -> Result<&mut Upload, Error> {
        match self {
            Self::Open(lease) => lease.upload(),
            Self::Single(upload) => Ok(upload),
        }
    }
}

/// Writes to an upload. While a thread works on it, it is with that thread: a request that is given up meanwhile doesn't
/// leave it to the next one before that.
struct Writer(Option<Place>);

impl Writer {
    fn new(place: Place) -> Self {
        Self(Some(place))
    }

    fn upload(&mut self) -> Result<&mut Upload, Error> {
        self.0.as_mut().ok_or_else(lost)?.upload()
    }

    fn into_place(self) -> Result<Place, Error> {
        self.0.ok_or_else(lost)
    }

    async fn pour(&mut self, chunk: Chunk, limits: Limits) -> Result<(), Stopped> {
        let start = self.upload().map_err(Stopped::Refused)?.received();
        chunk.pour(start, limits, self).await
    }
}

impl Sink for Writer {
    async fn append(&mut self, data: Bytes) -> Result<(), Error> {
        if !self.upload()?.push(data) {
            return Ok(());
        }
        let mut place = self.0.take().ok_or_else(lost)?;
        let (place, flushed) = blocking(move || {
            let flushed = place.upload().and_then(Upload::flush);
            (place, flushed)
        })
        .await?;
        self.0 = Some(place);
        flushed
    }
}

fn lost() -> Error {
    Error::internal("an upload was lost by the thread that wrote it")
}
