//! What builds print.

mod directory;
mod memory;

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

pub use self::directory::DirectoryLogs;
pub use self::memory::MemoryLogs;
use super::id::BuildId;
use crate::error::Error;
use crate::operation::BoxFuture;

/// Where logs of builds are kept.
///
/// A log is read by its offsets, so a slow reader holds nobody up. How much goes into one is limited by
/// [`BuildsBuilder::max_log`](super::BuildsBuilder::max_log).
pub trait Logs: fmt::Debug + Send + Sync + 'static {
    /// Adds `bytes` to the end of a log, which is made if need be. Answers how many bytes it has then.
    ///
    /// # Errors
    ///
    /// When the store is full or out of order.
    fn append<'a>(&'a self, id: &'a BuildId, bytes: Bytes) -> BoxFuture<'a, Result<u64, Error>>;

    /// Up to `max` bytes of a log from `offset` on, none where it ends; nothing when there is no such log.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn read<'a>(
        &'a self,
        id: &'a BuildId,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// Removes the logs that nothing was added to since `before`.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn sweep(&self, before: SystemTime) -> BoxFuture<'_, Result<(), Error>>;
}
