//! Calls of an index with answers.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Index, View};
use crate::error::Error;

/// What `read` makes of what is kept now. It blocks the thread.
pub(crate) fn read<T>(
    index: &dyn Index,
    read: impl FnOnce(&dyn View) -> Result<T, Error>,
) -> Result<T, Error> {
    let (mut read, mut answer) = (Some(read), None);
    index.read(&mut |view| {
        answer = read.take().map(|read| read(view));
        Ok(())
    })?;
    answer.unwrap_or_else(|| Err(unanswered()))
}

/// What `work` answers, in the call of it that is kept. It blocks the thread.
pub(crate) fn write<T: Send + 'static>(
    index: &dyn Index,
    mut work: impl FnMut(&mut dyn Batch) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let answer = Arc::new(Mutex::new(None));
    let place = Arc::clone(&answer);
    index.write(Box::new(move |batch| {
        let found = work(batch)?;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(())
    }))?;
    answer.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(unanswered)
}

fn unanswered() -> Error {
    Error::internal("the index did not do what it was asked for")
}
