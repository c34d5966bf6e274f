//! What is kept: records, each behind a small trait.
//!
//! A record is a few bytes, or a few megabytes at most, under a key, with a moment at which it ends: a Wave token, the
//! source of a derived digest. What several instances of a service share goes through [`Records`].

mod memory;
mod records;

pub use self::memory::MemoryRecords;
pub use self::records::Records;
