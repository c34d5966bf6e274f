//! Calls of the index with answers.

use std::sync::Arc;

use super::{Hosted, Inner};
use crate::error::Error;
use crate::rt::blocking;
use crate::store::index::{Batch, View, answers};

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
        answers::read(&*self.index, read)
    }

    /// Writes; it blocks the thread.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Batch) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        answers::write(&*self.index, work)
    }
}
