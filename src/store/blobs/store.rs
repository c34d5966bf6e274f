use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::fill;
use crate::body::Body;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::range::ByteRange;
#[cfg(feature = "disk")]
use crate::store::sendfile::SendFile;

/// Blobs under their digests.
///
/// What an implementation keeps to:
///
/// - A blob is visible, to `stat`, `get` and `list`, once its size and digest have been checked, and whole; never
///   before. Of content that was refused, given up or dropped nothing stays.
/// - Several writers may bring the same blob at once: each is checked, any one is kept.
/// - A blob that is removed while somebody reads it is read to its end.
/// - Memory is bounded by the number of readers and writers, not by the size of blobs, unless the store *is* memory.
/// - Nothing is reserved for a declared size.
/// - Errors name the digest and what failed, and no paths. A store that is full answers
///   [`Unavailable`](crate::error::ErrorKind::Unavailable); wrong content is
///   [`Corrupt`](crate::error::ErrorKind::Corrupt).
///
/// The suite in `testing::blobs` (feature `testing`) checks what can be checked from outside.
pub trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// The size of the blob in bytes, if it is here.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent blob is no error.
    fn stat(&self, digest: Digest) -> BoxFuture<'_, Result<Option<u64>, Error>>;

    /// The blob, or the `range` of it, if it is here.
    ///
    /// The body fails rather than end short of what it announced. It isn't hashed: that was done on the way in.
    ///
    /// # Errors
    ///
    /// [`RangeNotSatisfiable`](crate::error::ErrorKind::RangeNotSatisfiable), with the size, when the range doesn't lie
    /// within the blob; anything else when the store is out of order. An absent blob is no error.
    fn get(
        &self,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'_, Result<Option<StoredBlob>, Error>>;

    /// As [`BlobStore::get`], for a reader whose connection can send files without their being read: a store of files may
    /// answer with memory that is mapped from them.
    ///
    /// Who wraps a store passes this on, too; by itself it is `get`.
    ///
    /// # Errors
    ///
    /// Those of `get`.
    #[cfg(feature = "disk")]
    fn get_for<'a>(
        &'a self,
        _connection: &'a SendFile,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'a, Result<Option<StoredBlob>, Error>> {
        self.get(digest, range)
    }

    /// A writer for content whose digest will be of `algorithm`, most likely. `size` is how many bytes are expected, for
    /// a store that can say at once that they won't fit; it binds nobody.
    ///
    /// # Errors
    ///
    /// When the store is full or out of order.
    fn create(
        &self,
        algorithm: Algorithm,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, Error>>;

    /// Keeps `body` under `digest`, if it has that digest and, where given, that size in bytes. Answers the size.
    ///
    /// A body that turns out too long is not read on. A future that is dropped keeps nothing.
    ///
    /// # Errors
    ///
    /// `Corrupt` when digest or size don't agree, what the body fails with, and when the store is full or out of order.
    fn put(&self, digest: Digest, size: Option<u64>, body: Body) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(fill::put(self, digest, size, body))
    }

    /// Notes that the blob was used now: [`BlobInfo::used`]. Answers whether it is here.
    ///
    /// Reading a blob doesn't do this by itself; who evicts by use calls it now and then.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent blob is no error.
    fn touch(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>>;

    /// Takes the blob out. Answers whether it was here.
    ///
    /// # Errors
    ///
    /// When the store is out of order. An absent blob is no error.
    fn remove(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>>;

    /// How much is here. It may have to look at every blob.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn usage(&self) -> BoxFuture<'_, Result<Usage, Error>>;

    /// How many bytes more may come in, as far as the store can tell. Others may use them up first.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn free_space(&self) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(ready(Ok(None)))
    }

    /// Up to `max` blobs in the order of their digests, from the first `after` that one; fewer only at the end.
    ///
    /// What comes and goes between two calls may be listed or not; what stays is listed exactly once.
    ///
    /// # Errors
    ///
    /// When the store is out of order.
    fn list(&self, after: Option<Digest>, max: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, Error>>;
}

/// Content on its way into a store. Dropping it gives it up.
pub trait BlobWriter: fmt::Debug + Send + Sync + 'static {
    /// How many bytes were written: where a transfer that broke goes on.
    fn written(&self) -> u64;

    /// Appends `data`.
    ///
    /// The bytes can be read back once the future has been polled. When it is dropped, they count as written.
    ///
    /// # Errors
    ///
    /// When the store is full or out of order. [`BlobWriter::written`] says whether `data` counts; what was written
    /// can still be read back, but a writer that has failed may fail from then on.
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// A handle for those who follow what is written.
    fn spool(&self) -> Arc<dyn Spool>;

    /// Makes what was written visible as the blob `digest`, if it has that digest and `size` in bytes.
    ///
    /// A future that is dropped may have committed or not, but nothing in between.
    ///
    /// # Errors
    ///
    /// `Corrupt` when digest or size don't agree: then the content is given up. Anything else when the store is full or
    /// out of order: then whoever holds the spool may still be able to read what was written.
    fn commit(self: Box<Self>, digest: Digest, size: u64) -> BoxFuture<'static, Result<(), Error>>;

    /// Gives the content up: reads of the spool fail from now on. Dropping the writer does the same, on the spot.
    fn abort(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// What a [`BlobWriter`] has written so far, for any number of readers beside it.
///
/// It doesn't tell when there is more: who writes does.
pub trait Spool: fmt::Debug + Send + Sync + 'static {
    /// How many bytes can be read back.
    fn written(&self) -> u64;

    /// Some bytes from `offset` on: at most `max`, fewer as it suits the store, none when there are none yet.
    ///
    /// # Errors
    ///
    /// When the content was given up, or the store is out of order.
    fn read_back(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, Error>>;

    /// Some bytes from `offset` on, at most `max`, that the connection can send from a file; none where it can't, or not
    /// yet: then they are read back.
    ///
    /// # Errors
    ///
    /// Those of `read_back`.
    #[cfg(feature = "disk")]
    fn map_back<'a>(
        &'a self,
        _connection: &'a SendFile,
        _offset: u64,
        _max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(ready(Ok(None)))
    }
}

/// A blob, or a part of one, as a store gives it out.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredBlob {
    /// The size of the whole blob in bytes.
    pub size: u64,
    /// What was asked for; its own size is always known.
    pub body: Body,
}

impl StoredBlob {
    /// A blob of `size` bytes in all, of which `body` is what was asked for.
    #[must_use]
    pub fn new(size: u64, body: Body) -> Self {
        Self { size, body }
    }
}

/// A blob in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put or last [touched](BlobStore::touch), as exactly as the store keeps it.
    pub used: SystemTime,
}

impl BlobInfo {
    /// A blob of `size` bytes that was last used at `used`.
    #[must_use]
    pub fn new(digest: Digest, size: u64, used: SystemTime) -> Self {
        Self { digest, size, used }
    }
}

/// How much a store holds. What is being written isn't counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many blobs.
    pub blobs: u64,
    /// Their sizes in bytes, added up.
    pub bytes: u64,
}

impl Usage {
    /// So many `blobs` of `bytes` in all.
    #[must_use]
    pub fn new(blobs: u64, bytes: u64) -> Self {
        Self { blobs, bytes }
    }
}
