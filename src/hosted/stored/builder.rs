use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file::Directory;
use super::holds::Holds;
use super::{Hosted, Inner};
use crate::error::Error;
use crate::hosted::settings::Settings;
use crate::hosted::uploads::Uploads;
use crate::rt::{Clock, Tasks, blocking};
use crate::store::blobs::DiskBlobs;
use crate::store::index::Index;
#[cfg(feature = "redb")]
use crate::store::index::RedbIndex;

/// Limits and switches of a [`Hosted`].
#[derive(Clone, Debug)]
#[must_use]
pub struct HostedBuilder {
    directory: PathBuf,
    settings: Settings,
    sync: bool,
    clock: Clock,
    tasks: Tasks,
}

impl HostedBuilder {
    pub(super) fn new(directory: PathBuf) -> Self {
        let (settings, sync) = (Settings::default(), false);
        Self { directory, settings, sync, clock: Clock::system(), tasks: Tasks::new() }
    }

    /// Whether everything is on the disk itself before it is acknowledged: no when not set.
    ///
    /// Without it, nothing is lost when the process is killed, but a loss of power may damage what came in shortly
    /// before, and the index as a whole. With it, each blob and each group of records costs the disk a flush or more.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// The largest blob in bytes: 4 GiB when not set.
    pub fn max_blob(mut self, bytes: u64) -> Self {
        self.settings.max_blob = bytes;
        self
    }

    /// How many uploads may be open at once: 1,024 when not set. When there are as many, the one that has been idle for
    /// longest is given up, if that is a minute at least; else the new one is refused with 429. An idle upload takes
    /// less than 1 KiB of memory.
    pub fn max_uploads(mut self, count: usize) -> Self {
        self.settings.max_uploads = count;
        self
    }

    /// How long an upload stays open without a request for it: an hour when not set. What it has on disk goes when the
    /// next upload starts, or with a collection.
    pub fn upload_timeout(mut self, idle: Duration) -> Self {
        self.settings.upload_timeout = idle;
        self
    }

    /// How long the next bytes of an upload may keep us waiting in the middle of a request: a minute when not set.
    pub fn body_timeout(mut self, idle: Duration) -> Self {
        self.settings.body_timeout = idle;
        self
    }

    /// The size in bytes that chunks should have at least, told in `OCI-Chunk-Min-Length`; smaller ones are taken too.
    /// None when not set.
    pub fn min_chunk(mut self, bytes: u64) -> Self {
        self.settings.min_chunk = Some(bytes);
        self
    }

    /// Whether an index may name manifests that aren't there (yet): yes when not set.
    pub fn sparse_indexes(mut self, allowed: bool) -> Self {
        self.settings.sparse_indexes = allowed;
        self
    }

    /// Whether a mount that names no source takes the blob from wherever it is: no when not set, since that would give
    /// a caller blobs of repositories that it may not read.
    pub fn mount_from_anywhere(mut self, allowed: bool) -> Self {
        self.settings.mount_from_anywhere = allowed;
        self
    }

    /// Whether tags, manifests and blobs may be deleted: yes when not set.
    pub fn deletes(mut self, allowed: bool) -> Self {
        self.settings.deletes = allowed;
        self
    }

    /// Whether the list of all repositories is answered: no when not set.
    pub fn catalog(mut self, shown: bool) -> Self {
        self.settings.catalog = shown;
        self
    }

    /// What tells the time of day: for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where files are removed on, so that a shutdown waits for it; tasks of its own when not set.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// Opens the registry, with the index in `index.redb`.
    ///
    /// # Errors
    ///
    /// When the directory can't be made, read or written, or another process has it open.
    #[cfg(feature = "redb")]
    pub async fn open(self) -> Result<Hosted, Error> {
        let (path, sync) = (self.directory.join("index.redb"), self.sync);
        let uploads = self.directory.join("uploads");
        let index = blocking(move || {
            // So that there is a directory for the index.
            Directory::open(uploads)?;
            RedbIndex::builder(path).sync(sync).open()
        });
        let index = index.await??;
        self.open_with(Arc::new(index)).await
    }

    /// Opens the registry, with an index of the caller's own, which nothing else may write to.
    ///
    /// # Errors
    ///
    /// When the directory can't be made, read or written, or the index is out of order or of another version.
    pub async fn open_with(self, index: Arc<dyn Index>) -> Result<Hosted, Error> {
        let Self { directory, settings, sync, clock, tasks } = self;
        let blobs = DiskBlobs::builder(&directory).sync(sync).open().await?;
        let opening = blocking(move || {
            let directory = Directory::open(directory.join("uploads"))?;
            let uploads = Uploads::new(settings.max_uploads, settings.upload_timeout);
            let holds = Arc::new(Holds::default());
            let collecting = tokio::sync::Mutex::default();
            let inner =
                Inner { settings, sync, clock, blobs, index, directory, uploads, holds, tasks, collecting };
            inner.recover()?;
            Ok(Hosted { inner: Arc::new(inner) })
        });
        opening.await?
    }
}
