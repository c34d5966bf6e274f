use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How far a transfer is.
///
/// It counts what is to be done once the image's documents are read; what the destination was found to have as a whole
/// manifest doesn't count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many blobs there are: configs and image layers, each counted once.
    pub blobs: usize,
    /// How many of them the destination has now.
    pub blobs_done: usize,
    /// How many bytes the blobs have, as they are said to.
    pub bytes: u64,
    /// How many of them the destination has now. It falls where a blob has to be sent again.
    pub bytes_done: u64,
    /// How many manifests and indexes are to be written.
    pub manifests: usize,
    /// How many of them are written.
    pub manifests_done: usize,
}

/// Who is told.
pub(super) type Listener = Arc<dyn Fn(&Progress) + Send + Sync>;

/// The progress of one run.
pub(super) struct Tally {
    progress: Mutex<Progress>,
    listener: Option<Listener>,
}

impl Tally {
    pub(super) fn new(listener: Option<Listener>) -> Arc<Self> {
        Arc::new(Self { progress: Mutex::default(), listener })
    }

    /// Changes the progress, and tells of it. It is told in order: the lock is held meanwhile.
    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
        if let Some(listener) = &self.listener {
            listener(&progress);
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("progress", &self.progress).finish_non_exhaustive()
    }
}
