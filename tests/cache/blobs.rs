//! One transfer, many readers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs, MemoryBlobs};

use crate::flawed::{Flaw, Flawed};
use crate::origin::*;

#[tokio::test(start_paused = true)]
async fn sixty_four_readers_of_a_cold_blob_cost_one_request() {
    for size in [100_000, 1_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(&blob);
        let (origin, tasks) = (Origin::new([blob.clone()]), Tasks::new());
        let store = MemoryBlobs::with_capacity(1 << 24);
        let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
        let cache = origin.cached(&layer);
        let readers = join_all((0..64).map(async |reader: usize| {
            // Every fourth wants a part.
            let (first, last) = (reader * 1000, size - 1 - reader * 100);
            let (request, wanted) = match reader % 4 {
                0 => (part(digest, &format!("{first}-{last}")), blob.slice(first..=last)),
                _ => (whole(digest), blob.clone()),
            };
            let (found, status) = ask(&cache, request).await.unwrap();
            assert_eq!(found.size, Some(size as u64));
            let body = body(found);
            assert_eq!(body.size(), Some(wanted.len() as u64));
            assert!(!body.is_end_stream());
            assert!(collect(body).await.unwrap() == wanted, "reader {reader}");
            status
        }));
        let mut statuses = readers.await;
        assert_eq!(statuses.remove(0), "fwd=miss; stored");
        assert_eq!(statuses, vec!["fwd=miss; collapsed"; 63]);
        assert_eq!(origin.seen(), [get(digest)]);
        assert!(tasks.shutdown(Duration::from_secs(1)).await);
        assert_eq!(store.stat(digest).await.unwrap(), Some(size as u64));
        assert_eq!(ask(&cache, whole(digest)).await.unwrap().1, "hit");
        assert_eq!(origin.seen(), [""; 0]);
        let figures = layer.figures();
        assert_eq!((figures.hits, figures.misses, figures.collapsed), (1, 1, 63));
        assert_eq!((figures.transfers, figures.blobs, figures.bytes), (0, 1, size as u64));
        assert_eq!(figures.bytes_fetched, size as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_given_while_the_rest_is_on_its_way() {
    let blob = content(1_000_000);
    let digest = Digest::sha256(&blob);
    let origin = Origin::new([blob.clone()]);
    let cache = origin.cached(&CacheLayer::new(MemoryBlobs::with_capacity(1 << 24)));
    origin.release(100_000);
    let mut first = body(ask(&cache, whole(digest)).await.unwrap().0);
    assert_eq!(available(&mut first).await, blob.slice(..98_304));
    assert_eq!(first.size(), Some(1_000_000 - 98_304));

    let (late, status) = ask(&cache, part(digest, "50000-60000")).await.unwrap();
    assert_eq!(status, "fwd=miss; collapsed");
    let mut late = body(late);
    assert_eq!(available(&mut late).await, blob.slice(50_000..60_000), "all but the last byte");
    let mut end = body(ask(&cache, part(digest, "-1000")).await.unwrap().0);
    assert_eq!(available(&mut end).await, "");

    // All but the end: what must wait for the check waits.
    origin.release(999_999);
    assert_eq!(available(&mut first).await, blob.slice(98_304..999_424));
    assert_eq!(available(&mut end).await, blob.slice(999_000..999_424));
    assert_eq!((first.size(), first.is_end_stream()), (Some(576), false));
    origin.release(usize::MAX);
    assert_eq!(collect(end).await.unwrap(), blob.slice(999_424..));
    assert_eq!(collect(first).await.unwrap(), blob.slice(999_424..));
    assert_eq!(collect(late).await.unwrap(), blob.slice(60_000..60_001));
    assert_eq!(origin.seen(), [get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_byte_waits_for_the_check() {
    for size in [200_000_usize, 1_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(b"something else");
        let origin = Origin::new([]);
        origin.replace(digest, blob.clone());
        let store = MemoryBlobs::with_capacity(1 << 24);
        let layer = CacheLayer::new(store.clone());
        let cache = origin.cached(&layer);
        origin.release(size - 1);
        let mut readers = Vec::new();
        for request in [whole(digest), part(digest, "10-99"), part(digest, "-5")] {
            readers.push(body(ask(&cache, request).await.unwrap().0));
        }
        let released = (size - 1) / 16_384 * 16_384;
        assert_eq!(available(&mut readers[0]).await, blob.slice(..released));
        assert_eq!(available(&mut readers[1]).await, blob.slice(10..99));
        origin.release(usize::MAX);
        let message = format!("the content of {digest} is {}", Digest::sha256(&blob));
        for body in readers {
            assert_eq!(told(collect(body).await), (502, "DIGEST_INVALID", message.clone()));
        }
        settle().await;
        assert_eq!((kept(&store).await.len(), layer.figures().transfers), (0, 0));
        // The next one starts afresh.
        origin.seen();
        told(read(&cache, whole(digest)).await);
        assert_eq!(origin.seen(), [get(digest)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_nobody_up() {
    let blob = content(4_000_000);
    let digest = Digest::sha256(&blob);
    let origin = Origin::new([blob.clone()]);
    let store = MemoryBlobs::with_capacity(1 << 24);
    let cache = origin.cached(&CacheLayer::new(store.clone()));
    let mut slow = body(ask(&cache, whole(digest)).await.unwrap().0);
    let first = slow.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(store.stat(digest).await.unwrap(), Some(4_000_000));
    // It goes on where it was, though all is over.
    store.remove(digest).await.unwrap();
    assert!(collect(slow).await.unwrap() == blob.slice(first.len()..));
    assert_eq!(origin.seen(), [get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn frames_are_handed_on_as_they_came() {
    for size in [100_000_usize, 1_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(&blob);
        let origin = Origin::new([blob.clone()]).frames(50_000);
        let cache = origin.cached(&CacheLayer::new(MemoryBlobs::with_capacity(1 << 24)));
        origin.release(0);
        let mut reader = body(ask(&cache, whole(digest)).await.unwrap().0);
        let mut at = 0;
        while let Some(frame) = {
            origin.release(at + 50_000);
            reader.frame().await
        } {
            let frame = frame.unwrap().into_data().unwrap();
            // Every frame is the upstream's, and none is cut but the last, whose last byte comes by itself.
            let is_end = at + 50_000 >= size;
            assert_eq!(frame.as_ptr(), blob[at..].as_ptr(), "at {at} of {size}");
            assert!(is_end || frame.len() == 50_000, "{} at {at}", frame.len());
            at += frame.len();
        }
        assert_eq!(at, size);
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_is_answered_before_it_touches_the_store() {
    let blob = content(256 * 1024);
    let digest = Digest::sha256(&blob);
    let origin = Origin::new([blob.clone()]);
    let store = Flawed::new(Flaw::Hang);
    let tasks = Tasks::new();
    let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
    let cache = origin.cached(&layer);
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    // It is on its way into the store for ever: readers are served meanwhile.
    assert!(read(&cache, part(digest, "1-9")).await.unwrap() == blob.slice(1..10));
    assert_eq!((origin.seen(), kept(&store).await.len()), (vec![get(digest)], 0));
    assert!(!tasks.shutdown(Duration::ZERO).await);
    assert_eq!(layer.figures().transfers, 0);
}

#[tokio::test(start_paused = true)]
async fn sizes_that_are_not_told_show_at_the_end() {
    for size in [0_usize, 1, 100_000, 1_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(&blob);
        let origin = Origin::without_sizes([blob.clone()]);
        let store = MemoryBlobs::with_capacity(1 << 24);
        let cache = origin.cached(&CacheLayer::new(store.clone()));
        origin.release(0);
        let (found, _) = ask(&cache, whole(digest)).await.unwrap();
        assert_eq!(found.size, if size == 0 { Some(0) } else { None });
        origin.release(usize::MAX);
        let (all, range) = tokio::join!(collect(body(found)), ask(&cache, part(digest, "0-0")));
        assert!(all.unwrap() == blob);
        match range {
            Ok((found, _)) => {
                assert_eq!(found.size, Some(size as u64));
                assert_eq!(collect(body(found)).await.unwrap(), blob.slice(..1));
            }
            Err(error) => assert_eq!((size, error.content_size()), (0, Some(0))),
        }
        settle().await;
        assert_eq!(store.stat(digest).await.unwrap(), Some(size as u64));
        assert_eq!(origin.seen(), [get(digest)]);
    }
}

#[tokio::test]
async fn the_disk_store_is_filled_and_read_alike() {
    let root = tempfile::tempdir().unwrap();
    let store = DiskBlobs::open(root.path()).await.unwrap();
    let tasks = Tasks::new();
    let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
    for size in [100_usize, 300_000, 3_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(&blob);
        let origin = Origin::new([blob.clone()]).frames(70_000);
        let cache = origin.cached(&layer);
        let reads = join_all((0..8).map(async |_| read(&cache, whole(digest)).await.unwrap()));
        let all: Vec<Bytes> = reads.await;
        assert!(all.iter().all(|read| *read == blob));
        while tasks.running() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(store.stat(digest).await.unwrap(), Some(size as u64));
        assert!(read(&cache, whole(digest)).await.unwrap() == blob);
        assert_eq!(read(&cache, part(digest, "90-")).await.unwrap(), blob.slice(90..));
        assert_eq!(origin.seen(), [get(digest)]);
    }
    assert_eq!(store.fsck().await.unwrap().damaged.len(), 0);
}
