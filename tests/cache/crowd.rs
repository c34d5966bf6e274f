//! A crowd before one cold blob that is far larger than what is kept of it in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tower::{Layer as _, service_fn};
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::operation::{Blob, Request, Response};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::{Algorithm, Hasher};
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};

use crate::origin::{ask, body, content, whole};

const READERS: usize = 64;
const FRAMES: usize = 128;

/// An eighth of what the bench `rivals` does with as many readers: debug builds are slow.
const SIZE: u64 = 32 << 20;

/// Most readers compare, which says as much, and some hash.
const HASHING: usize = 2;

/// The frames of the blob: one pattern, each time with its number before it.
fn frame(pattern: &Bytes, number: usize) -> [Bytes; 2] {
    [Bytes::copy_from_slice(&(number as u64).to_be_bytes()), pattern.clone()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_readers_of_a_large_cold_blob_cost_one_request() {
    let pattern = content((SIZE as usize / FRAMES) - 8);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for bytes in (0..FRAMES).flat_map(|number| frame(&pattern, number)) {
        hasher.update(&bytes);
    }
    let digest = hasher.finish();
    let gets = Arc::new(AtomicUsize::new(0));
    let (counted, sent) = (Arc::clone(&gets), pattern.clone());
    let upstream = service_fn(move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        let sent = sent.clone();
        let frames = (0..FRAMES).flat_map(move |number| frame(&sent, number)).map(Ok::<_, Error>);
        let body = Body::from_stream(stream::iter(frames));
        async move { Ok::<_, Error>(Response::new(Blob::whole(digest, Some(SIZE), body).into())) }
    });
    let root = tempfile::tempdir().unwrap();
    let (store, tasks) = (DiskBlobs::open(root.path()).await.unwrap(), Tasks::new());
    let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
    let cache = layer.layer(upstream);
    let readers = (0..READERS).map(|reader| {
        let (cache, pattern) = (cache.clone(), pattern.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "the crate's rule; readers of a test run beside each other"
        )]
        tokio::task::spawn(async move {
            let (found, status) = ask(&cache, whole(digest)).await.unwrap();
            let mut body = body(found);
            let mut expected = Expected { pattern, at: 0 };
            let mut hasher = (reader < HASHING).then(|| Hasher::new(Algorithm::Sha256));
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                expected.take(&data);
                if let Some(hasher) = &mut hasher {
                    hasher.update(&data);
                }
            }
            assert_eq!(expected.at, SIZE, "reader {reader}");
            assert!(hasher.is_none_or(|hasher| hasher.finish() == digest), "reader {reader}");
            status
        })
    });
    let mut first = 0;
    for reader in readers.collect::<Vec<_>>() {
        let status = reader.await.unwrap();
        first += usize::from(status == "fwd=miss; stored");
    }
    assert_eq!((gets.load(Ordering::Relaxed), first), (1, 1));
    assert!(tasks.shutdown(std::time::Duration::from_secs(10)).await);
    assert_eq!(store.stat(digest).await.unwrap(), Some(SIZE));
    assert_eq!(layer.figures().bytes_fetched, SIZE);
    assert_eq!(store.fsck().await.unwrap().damaged, []);
}

/// What the next bytes have to be.
struct Expected {
    pattern: Bytes,
    at: u64,
}

impl Expected {
    fn take(&mut self, mut data: &[u8]) {
        let frame = self.pattern.len() + 8;
        while !data.is_empty() {
            let (number, within) = (self.at / frame as u64, (self.at % frame as u64) as usize);
            let head = number.to_be_bytes();
            let wanted = if within < 8 { &head[within..] } else { &self.pattern[within - 8..] };
            let length = wanted.len().min(data.len());
            assert!(data[..length] == wanted[..length], "at {}", self.at);
            data = &data[length..];
            self.at += length as u64;
        }
    }
}
