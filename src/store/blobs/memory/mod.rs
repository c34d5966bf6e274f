mod content;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use self::content::{Budget, Content, Reserved};
use self::writer::MemoryWriter;
use super::fill::within;
use super::store::{BlobInfo, BlobStore, BlobWriter, StoredBlob, Usage};
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::range::ByteRange;

/// Blobs in the memory of this process, up to a number of bytes. They are gone when the process ends.
///
/// A store that is full refuses, and evicts nothing. What is being written counts, each blob counts for
/// [`MemoryBlobs::OVERHEAD`] more than its size, and one that was removed counts until its last reader has left. Clones
/// share their blobs.
#[derive(Clone)]
pub struct MemoryBlobs {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: Mutex<BTreeMap<Digest, Kept>>,
    budget: Arc<Budget>,
}

struct Kept {
    content: Arc<Content>,
    used: SystemTime,
}

impl MemoryBlobs {
    /// What each blob takes beside its content, in bytes, as the capacity counts it.
    pub const OVERHEAD: u64 = 512;

    /// A store for up to `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: u64) -> Self {
        let inner = Inner { blobs: Mutex::default(), budget: Arc::new(Budget::new(capacity)) };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Kept>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes verified content visible. Of two that bring the same blob the first is kept.
    fn keep(&self, digest: Digest, content: &Arc<Content>) {
        let used = SystemTime::now();
        self.lock()
            .entry(digest)
            .and_modify(|kept| kept.used = used)
            .or_insert_with(|| Kept { content: Arc::clone(content), used });
    }

    fn content(&self, digest: Digest) -> Option<Arc<Content>> {
        self.lock().get(&digest).map(|kept| Arc::clone(&kept.content))
    }

    fn get(&self, digest: Digest, range: Option<ByteRange>) -> Result<Option<StoredBlob>, Error> {
        let Some(content) = self.content(digest) else { return Ok(None) };
        let (first, length) = within(digest, range, content.size())?;
        Ok(Some(StoredBlob::new(content.size(), content.body(digest, first, length))))
    }

    fn create(self: &Arc<Self>, algorithm: Algorithm, size: Option<u64>) -> Result<MemoryWriter, Error> {
        self.budget.check(size.unwrap_or(0).saturating_add(MemoryBlobs::OVERHEAD))?;
        let mut reserved = Reserved::new(&self.budget);
        reserved.grow(MemoryBlobs::OVERHEAD)?;
        Ok(MemoryWriter::new(Arc::clone(self), algorithm, reserved))
    }

    fn usage(&self) -> Usage {
        let blobs = self.lock();
        Usage::new(blobs.len() as u64, blobs.values().map(|kept| kept.content.size()).sum())
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Vec<BlobInfo> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.lock();
        let listed = blobs.range((from, Bound::Unbounded)).take(max);
        listed.map(|(digest, kept)| BlobInfo::new(*digest, kept.content.size(), kept.used)).collect()
    }
}

impl BlobStore for MemoryBlobs {
    fn stat(&self, digest: Digest) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(ready(Ok(self.inner.content(digest).map(|content| content.size()))))
    }

    fn get(
        &self,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'_, Result<Option<StoredBlob>, Error>> {
        Box::pin(ready(self.inner.get(digest, range)))
    }

    fn create(
        &self,
        algorithm: Algorithm,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, Error>> {
        let writer = self.inner.create(algorithm, size);
        Box::pin(ready(writer.map(|writer| Box::new(writer) as Box<dyn BlobWriter>)))
    }

    fn touch(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        let mut blobs = self.inner.lock();
        let touched = blobs.get_mut(&digest).map(|kept| kept.used = SystemTime::now());
        Box::pin(ready(Ok(touched.is_some())))
    }

    fn remove(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        let removed = self.inner.lock().remove(&digest);
        Box::pin(ready(Ok(removed.is_some())))
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, Error>> {
        Box::pin(ready(Ok(self.inner.usage())))
    }

    fn free_space(&self) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        let free = self.inner.budget.capacity().saturating_sub(self.inner.budget.used());
        Box::pin(ready(Ok(Some(free.saturating_sub(Self::OVERHEAD)))))
    }

    fn list(&self, after: Option<Digest>, max: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, Error>> {
        Box::pin(ready(Ok(self.inner.list(after, max))))
    }
}

impl fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBlobs")
            .field("usage", &self.inner.usage())
            .field("capacity", &self.inner.budget.capacity())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::body::Body;
    use crate::error::ErrorKind;

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn it_does_what_every_store_does() {
        use crate::testing::blobs::{CAPACITY, conformance};

        let store = MemoryBlobs::with_capacity(CAPACITY);
        conformance(&store).await.unwrap();
        assert_eq!(store.inner.budget.used(), 0);
    }

    #[tokio::test]
    async fn a_full_store_says_so_and_keeps_what_it_has() {
        let store = MemoryBlobs::with_capacity(2 * MemoryBlobs::OVERHEAD + 8);
        let digest = Digest::sha256(b"12345");
        assert_eq!(store.free_space().await.unwrap(), Some(MemoryBlobs::OVERHEAD + 8));
        store.put(digest, None, "12345".into()).await.unwrap();
        assert_eq!(store.free_space().await.unwrap(), Some(3));
        let error = store.put(Digest::sha256(b"1234"), None, "1234".into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let full = "the blob store is full: it holds 517 of 1032 bytes, and 516 more were to be kept";
        assert_eq!(error.to_string(), full);

        // Without a declared size it shows while writing; what was written stays, and the writer may go on.
        let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
        writer.write("12".into()).await.unwrap();
        writer.write("34".into()).await.unwrap_err();
        assert_eq!(writer.written(), 2);
        assert_eq!(writer.spool().read_back(0, 9).await.unwrap(), "12");
        writer.write("3".into()).await.unwrap();
        writer.commit(Digest::sha256(b"123"), 3).await.unwrap();
        assert_eq!(store.inner.budget.used(), 1032);
        assert_eq!(
            format!("{store:?}"),
            "MemoryBlobs { usage: Usage { blobs: 2, bytes: 8 }, capacity: 1032 }"
        );
        store.create(Algorithm::Sha256, None).await.unwrap_err();
        assert_eq!(store.free_space().await.unwrap(), Some(0));
        assert_eq!(store.get(digest, None).await.unwrap().unwrap().body.read(9).await.unwrap(), "12345");
    }

    #[tokio::test]
    async fn what_is_removed_counts_until_it_is_read() {
        let store = MemoryBlobs::with_capacity(4 << 20);
        let content = Bytes::from(vec![7; 1 << 20]);
        let digest = Digest::sha256(&content);
        store.put(digest, None, Body::from(content.clone())).await.unwrap();
        let body = store.get(digest, None).await.unwrap().unwrap().body;
        assert!(store.remove(digest).await.unwrap());
        assert_eq!(store.usage().await.unwrap(), Usage::default());
        assert_eq!(store.inner.budget.used(), (1 << 20) + MemoryBlobs::OVERHEAD);
        assert_eq!(body.read(1 << 20).await.unwrap(), content);
        assert_eq!(store.inner.budget.used(), 0);
    }
}
