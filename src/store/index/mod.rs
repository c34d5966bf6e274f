//! An ordered map of bytes to bytes with transactions: what a hosted registry keeps its records in.
//!
//! [`Index`] is the trait. [`MemoryIndex`] keeps the map in this process; `RedbIndex` (feature `redb`) in a file that one
//! process opens at a time.
//!
//! ```
//! # fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::store::index::{Index, MemoryIndex};
//!
//! let index = MemoryIndex::new();
//! index.write(Box::new(|batch| {
//!     batch.put(b"a/1", b"one")?;
//!     batch.put(b"a/2", b"two")
//! }))?;
//! let mut found = Vec::new();
//! index.read(&mut |view| {
//!     view.scan(b"a/", b"a0", &mut |key, _| {
//!         found.push(key.to_vec());
//!         true
//!     })
//! })?;
//! assert_eq!(found, [b"a/1", b"a/2"]);
//! # Ok(()) }
//! ```

pub(crate) mod answers;
mod memory;

#[cfg(feature = "redb")]
mod group;
#[cfg(feature = "redb")]
mod redb;

use std::fmt;

use bytes::Bytes;

pub use self::memory::MemoryIndex;
#[cfg(feature = "redb")]
pub use self::redb::{RedbIndex, RedbIndexBuilder};
use crate::error::Error;

/// What is done in one write transaction. It may be called more than once: then nothing of the earlier calls is kept.
pub type Work = Box<dyn FnMut(&mut dyn Batch) -> Result<(), Error> + Send>;

/// An ordered map of bytes to bytes, in the order of the keys' bytes.
///
/// What an implementation keeps to:
///
/// - A [`read`](Index::read) sees one moment, whatever is written meanwhile.
/// - Write transactions follow one another. Each is kept whole, or nothing of it when its work or the store fails.
/// - What [`write`](Index::write) has answered `Ok` to is seen by every later read, and by the next process that opens
///   the store if this one is killed (a store in memory excepted).
///
/// Its calls block the thread, for as long as a disk may take. Keys have 4 KiB and values 16 MiB at most.
pub trait Index: fmt::Debug + Send + Sync + 'static {
    /// Runs `work` over what is kept now.
    ///
    /// # Errors
    ///
    /// What `work` fails with, and when the store is out of order.
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error>;

    /// Runs `work` in a write transaction, and keeps what it has changed if it answers `Ok`.
    ///
    /// # Errors
    ///
    /// What `work` fails with, and when the store is full or out of order. Nothing is kept then.
    fn write(&self, work: Work) -> Result<(), Error>;
}

/// The map at one moment.
pub trait View {
    /// The value under `key`.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent key is no error.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Calls `each` with the keys from `first` on that come before `end`, in order, and their values, until it answers
    /// false.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn scan(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool)
    -> Result<(), Error>;
}

/// A write transaction. Its view shows its own changes.
pub trait Batch: View {
    /// Keeps `value` under `key`, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// When the store is full or out of order.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Takes out what is under `key`. Answers whether there was anything.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent key is no error.
    fn remove(&mut self, key: &[u8]) -> Result<bool, Error>;
}

#[cfg(test)]
mod tests;
