//! Calls of the index with answers.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Hosted, Inner};
use crate::error::Error;
use crate::rt::blocking;
use crate::store::index::{Batch, View};

impl Hosted {
    /// Reads on a thread where it holds up nothing else.
    pub(super) async fn view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.read(read)).await?
    }

    /// Writes on a thread where it holds up nothing else.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Batch) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.write(work)).await?
    }
}

impl Inner {
    pub(super) fn read<T>(&self, read: impl FnOnce(&dyn View) -> Result<T, Error>) -> Result<T, Error> {
        let (mut read, mut answer) = (Some(read), None);
        self.index.read(&mut |view| {
            answer = read.take().map(|read| read(view));
            Ok(())
        })?;
        answer.unwrap_or_else(|| Err(unanswered()))
    }

    /// Writes; it blocks the thread.
    pub(super) fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut dyn Batch) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        self.index.write(Box::new(move |batch| {
            let found = work(batch)?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            Ok(())
        }))?;
        answer.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(unanswered)
    }
}

fn unanswered() -> Error {
    Error::internal("the index did not do what it was asked for")
}
