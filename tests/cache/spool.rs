//! Stores that fail, transfers that are lost for that, and the property of all followers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tokio::time::timeout;
use tower::{Layer as _, service_fn};
use tower_oci::body::Body;
use tower_oci::error::{Error, ErrorCode, ErrorKind};
use tower_oci::layer::cache::{Abandoned, CacheLayer};
use tower_oci::operation::{Blob, BlobContent, BlobPart, Operation, Registry as _, Reply, Request, Response};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::range::Satisfied;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs, MemoryBlobs};

use crate::flawed::{Flaw, Flawed};
use crate::origin::*;

const SIZE: usize = 1_000_000;

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_costs_requests_and_no_errors() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    for flaw in [Flaw::Create, Flaw::Write(0), Flaw::Write(9), Flaw::Write(61), Flaw::Commit] {
        for tells_size in [true, false] {
            let origin = match tells_size {
                true => Origin::new([blob.clone()]),
                false => Origin::without_sizes([blob.clone()]),
            };
            let (store, tasks) = (Flawed::new(flaw), Tasks::new());
            let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
            let cache = origin.cached(&layer);
            let reads = join_all((0..12).map(async |reader: usize| {
                let pause = Duration::from_millis(reader as u64 % 4);
                tokio::time::sleep(Duration::from_millis(reader as u64)).await;
                let (request, wanted) = match reader % 3 {
                    0 => (part(digest, "300000-600000"), blob.slice(300_000..=600_000)),
                    _ => (whole(digest), blob.clone()),
                };
                let mut body = body(ask(&cache, request).await.unwrap().0);
                let mut all = Vec::new();
                while let Some(frame) = body.frame().await {
                    all.extend_from_slice(frame.unwrap().data_ref().unwrap());
                    tokio::time::sleep(pause).await;
                }
                assert!(all == wanted, "{flaw:?} {tells_size} {reader}");
            }));
            timeout(Duration::from_secs(60), reads).await.unwrap();
            settle().await;
            assert_eq!((kept(&store).await.len(), tasks.running()), (0, 0), "{flaw:?}");
            store.set(Flaw::None);
            assert!(read(&cache, whole(digest)).await.unwrap() == blob);
            settle().await;
            assert_eq!(store.stat(digest).await.unwrap(), Some(SIZE as u64), "{flaw:?}");
        }
    }
}

/// A reader of a transfer that is lost when 327,680 bytes have come and been given.
async fn lost(
    request: Request<tower_oci::operation::GetBlob>,
    origin: &Origin,
    store: &Flawed,
) -> (Bytes, Body) {
    let cache = origin.cached(&CacheLayer::new(store.clone()));
    origin.release(327_680);
    let mut reader = body(ask(&cache, request).await.unwrap().0);
    let first = available(&mut reader).await;
    (first, reader)
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_lost_transfer_is_fetched_by_who_reads_it() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    for ignores_ranges in [false, true] {
        let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Write(20)));
        if ignores_ranges {
            origin.ignore_ranges();
        }
        let (first, mut rest) = lost(whole(digest), &origin, &store).await;
        assert_eq!(first, blob.slice(..327_680));
        // The next frame can't be stored.
        origin.release(327_680 + 16_384);
        assert_eq!(available(&mut rest).await, blob.slice(327_680..344_064));
        assert_eq!(rest.size(), Some(SIZE as u64 - 344_064));
        origin.release(usize::MAX);
        assert!(collect(rest).await.unwrap() == blob.slice(344_064..));
        assert_eq!(origin.seen(), [get(digest), format!("{} bytes=327680-", get(digest))]);

        let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Write(20)));
        if ignores_ranges {
            origin.ignore_ranges();
        }
        let (first, rest) = lost(part(digest, "300000-400000"), &origin, &store).await;
        assert_eq!(first, blob.slice(300_000..327_680));
        origin.release(usize::MAX);
        assert_eq!(collect(rest).await.unwrap(), blob.slice(327_680..=400_000));
        assert_eq!(origin.seen(), [get(digest), format!("{} bytes=327680-400000", get(digest))]);
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_changes_after_a_transfer_is_lost_never_ends_well() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let mut changed = blob.to_vec();
    changed[900_000] ^= 1;
    let longer = content(SIZE + 1);
    for (other, code) in [(changed.into(), "DIGEST_INVALID"), (longer, "DIGEST_INVALID")] {
        let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Write(20)));
        let (_, rest) = lost(whole(digest), &origin, &store).await;
        origin.replace(digest, other);
        origin.release(usize::MAX);
        assert_eq!(told(collect(rest).await).1, code);
        settle().await;
        assert_eq!(kept(&store).await.len(), 0);
    }
    // What came first may be wrong too.
    let (origin, store) = (Origin::new([]), Flawed::new(Flaw::Write(20)));
    let mut wrong = blob.to_vec();
    wrong[5] ^= 1;
    origin.replace(digest, wrong.into());
    let (_, rest) = lost(whole(digest), &origin, &store).await;
    origin.replace(digest, blob);
    origin.release(usize::MAX);
    assert_eq!(told(collect(rest).await).1, "DIGEST_INVALID");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_checked_any_more_never_ends_well() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Unreadable(20)));
    let (_, rest) = lost(whole(digest), &origin, &store).await;
    origin.release(usize::MAX);
    let message = format!("{digest} can't be read back: the store is broken: read_back");
    assert_eq!(told(collect(rest).await), (503, "UNSUPPORTED", message));
    // Nor when the store can't commit, and keeps nothing.
    let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Gone));
    let (_, rest) = lost(whole(digest), &origin, &store).await;
    origin.release(usize::MAX);
    let message = format!("{digest} can't be read back: the content was given up before it was complete");
    assert_eq!(told(collect(rest).await), (503, "UNSUPPORTED", message));
    store.set(Flaw::None);
    let cache = origin.cached(&CacheLayer::new(store));
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_refused_to_who_may_not_read_any_more() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let (origin, store) = (Origin::new([blob.clone()]), Flawed::new(Flaw::Write(20)));
    let (_, rest) = lost(whole(digest), &origin, &store).await;
    origin.refuse(|_| Some(Error::denied("no more")));
    origin.release(usize::MAX);
    assert_eq!(told(collect(rest).await), (403, "DENIED", "no more".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_passes_through() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    for (tells_size, asked) in [(true, get(digest)), (false, get(digest))] {
        let origin = match tells_size {
            true => Origin::new([blob.clone()]),
            false => Origin::without_sizes([blob.clone()]),
        };
        let store = MemoryBlobs::with_capacity(500_000);
        let layer = CacheLayer::new(store.clone());
        let cache = origin.cached(&layer);
        assert!(read(&cache, whole(digest)).await.unwrap() == blob);
        assert_eq!(origin.seen()[0], asked);
        settle().await;
        assert_eq!(store.usage().await.unwrap().bytes, 0);
        assert_eq!(read(&cache, part(digest, "-9")).await.unwrap(), blob.slice(SIZE - 9..));
        // What fits is kept.
        let small = content(100_000);
        origin.replace(Digest::sha256(&small), small.clone());
        read(&cache, whole(Digest::sha256(&small))).await.unwrap();
        settle().await;
        assert_eq!(store.usage().await.unwrap().bytes, 100_000);
    }
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_too_large_is_not_kept() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let origin = Origin::without_sizes([blob.clone()]);
    let store = MemoryBlobs::with_capacity(1 << 24);
    let layer = CacheLayer::new(store.clone()).max_blob(999_999);
    let cache = origin.cached(&layer);
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    settle().await;
    assert_eq!((kept(&store).await.len(), origin.seen().len()), (0, 2));
    // Of a range nothing is known until then.
    assert_eq!(read(&cache, part(digest, "-9")).await.unwrap(), blob.slice(SIZE - 9..));
    assert_eq!(origin.seen(), [get(digest), format!("{} bytes=-9", get(digest))]);
}

#[tokio::test]
async fn a_disk_that_cannot_commit_gives_the_blob_all_the_same() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let root = tempfile::tempdir().unwrap();
    let store = DiskBlobs::open(root.path()).await.unwrap();
    let place = root.path().join("blobs/sha256").join(&digest.hex()[..2]);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "").unwrap();
    let origin = Origin::new([blob.clone()]);
    let cache = origin.cached(&CacheLayer::new(store.clone()));
    let reads = join_all((0..8).map(async |_| read(&cache, whole(digest)).await.unwrap() == blob));
    assert_eq!(reads.await, [true; 8]);
    assert_eq!(origin.seen(), [get(digest)]);
    assert_eq!(store.usage().await.unwrap().blobs, 0);
    std::fs::remove_file(&place).unwrap();
    assert!(read(&cache, whole(digest)).await.unwrap() == blob);
    assert_eq!(store.stat(digest).await.unwrap(), Some(SIZE as u64));
}

/// One way in which a transfer may go.
#[derive(Clone, Debug)]
struct Course {
    size: usize,
    tells_size: bool,
    frames: Vec<usize>,
    flaw: Flaw,
    fault: Option<(bool, usize, Fault)>,
    is_dropped: bool,
    readers: Vec<Follower>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    Flips,
    EndsEarly,
    GoesOn,
}

#[derive(Clone, Debug)]
struct Follower {
    range: Option<(usize, usize)>,
    starts: u64,
    pause: u64,
    leaves: Option<usize>,
}

fn courses() -> impl Strategy<Value = Course> {
    let size = prop_oneof![0..5_usize, 250_000..270_000_usize, 300_000..700_000_usize];
    let flaw = prop_oneof![
        4 => Just(Flaw::None),
        1 => Just(Flaw::Create),
        2 => (0..12_usize).prop_map(Flaw::Write),
        1 => Just(Flaw::Commit),
        1 => Just(Flaw::Gone),
        1 => (0..12_usize).prop_map(Flaw::Unreadable),
    ];
    let fault =
        prop_oneof![Just(Fault::Fails), Just(Fault::Flips), Just(Fault::EndsEarly), Just(Fault::GoesOn)];
    let follower = (
        prop::option::of((0..700_000_usize, 1..700_000_usize)),
        0..12_u64,
        0..3_u64,
        prop::option::weighted(0.3, 0..700_000_usize),
    );
    let follower =
        follower.prop_map(|(range, starts, pause, leaves)| Follower { range, starts, pause, leaves });
    (
        size,
        any::<bool>(),
        prop::collection::vec(prop_oneof![1..100_usize, 1_000..200_000_usize], 1..9),
        flaw,
        prop::option::weighted(0.4, (any::<bool>(), 0..700_000_usize, fault)),
        any::<bool>(),
        prop::collection::vec(follower, 1..7),
    )
        .prop_map(|(size, tells_size, mut frames, flaw, fault, is_dropped, readers)| {
            // Not too many in all.
            frames.push(50_000);
            Course { size, tells_size, frames, flaw, fault, is_dropped, readers }
        })
}

/// The body of an upstream: frames of these lengths over and over, a moment apart.
fn frames(course: &Course, blob: Bytes, is_faulty: bool) -> Body {
    let fault = course.fault.filter(|_| is_faulty).map(|(_, at, fault)| (at.min(blob.len()), fault));
    let mut content = blob.to_vec();
    match fault {
        Some((at, Fault::Flips)) if at < content.len() => content[at] ^= 1,
        Some((at, Fault::EndsEarly | Fault::Fails)) => content.truncate(at),
        Some((_, Fault::GoesOn)) => content.extend_from_slice(b"more"),
        _ => {}
    }
    let fails = matches!(fault, Some((_, Fault::Fails)));
    let lengths = course.frames.clone().into_iter().cycle();
    let start = (Bytes::from(content), lengths, fails);
    Body::from_stream(stream::unfold(start, |(mut left, mut lengths, fails)| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if left.is_empty() {
            return fails.then(|| (Err(Error::unavailable("the connection broke")), (left, lengths, false)));
        }
        let frame = left.split_to(lengths.next()?.min(left.len()));
        Some((Ok(frame), (left, lengths, fails)))
    }))
}

/// Runs a course. Readers may get less than all of it, but then with an error; what they get is the beginning of what
/// the upstream sent, and what ends well is right.
async fn run(course: Course) {
    let blob = content(course.size);
    let digest = Digest::sha256(&blob);
    let (store, tasks) = (Flawed::new(course.flaw), Tasks::new());
    let mut layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
    if course.is_dropped {
        layer = layer.abandoned(Abandoned::IsDropped);
    }
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (script, source) = (course.clone(), blob.clone());
    let cache = layer.layer(service_fn(move |request: Request| {
        let (course, blob) = (script.clone(), source.clone());
        let nth = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            let Operation::GetBlob(asked) = request.into_operation() else { panic!("not a blob") };
            let is_faulty = course.fault.is_some_and(|(always, ..)| always || nth == 0);
            let size = blob.len() as u64;
            let reply = match asked.range.map_or(Satisfied::Whole, |range| range.resolve(size)) {
                Satisfied::One(range) => {
                    let body = frames(&course, range.slice(&blob).unwrap(), is_faulty);
                    Blob::part(digest, size, BlobPart::new(range, body))
                }
                Satisfied::None => {
                    let (kind, code) = (ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid);
                    return Err(Error::new(kind, code, "outside").with_content_size(size));
                }
                _ => Blob::whole(digest, course.tells_size.then_some(size), frames(&course, blob, is_faulty)),
            };
            Ok::<_, Error>(Response::new(Reply::from(reply)))
        }
    }));
    let reads = course.readers.iter().map(async |reader| {
        tokio::time::sleep(Duration::from_millis(reader.starts)).await;
        let (request, wanted) = match reader.range {
            Some((first, length)) => {
                let last = first + length - 1;
                let end = course.size.min(last + 1);
                (part(digest, &format!("{first}-{last}")), blob.slice(first.min(end)..end))
            }
            None => (whole(digest), blob.clone()),
        };
        let response = match cache.send(request).await {
            Ok(response) => response.into_reply(),
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                assert!(wanted.is_empty(), "{reader:?}");
                return true;
            }
            Err(_) => return false,
        };
        let mut body = match response.content {
            BlobContent::Whole(body) => body,
            BlobContent::Part(part) => part.body,
            other => panic!("{other:?}"),
        };
        let announced = body.size();
        assert!(announced.is_none_or(|size| size == wanted.len() as u64), "{announced:?}");
        let mut all = Vec::new();
        loop {
            if reader.leaves.is_some_and(|leaves| all.len() >= leaves) {
                return true;
            }
            let left = announced.map(|announced| announced - all.len() as u64);
            assert!(left.is_none_or(|left| left == 0 || body.size() == Some(left)), "the hint is exact");
            match body.frame().await {
                Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(_)) => return false,
                None => break,
            }
            tokio::time::sleep(Duration::from_millis(reader.pause)).await;
        }
        // A part that is passed through can't be checked, if the upstream is wrong about it each time.
        let is_unchecked = reader.range.is_some() && course.fault.is_some() && course.flaw != Flaw::None;
        assert!(all == wanted || is_unchecked && all.len() == wanted.len(), "{reader:?}");
        true
    });
    let done =
        timeout(Duration::from_secs(600), join_all(reads)).await.unwrap_or_else(|_| panic!("somebody hangs"));
    if course.fault.is_none() && !matches!(course.flaw, Flaw::Gone | Flaw::Unreadable(_)) {
        assert!(done.iter().all(|done| *done), "{done:?}");
    }
    let ended = timeout(Duration::from_secs(600), async {
        while tasks.running() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(ended.await.is_ok(), "a task is left");
    assert_eq!(layer.figures().transfers, 0);
    for found in kept(&store).await {
        assert_eq!(found, digest);
        let kept = store.get(found, None).await.unwrap().unwrap();
        assert!(kept.body.read(1 << 20).await.unwrap() == blob);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn followers_are_like_a_vector_of_bytes(course in courses()) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(course));
    }
}
