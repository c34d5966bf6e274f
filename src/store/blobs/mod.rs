//! Blobs under their digests: what a cache keeps, and what a registry serves.
//!
//! [`BlobStore`] is the trait. [`MemoryBlobs`] keeps blobs in this process; `DiskBlobs` (feature `disk`) in a directory
//! that several processes may share. Whatever the store, *a reader never sees an unverified blob*: size and digest
//! agree before a blob can be read under its digest, and of anything else nothing stays.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::spec::digest::Digest;
//! use tower_oci::spec::range::ByteRange;
//! use tower_oci::store::blobs::{BlobStore, MemoryBlobs};
//!
//! let blobs = MemoryBlobs::with_capacity(64 << 20);
//! let digest = Digest::sha256(b"hello");
//! blobs.put(digest, Some(5), "hello".into()).await?;
//! assert!(blobs.put(digest, None, "jello".into()).await.is_err());
//!
//! let part = blobs.get(digest, ByteRange::new(1, 3)).await?.map(|blob| blob.body);
//! assert_eq!(part.unwrap_or_default().read(1024).await?, "ell");
//! # Ok(()) }
//! ```
//!
//! # One transfer, many readers
//!
//! Content that arrives slowly goes through a [`BlobWriter`], and whoever wants it meanwhile follows its [`Spool`],
//! each from an offset and at a speed of its own. The spool outlives the writer, so that followers read to the end after
//! the commit. It says nothing about the content being right: a follower that must not see the end of a wrong blob
//! leaves the last bytes alone until the commit has gone well.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! # use tower_oci::spec::digest::{Algorithm, Digest};
//! # use tower_oci::store::blobs::{BlobStore, MemoryBlobs};
//! # let blobs = MemoryBlobs::with_capacity(64 << 20);
//! let mut writer = blobs.create(Algorithm::Sha256, None).await?;
//! let spool = writer.spool();
//! writer.write("hel".into()).await?;
//! assert_eq!(spool.read_back(1, 10).await?, "el"); // all that there is
//! assert_eq!(spool.read_back(3, 10).await?, ""); // nothing yet
//! writer.write("lo".into()).await?;
//! writer.commit(Digest::sha256(b"hello"), 5).await?;
//! assert_eq!(spool.read_back(3, 10).await?, "lo");
//! # Ok(()) }
//! ```

mod fill;
mod memory;
mod reading;
mod store;

#[cfg(feature = "disk")]
mod disk;

pub use self::memory::MemoryBlobs;
pub(crate) use self::reading::{counted, get_for, map_back_for, piece};
pub use self::store::{BlobInfo, BlobStore, BlobWriter, Spool, StoredBlob, Usage};

#[cfg(feature = "disk")]
pub use self::disk::{Damage, DiskBlobs, DiskBlobsBuilder, FsckReport};
