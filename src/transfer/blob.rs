use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::is_refusal;
use super::passage::Passage;
use super::place::{Place, What};
use super::progress::Tally;
use super::retry::Tries;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::operation::{
    BlobContent, CancelUpload, FinishUpload, GetBlob, Mount, StartUpload, UploadId, UploadStarted,
    WithoutRedirect, WithoutVerification,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::Descriptor;
use crate::spec::name::Repository;

/// How long giving an upload up may take.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

/// How long the source may send nothing in the middle of a blob: less than a destination waits, so that it isn't the one
/// who seems to be at fault.
const IDLE: Duration = Duration::from_secs(45);

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The destination had it.
    Present,
    /// The destination took it from another repository.
    Mounted,
    /// It was sent.
    Copied,
}

/// Brings blobs to a destination.
#[derive(Debug)]
pub(super) struct Carrier<'a> {
    pub(super) from: &'a Place,
    pub(super) to: &'a Place,
    pub(super) mount_from: Option<&'a Repository>,
    pub(super) tally: Arc<Tally>,
    uploads: Mutex<BTreeMap<Digest, UploadId>>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(
        from: &'a Place,
        to: &'a Place,
        mount_from: Option<&'a Repository>,
        tally: Arc<Tally>,
    ) -> Self {
        // What is in the destination's repository needs no mount to be there.
        let mount_from = mount_from.filter(|repository| *repository != to.repository());
        Self { from, to, mount_from, tally, uploads: Mutex::default() }
    }

    /// Brings one blob, with another try where that may help, and says how many bytes it has. What has come meanwhile
    /// isn't sent again.
    pub(super) async fn carry(&self, blob: &Descriptor) -> Result<(Outcome, u64), Error> {
        let mut tries = Tries::new();
        loop {
            let passage = Passage::new(&self.tally);
            match self.once(blob, &passage).await {
                Ok(outcome) => {
                    passage.arrived(blob.size());
                    return Ok((outcome, blob.size()));
                }
                Err(error) => {
                    passage.undo();
                    self.cancel(blob.digest()).await;
                    tries.again(error).await?;
                }
            }
        }
    }

    /// Gives up all uploads that are still open, as far as the destination can be reached.
    pub(super) async fn cancel_all(&self) {
        let open: Vec<Digest> = self.uploads().keys().copied().collect();
        join_all(open.iter().map(|digest| self.cancel(digest))).await;
    }

    async fn once(&self, blob: &Descriptor, passage: &Arc<Passage>) -> Result<Outcome, Error> {
        let digest = *blob.digest();
        let writing = self.to.writing(What::Blob(digest));
        if self.is_there(digest).await.map_err(&writing)? {
            return Ok(Outcome::Present);
        }
        let upload = match self.start(digest).await.map_err(&writing)? {
            UploadStarted::Created(_) => return Ok(Outcome::Mounted),
            UploadStarted::Open(state) => state.upload,
        };
        self.uploads().insert(digest, upload.clone());
        let reading = self.from.reading(What::Blob(digest));
        let body = passage.body(self.content(blob).await.map_err(&reading)?);
        let finish = FinishUpload::new(self.to.repository().clone(), upload, digest, body);
        match self.to.send(finish).await {
            Ok(_) => {
                self.uploads().remove(&digest);
                Ok(Outcome::Copied)
            }
            Err(error) => Err(match passage.failure() {
                Some(failure) => reading(failure),
                None => writing(error),
            }),
        }
    }

    async fn is_there(&self, digest: Digest) -> Result<bool, Error> {
        match self.to.send(GetBlob::head(self.to.repository().clone(), digest)).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Mounts the blob, or opens an upload for it.
    async fn start(&self, digest: Digest) -> Result<UploadStarted, Error> {
        let start = |mount| {
            let mut start = StartUpload::new(self.to.repository().clone());
            start.algorithm = Some(digest.algorithm()).filter(|algorithm| *algorithm != Algorithm::Sha256);
            start.mount = mount;
            start
        };
        let Some(from) = self.mount_from else { return self.to.send(start(None)).await };
        let mount = Mount::new(digest, Some(from.clone()));
        match self.to.send(start(Some(mount))).await {
            // Not all registries answer a mount that they won't make by opening an upload.
            Err(error) if is_refusal(&error) || error.kind() == ErrorKind::Unsupported => {
                self.to.send(start(None)).await
            }
            answer => answer,
        }
    }

    /// The content from the source, which ends well only if it is the right one.
    async fn content(&self, blob: &Descriptor) -> Result<Body, Error> {
        if let Some(data) = blob.data() {
            return Ok(data.into());
        }
        let digest = *blob.digest();
        let mut request = self.from.request(GetBlob::new(self.from.repository().clone(), digest));
        request.extensions_mut().insert(WithoutRedirect::new());
        request.extensions_mut().insert(WithoutVerification::new());
        let blob_there = self.from.send_request(request).await?;
        match blob_there.content {
            BlobContent::Whole(body) => body.idle_timeout(IDLE).verified(digest, Some(blob.size())),
            BlobContent::Redirect(_) => {
                Err(Error::unsupported("it is kept elsewhere, and nothing here goes there"))
            }
            _ => Err(Error::bad_gateway("it was not answered whole")),
        }
    }

    async fn cancel(&self, digest: &Digest) {
        let Some(upload) = self.uploads().remove(digest) else { return };
        let cancel = self.to.send(CancelUpload::new(self.to.repository().clone(), upload));
        // What comes of it is the destination's business: it gives up what nobody goes on with anyway.
        let _ = tokio::time::timeout(CANCELLED_WITHIN, cancel).await;
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<Digest, UploadId>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
