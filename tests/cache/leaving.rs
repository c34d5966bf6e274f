//! Readers that leave, upstreams that stop, and tasks that end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};
use tower::{Layer as _, service_fn};
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::layer::cache::{Abandoned, CacheLayer};
use tower_oci::operation::{Blob, BlobContent, Request, Response};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs, MemoryBlobs};

use crate::flawed::{Flaw, Flawed};
use crate::origin::*;

struct Scene {
    origin: Origin,
    store: MemoryBlobs,
    tasks: Tasks,
    layer: CacheLayer,
}

impl Scene {
    fn new(blobs: impl IntoIterator<Item = Bytes>, set: impl FnOnce(CacheLayer) -> CacheLayer) -> Self {
        let (store, tasks) = (MemoryBlobs::with_capacity(1 << 26), Tasks::new());
        let layer = set(CacheLayer::new(store.clone()).tasks(tasks.clone()));
        Self { origin: Origin::new(blobs), store, tasks, layer }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_goes_on_without_readers_and_is_joined_again() {
    let blob = content(1_000_000);
    let digest = Digest::sha256(&blob);
    let scene = Scene::new([blob.clone()], |layer| layer);
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(500_000);
    let mut reader = body(ask(&cache, whole(digest)).await.unwrap().0);
    reader.frame().await.unwrap().unwrap();
    drop(reader);
    settle().await;
    assert_eq!(scene.layer.figures().transfers, 1);
    // Another one joins it, and leaves it alone again.
    drop(ask(&cache, part(digest, "7-9")).await.unwrap());
    scene.origin.release(usize::MAX);
    settle().await;
    assert_eq!((scene.tasks.running(), scene.layer.figures().transfers), (0, 0));
    assert_eq!(scene.store.stat(digest).await.unwrap(), Some(1_000_000));
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(scene.origin.seen(), [get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_before_the_answer_ends_nothing_for_others() {
    let blob = content(300_000);
    let digest = Digest::sha256(&blob);
    let scene = Scene::new([blob.clone()], |layer| layer);
    let cache = scene.origin.cached(&scene.layer);
    let mut first = Box::pin(ask(&cache, whole(digest)));
    let second = async {
        assert!(timeout(Duration::ZERO, &mut first).await.is_err());
        let second = Box::pin(read(&cache, whole(digest)));
        drop(first);
        second.await
    };
    assert!(second.await.unwrap() == blob);
    assert_eq!(scene.origin.seen(), [get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_dropped_where_that_is_wanted() {
    let blob = content(1_000_000);
    let digest = Digest::sha256(&blob);
    let scene = Scene::new([blob.clone()], |layer| layer.abandoned(Abandoned::IsDropped));
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(500_000);
    let (one, other) = (ask(&cache, whole(digest)).await.unwrap(), ask(&cache, whole(digest)).await.unwrap());
    drop(one);
    settle().await;
    assert_eq!(scene.tasks.running(), 1, "somebody reads it");
    drop(other);
    settle().await;
    assert_eq!((scene.tasks.running(), scene.layer.figures().transfers), (0, 0));
    scene.origin.release(usize::MAX);
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(scene.origin.seen(), [get(digest), get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn detached_transfers_are_capped_in_number() {
    let blobs: Vec<_> = (0..4).map(|more| content(300_000 + more)).collect();
    let scene = Scene::new(blobs.clone(), |layer| layer.detached(2, 1 << 30));
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(100_000);
    for blob in &blobs {
        drop(ask(&cache, whole(Digest::sha256(blob))).await.unwrap());
    }
    settle().await;
    assert_eq!(scene.tasks.running(), 2);
    scene.origin.release(usize::MAX);
    settle().await;
    let mut wanted = [Digest::sha256(&blobs[0]), Digest::sha256(&blobs[1])];
    wanted.sort();
    assert_eq!(kept(&scene.store).await, wanted);
}

#[tokio::test(start_paused = true)]
async fn detached_transfers_are_capped_in_what_they_still_fetch() {
    let blobs: Vec<_> = (0..3).map(|more| content(600_000 + more)).collect();
    let digests: Vec<_> = blobs.iter().map(|blob| Digest::sha256(blob)).collect();
    // What has come doesn't count: room for two that are half done, and none that is at its start.
    let scene = Scene::new(blobs, |layer| layer.detached(9, 700_000));
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(300_000);
    for digest in &digests[..2] {
        let mut reader = body(ask(&cache, whole(*digest)).await.unwrap().0);
        assert_eq!(available(&mut reader).await.len(), 294_912);
    }
    settle().await;
    assert_eq!(scene.tasks.running(), 2);
    drop(ask(&cache, whole(digests[2])).await.unwrap());
    settle().await;
    assert_eq!(scene.tasks.running(), 2);
    scene.origin.release(usize::MAX);
    settle().await;
    let mut wanted = digests[..2].to_vec();
    wanted.sort();
    assert_eq!((kept(&scene.store).await, scene.tasks.running()), (wanted, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_size_counts_as_the_largest_that_is_kept() {
    let blob = content(600_000);
    let digest = Digest::sha256(&blob);
    for (max_blob, goes_on) in [(None, true), (Some(900_000), true), (Some(2_000_000), false)] {
        let (tasks, origin) = (Tasks::new(), Origin::without_sizes([blob.clone()]));
        let store = MemoryBlobs::with_capacity(1 << 24);
        let mut layer = CacheLayer::new(store).tasks(tasks.clone()).detached(1, 1_000_000);
        if let Some(max_blob) = max_blob {
            layer = layer.max_blob(max_blob);
        }
        let cache = origin.cached(&layer);
        origin.release(300_000);
        drop(ask(&cache, whole(digest)).await.unwrap());
        settle().await;
        assert_eq!(tasks.running() == 1, goes_on, "{max_blob:?}");
        tasks.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_wakes_all_who_wait() {
    let blob = content(1_000_000);
    let digest = Digest::sha256(&blob);
    let scene = Scene::new([blob.clone()], |layer| layer);
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(500_000);
    let mut readers = Vec::new();
    for request in [whole(digest), part(digest, "0-9"), part(digest, "-9")] {
        readers.push(body(ask(&cache, request).await.unwrap().0));
    }
    settle().await;
    assert!(!scene.tasks.shutdown(Duration::ZERO).await);
    for reader in readers {
        let message = format!("the transfer of {digest} was ended");
        assert_eq!(told(collect(reader).await), (503, "UNSUPPORTED", message));
    }
    assert_eq!((kept(&scene.store).await.len(), scene.layer.figures().transfers), (0, 0));
    // No task can be started any more: it is passed through, and verified all the same.
    scene.origin.release(usize::MAX);
    scene.origin.seen();
    let (found, status) = ask(&cache, part(digest, "5-9")).await.unwrap();
    assert_eq!((collect(body(found)).await.unwrap(), status.as_str()), (blob.slice(5..10), "fwd=bypass"));
    assert_eq!(scene.origin.seen(), [format!("{} bytes=5-9", get(digest))]);
    assert_eq!(kept(&scene.store).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_ended_is_told_as_such() {
    let digest = Digest::sha256(&content(10));
    let scene = Scene::new([], |layer| layer);
    let cache = scene.origin.cached(&scene.layer);
    let asked = async { told(ask(&cache, whole(digest)).await) };
    let shutdown = async {
        scene.tasks.shutdown(Duration::ZERO).await;
    };
    let (told, ()) = tokio::join!(asked, shutdown);
    assert_eq!(told, (503, "UNSUPPORTED", format!("the request for {digest} was ended")));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_stops_is_given_up_after_a_while() {
    let blob = content(1_000_000);
    let digest = Digest::sha256(&blob);
    let scene = Scene::new([blob.clone()], |layer| layer.read_timeout(Duration::from_secs(7)));
    let cache = scene.origin.cached(&scene.layer);
    scene.origin.release(500_000);
    let started = Instant::now();
    let reads = join_all((0..32).map(async |_| told(read(&cache, whole(digest)).await)));
    let message = "nothing came for 7 s in the middle of a body".to_owned();
    assert_eq!(reads.await, vec![(504, "UNSUPPORTED", message); 32]);
    assert_eq!(started.elapsed().as_secs(), 7);
    assert_eq!((scene.tasks.running(), kept(&scene.store).await.len()), (0, 0));
    scene.origin.release(usize::MAX);
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(scene.origin.seen(), [get(digest), get(digest)]);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_panics_ends_those_who_wait_and_nothing_else() {
    let digest = Digest::sha256(b"");
    for in_body in [false, true] {
        let (tasks, store) = (Tasks::new(), MemoryBlobs::with_capacity(1 << 24));
        let layer = CacheLayer::new(store).tasks(tasks.clone());
        let cache = layer.layer(service_fn(move |_: Request| async move {
            tokio::task::yield_now().await;
            assert!(in_body, "the upstream panics");
            let first = stream::iter([Ok::<_, Error>(Bytes::from_static(b"first"))]);
            let then = stream::once(async { panic!("the body panics") });
            let body = Body::from_stream(first.chain(then));
            Ok::<_, Error>(Response::new(Blob::whole(digest, Some(100), body).into()))
        }));
        let reads = join_all((0..3).map(async |_| told(read(&cache, whole(digest)).await)));
        let message = match in_body {
            true => format!("the transfer of {digest} was ended"),
            false => format!("the request for {digest} was ended"),
        };
        let reads = timeout(Duration::from_secs(1), reads).await.unwrap();
        assert_eq!(reads, vec![(503, "UNSUPPORTED", message); 3]);
        assert_eq!((tasks.running(), layer.figures().transfers), (0, 0));
    }
}

/// Readers that come and go on several threads, over a disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let store = DiskBlobs::open(root.path()).await.unwrap();
    let blobs: Vec<_> = [1000, 200_000, 400_000, 600_000].map(content).into();
    for round in 0..12_usize {
        let (tasks, origin) = (Tasks::new(), Origin::new(blobs.clone()).frames(7_000));
        let policy = if round % 2 == 0 { Abandoned::GoesOn } else { Abandoned::IsDropped };
        let layer =
            CacheLayer::new(store.clone()).tasks(tasks.clone()).abandoned(policy).detached(1, 1 << 20);
        let cache = origin.cached(&layer);
        let (readers, fine) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        for reader in 0..48_usize {
            let (cache, blob) = (cache.clone(), blobs[(reader + round) % 4].clone());
            let (digest, fine) = (Digest::sha256(&blob), Arc::clone(&fine));
            readers.spawn(async move {
                let leaves = (reader % 3 == 0).then_some(reader * 9_000);
                let mut body = body(ask(&cache, whole(digest)).await.unwrap().0);
                let mut all = Vec::new();
                while let Some(frame) = body.frame().await {
                    all.extend_from_slice(frame.unwrap().data_ref().unwrap());
                    if leaves.is_some_and(|leaves| all.len() > leaves) {
                        break;
                    }
                    if reader % 5 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let is_all = leaves.is_some() || all.len() == blob.len();
                assert!(is_all && blob.starts_with(&all), "{reader} in round {round}");
                fine.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(readers.shutdown(Duration::from_secs(60)).await, "somebody hangs");
        assert_eq!(fine.load(Ordering::Relaxed), 48);
        assert!(tasks.shutdown(Duration::from_secs(60)).await, "a transfer hangs");
        assert_eq!(layer.figures().transfers, 0);
        for digest in kept(&store).await {
            assert!(store.remove(digest).await.unwrap());
        }
    }
    assert_eq!(store.fsck().await.unwrap().damaged.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_looked_up_for_several_ranges_is_not_evicted() {
    let (blob, other) = (content(300_000), content(300_001));
    let (digest, origin) = (Digest::sha256(&blob), Origin::new([blob.clone(), other.clone()]));
    let store = Flawed::new(Flaw::None);
    let cache = origin.cached(&CacheLayer::new(store.clone()).max_size(400_000));
    read(&cache, whole(digest)).await.unwrap();
    settle().await;
    store.set(Flaw::Stat);
    let parts = ask(&cache, part(digest, "0-9,100-109"));
    let (parts, other) = tokio::join!(parts, read(&cache, whole(Digest::sha256(&other))));
    assert_eq!(other.unwrap().len(), 300_001);
    let BlobContent::Parts(parts) = parts.unwrap().0.content else { panic!("no parts") };
    for part in parts {
        assert_eq!(collect(part.body).await.unwrap(), part.range.slice(&blob).unwrap());
    }
}
