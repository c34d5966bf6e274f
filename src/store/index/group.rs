use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Work;
use crate::error::{Error, ErrorCode, ErrorKind};

/// Write transactions that wait for one another are committed together: whoever gets the turn takes all that wait.
#[derive(Default)]
pub(super) struct Group {
    waiting: Mutex<Vec<Arc<Job>>>,
    turn: Mutex<()>,
}

pub(super) struct Job {
    work: Mutex<Work>,
    result: Mutex<Option<Result<(), Error>>>,
}

impl Group {
    /// Hands `work` to `commit`, together with that of others, or waits until somebody else has done so. `commit` runs
    /// each job's work and settles it.
    pub(super) fn run(&self, work: Work, commit: impl FnOnce(&[Arc<Job>])) -> Result<(), Error> {
        let job = Arc::new(Job { work: Mutex::new(work), result: Mutex::new(None) });
        lock(&self.waiting).push(Arc::clone(&job));
        let turn = lock(&self.turn);
        if lock(&job.result).is_none() {
            let jobs = std::mem::take(&mut *lock(&self.waiting));
            commit(&jobs);
        }
        drop(turn);
        // Absent when the one who had it in hand has panicked.
        let result = lock(&job.result).take();
        result.unwrap_or_else(|| Err(Error::internal("a write to the index did not end")))
    }
}

impl Job {
    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.work)
    }

    pub(super) fn settle(&self, result: Result<(), Error>) {
        lock(&self.result).get_or_insert(result);
    }

    pub(super) fn is_settled(&self) -> bool {
        lock(&self.result).is_some()
    }
}

/// The same failure for several.
pub(super) fn again(error: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, ErrorCode::Unsupported, error.message().to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
