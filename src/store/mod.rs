//! What is kept: blobs and records, each behind a small trait.
//!
//! [`blobs`] are content under its digest, of any size: kept once it is verified, in memory or on disk.
//!
//! An [`index`] is an ordered map with transactions: what a hosted registry keeps its records in.
//!
//! A record is a few bytes, or a few megabytes at most, under a key, with a moment at which it ends: a Wave token, the
//! source of a derived digest. What several instances of a service share goes through [`Records`]: [`MemoryRecords`] end
//! with the process, [`IndexRecords`] outlive it.

pub mod blobs;
pub mod index;

mod indexed;
mod memory;
pub(crate) mod recent;
mod records;
#[cfg(feature = "disk")]
pub mod sendfile;

pub use self::indexed::{IndexRecords, Usage};
pub use self::memory::MemoryRecords;
pub use self::records::Records;
