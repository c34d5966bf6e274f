use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Extensions;
use tokio::sync::{Notify, watch};

use super::failure::Failure;
use super::window::Window;
use crate::error::Error;
use crate::spec::digest::{Digest, Hasher};
use crate::store::blobs::{BlobWriter, Spool, map_back_for};
use crate::store::recent::lock;

/// How much is read back at once to be hashed, in bytes.
const PIECE: usize = 256 * 1024;

/// A blob on its way from an upstream, for those who follow it. What brings it is in [`super::fill`].
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) digest: Digest,
    /// As it was announced.
    pub(super) size: Option<u64>,
    /// How many follow it, or are about to. It changes only while the list of transfers is locked.
    pub(super) readers: AtomicUsize,
    /// Told when the transfer is to end since nobody wants it any more.
    pub(super) abandoned: Notify,
    progress: watch::Sender<Progress>,
    content: Mutex<Content>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// How many bytes have come.
    pub(super) written: u64,
    /// Where the last frame starts: of a blob of unknown size, what may be given before it is verified.
    pub(super) last_frame: u64,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// All has come, and it is right.
    Verified,
    /// No more comes, since the store has failed. What has come can be read, but nobody has checked it.
    Lost,
    /// Something is wrong, or the upstream has failed.
    Failed,
}

#[derive(Debug, Default)]
struct Content {
    window: Window,
    spool: Option<Arc<dyn Spool>>,
    /// Of a transfer that is lost: what keeps its spool readable.
    writer: Option<Box<dyn BlobWriter>>,
    failure: Option<Failure>,
}

impl Transfer {
    pub(super) fn new(digest: Digest, size: Option<u64>) -> Self {
        let progress = Progress { written: 0, last_frame: 0, phase: Phase::Running };
        Self {
            digest,
            size,
            readers: AtomicUsize::new(0),
            abandoned: Notify::new(),
            progress: watch::Sender::new(progress),
            content: Mutex::default(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn is_running(&self) -> bool {
        self.progress().phase == Phase::Running
    }

    /// The size, as far as it is known by now.
    pub(super) fn known_size(&self) -> Option<u64> {
        let progress = self.progress();
        self.size.or((progress.phase == Phase::Verified).then_some(progress.written))
    }

    /// How many bytes may still come.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.size.map(|size| size.saturating_sub(self.progress().written))
    }

    /// Hands a frame to the followers.
    pub(super) fn push(&self, frame: Bytes) {
        let length = frame.len() as u64;
        lock(&self.content).window.push(frame);
        self.progress.send_modify(|progress| {
            progress.last_frame = progress.written;
            progress.written += length;
        });
    }

    /// Whether there is more in memory than there may be.
    pub(super) fn is_window_full(&self) -> bool {
        lock(&self.content).window.is_full()
    }

    /// What is in memory.
    pub(super) fn frames(&self) -> Vec<Bytes> {
        lock(&self.content).window.frames()
    }

    /// From now on all that has come is in `spool`, too.
    pub(super) fn spooled(&self, spool: Arc<dyn Spool>) {
        let mut content = lock(&self.content);
        content.spool = Some(spool);
        content.window.trim();
    }

    /// All that has come is in the spool.
    pub(super) fn trim(&self) {
        lock(&self.content).window.trim();
    }

    pub(super) fn verified(&self) {
        self.end(Phase::Verified);
    }

    /// Nothing comes any more; what is there stays readable through `writer` as long as anybody follows.
    pub(super) fn lost(&self, writer: Option<Box<dyn BlobWriter>>) {
        let mut content = lock(&self.content);
        content.spool = content.spool.take().or_else(|| writer.as_ref().map(|writer| writer.spool()));
        content.writer = writer;
        drop(content);
        self.end(Phase::Lost);
    }

    pub(super) fn fail(&self, error: &Error) {
        let mut content = lock(&self.content);
        // Nobody is given any of it from now on.
        *content = Content { failure: Some(Failure::from(error)), ..Content::default() };
        drop(content);
        self.end(Phase::Failed);
    }

    fn end(&self, phase: Phase) {
        self.progress.send_modify(|progress| progress.phase = phase);
    }

    /// What it has failed with.
    pub(super) fn failure(&self) -> Error {
        let failure = lock(&self.content).failure.as_ref().map(Failure::error);
        failure.unwrap_or_else(|| Error::internal(format!("the transfer of {} ended", self.digest)))
    }

    /// Some bytes from `offset` on, at most `max`, for the caller whose `facts` these are, of which `at_once` may be in
    /// memory for it alone. They must have come.
    pub(super) async fn read_for(
        &self,
        facts: &Extensions,
        offset: u64,
        max: u64,
        at_once: usize,
    ) -> Result<Bytes, Error> {
        let spool = lock(&self.content).spool.clone();
        if let Some(spool) = spool {
            match map_back_for(&*spool, facts, offset, max).await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                Err(error) => return Err(self.not_read_back(error)),
            }
        }
        self.read(offset, max, at_once).await
    }

    /// Some bytes from `offset` on, at most `max`, of which `at_once` may be in memory for this reader alone. They must
    /// have come.
    async fn read(&self, offset: u64, max: u64, at_once: usize) -> Result<Bytes, Error> {
        let spool = {
            let content = lock(&self.content);
            if let Some(bytes) = content.window.read(offset, max) {
                return Ok(bytes);
            }
            content.spool.clone()
        };
        let max = usize::try_from(max).unwrap_or(at_once).min(at_once);
        let read = match spool {
            Some(spool) => spool.read_back(offset, max).await,
            None => Ok(Bytes::new()),
        };
        match read {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(_) => Err(Error::internal(format!("byte {offset} of {} can't be read back", self.digest))),
            Err(error) => Err(self.not_read_back(error)),
        }
    }

    fn not_read_back(&self, error: Error) -> Error {
        error.context(format_args!("{} can't be read back", self.digest))
    }

    /// A hasher that has seen everything before `end`, as it has come.
    pub(super) async fn hashed(&self, end: u64) -> Result<Hasher, Error> {
        let mut hasher = Hasher::new(self.digest.algorithm());
        let mut offset = 0;
        while offset < end {
            let bytes = self.read(offset, end - offset, PIECE).await?;
            hasher.update(&bytes);
            offset += bytes.len() as u64;
            tokio::task::coop::consume_budget().await;
        }
        Ok(hasher)
    }
}
