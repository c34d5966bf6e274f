//! Every fault of an upstream, under one reader and under many of which some leave: nothing wrong is delivered as
//! complete, nothing wrong is kept, nobody hangs, and no task or file is left.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oci::body::Body;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream};
use tower_oci::error::{Error, RetryAfter};
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::cache::{Abandoned, Cache, CacheLayer};
use tower_oci::operation::{BlobContent, GetBlob, Registry as _, Request};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore, DiskBlobs, MemoryBlobs};
use tower_oci::testing::{Fault, Faulty, Hosts, When};

use crate::origin::{REPOSITORY, content, head, part, whole};

/// More than is kept in memory, and not a number of frames.
pub(crate) const SIZE: usize = 450_001;

/// A registry that fails, behind the client that goes to real ones.
pub(crate) struct Network {
    pub(crate) faults: Box<dyn Fn(When, Fault)>,
    heal: Box<dyn Fn()>,
    pub(crate) upstream: Upstream,
}

impl Network {
    pub(crate) fn new(blob: &Bytes) -> Self {
        let memory = Memory::new();
        let media_type = "application/octet-stream".parse().unwrap();
        memory.push_blob(&REPOSITORY.parse().unwrap(), media_type, blob.clone()).unwrap();
        let registry = OciService::new(memory);
        let registry = service_fn(move |request: http::Request<Body>| {
            let registry = registry.clone();
            async move {
                // In frames, as from a connection.
                let response = registry.oneshot(request).await.unwrap();
                Ok::<_, Error>(response.map(|body| match body.as_bytes().cloned() {
                    Some(bytes) if bytes.len() > 20_000 => framed(bytes),
                    _ => body,
                }))
            }
        });
        let faulty = Faulty::new(registry.clone());
        let network = Hosts::new().on("registry.example", faulty.clone()).on("cdn.example", registry);
        let upstream = Upstream::builder("registry.example".parse().unwrap())
            .http(HttpService::new(network.clone()))
            .http_elsewhere(HttpService::new(network))
            .retry(RetryPolicy::new().random(|| 0.5))
            .build()
            .unwrap();
        let healed = faulty.clone();
        Self {
            faults: Box::new(move |when, fault| faulty.inject(when, fault)),
            heal: Box::new(move || healed.heal()),
            upstream,
        }
    }
}

/// A body in frames, a moment apart, so that readers come and go in the middle of it.
fn framed(bytes: Bytes) -> Body {
    Body::from_stream(stream::unfold(bytes, |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let frame = left.split_to(left.len().min(20_000));
        Some((Ok::<_, Error>(frame), left))
    }))
}

/// Numbers that are the same in each run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What a reader wants, and how much of it it waits for.
#[derive(Clone, Debug)]
struct Reader {
    range: Option<(usize, usize)>,
    leaves_after: Option<usize>,
    starts_after: Duration,
    pause: Duration,
}

impl Reader {
    fn random(random: &mut Seeded) -> Self {
        let (one, other) = (random.below(SIZE as u64) as usize, random.below(SIZE as u64) as usize);
        Self {
            range: (random.below(4) == 0).then_some((one.min(other), one.max(other))),
            leaves_after: (random.below(3) == 0).then(|| random.below(SIZE as u64) as usize),
            starts_after: Duration::from_millis(random.below(30)),
            pause: Duration::from_millis(random.below(3)),
        }
    }

    /// Reads. Answers what became of it.
    async fn read(self, cache: &Cache, digest: Digest, blob: &Bytes) -> End {
        tokio::time::sleep(self.starts_after).await;
        let (request, wanted) = match self.range {
            Some((first, last)) => (part(digest, &format!("{first}-{last}")), blob.slice(first..=last)),
            None => (whole(digest), blob.clone()),
        };
        let Ok(response) = cache.send(request).await else { return End::Refused };
        let mut body = match response.into_reply().content {
            BlobContent::Whole(body) => body,
            BlobContent::Part(part) => part.body,
            other => panic!("{other:?}"),
        };
        let mut all = Vec::new();
        loop {
            if self.leaves_after.is_some_and(|leaves| all.len() >= leaves) {
                return End::Left;
            }
            match body.frame().await {
                Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(_)) => return End::Broken(all.len()),
                None => break,
            }
            tokio::time::sleep(self.pause).await;
        }
        // With a length, a client takes what has all of its bytes for complete: an error behind them comes too late.
        assert!(all == wanted, "something wrong ended well");
        End::Complete
    }
}

/// What became of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Left,
    /// There was no answer.
    Refused,
    /// An error came in place of the end, after so many bytes.
    Broken(usize),
}

pub(crate) type Told = Vec<(When, Fault)>;

/// The faults of the list, and whether a reader that stays gets its blob all the same.
pub(crate) fn faults() -> Vec<(&'static str, Told, bool)> {
    let all = |fault: Fault| vec![(When::any(), fault)];
    let once = |fault: Fault| vec![(When::any().times(1), fault)];
    let and = |first: Fault, then: Fault| {
        vec![(When::any().ranged(false).times(1), first), (When::any().ranged(true), then)]
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
    let other = Digest::sha256(b"other").to_string();
    vec![
        ("nothing", Vec::new(), true),
        ("one flipped byte", all(Fault::FlippedByte(400_000)), false),
        ("one flipped byte at the end", all(Fault::FlippedByte(SIZE as u64 - 1)), false),
        ("cut off", once(Fault::CutOff(300_000)), true),
        ("cut off at once", once(Fault::CutOff(0)), true),
        ("cut off before the last byte", once(Fault::CutOff(SIZE as u64 - 1)), true),
        ("cut off each time", all(Fault::CutOff(0)), false),
        (
            "gone in the middle",
            vec![(When::any().times(1), Fault::CutOff(300_000)), (When::any().skip(1), Fault::Close)],
            false,
        ),
        ("ends early", once(Fault::EndsEarly(300_000)), false),
        ("trickle", all(Fault::Trickle(30_000, Duration::from_secs(50))), true),
        ("stall", all(Fault::Stall(300_000)), false),
        ("close", all(Fault::Close), false),
        ("close once", once(Fault::Close), true),
        ("hang", all(Fault::Hang), false),
        ("delay", all(Fault::Delay(Duration::from_secs(20))), true),
        (
            "429 with seconds",
            all(Fault::TooManyRequests(Some(RetryAfter::Delay(Duration::from_secs(9))))),
            false,
        ),
        ("429 with a date", all(Fault::TooManyRequests(Some(RetryAfter::At(at)))), false),
        ("429", all(Fault::TooManyRequests(None)), false),
        ("500", all(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR)), false),
        ("502 and then fine", once(Fault::Status(StatusCode::BAD_GATEWAY)), true),
        ("503 and then fine", once(Fault::Status(StatusCode::SERVICE_UNAVAILABLE)), true),
        ("504", all(Fault::Status(StatusCode::GATEWAY_TIMEOUT)), false),
        ("a foreign realm", all(Fault::Realm("https://evil.example/token".into())), false),
        ("a redirect to another origin", all(Fault::RedirectOrigin("https://cdn.example".into())), true),
        ("a redirect loop", all(Fault::RedirectLoop), false),
        ("200 for a range", and(Fault::CutOff(300_000), Fault::RangeIgnored), true),
        (
            "wrong Content-Range",
            and(Fault::CutOff(300_000), Fault::ContentRange("bytes 0-9/10".into())),
            false,
        ),
        ("changed meanwhile", and(Fault::CutOff(300_000), Fault::Changed), false),
        ("no Content-Length", all(Fault::NoContentLength), true),
        (
            "no Content-Length and cut off",
            vec![(When::any(), Fault::NoContentLength), (When::any().times(1), Fault::CutOff(300_000))],
            true,
        ),
        ("no digest", all(Fault::NoDigest), true),
        ("wrong digest", all(Fault::WrongDigest), false),
        (
            "wrong digest in a header that is none",
            all(Fault::Header(header::ETAG, other.parse().unwrap())),
            true,
        ),
        ("HTML", all(Fault::Html), false),
        ("gzip", all(Fault::Gzip), false),
        ("an expired token as 403", all(Fault::ExpiredAsForbidden), false),
        ("401", all(Fault::Status(StatusCode::UNAUTHORIZED)), false),
        ("404", all(Fault::NoSuchApi), false),
    ]
}

/// Files that are being written.
fn partial_files(root: &Path) -> usize {
    let places = std::fs::read_dir(root.join("partial")).unwrap();
    let files = places.flat_map(|place| match std::fs::read_dir(place.unwrap().path()) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    });
    files.filter(|file| file.extension().is_none_or(|extension| extension != "lock")).count()
}

async fn suffer(name: &str, told: Told, is_survived: bool, readers: Vec<Reader>, store: Arc<dyn Stored>) {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let network = Network::new(&blob);
    for (when, fault) in told {
        (network.faults)(when, fault);
    }
    let tasks = Tasks::new();
    let layer = store.layer().tasks(tasks.clone());
    let layer = if readers.len() > 1 { layer } else { layer.abandoned(Abandoned::IsDropped) };
    let cache = layer.layer(network.upstream.clone());
    let reads = readers.iter().map(|reader| reader.clone().read(&cache, digest, &blob));
    let done = timeout(Duration::from_secs(3600), join_all(reads)).await;
    let done = done.unwrap_or_else(|_| panic!("{name}: somebody hangs"));
    for (reader, end) in readers.iter().zip(&done) {
        let length = reader.range.map_or(SIZE, |(first, last)| last - first + 1);
        // The last byte never comes before an error.
        assert!(!matches!(end, End::Broken(bytes) if *bytes >= length), "{name}: {reader:?}: {end:?}");
        if is_survived && reader.leaves_after.is_none() {
            assert_eq!(*end, End::Complete, "{name}: {reader:?}");
        }
        if !is_survived && readers.len() == 1 {
            assert_ne!(*end, End::Complete, "{name}");
        }
    }
    let ended = timeout(Duration::from_secs(3600), async {
        while tasks.running() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(ended.await.is_ok(), "{name}: a task is left");
    assert_eq!(layer.figures().transfers, 0, "{name}");
    assert_eq!(store.partial(), 0, "{name}");
    for kept in store.blobs().list(None, 9).await.unwrap() {
        let found = store.blobs().get(kept.digest, None).await.unwrap().unwrap();
        assert_eq!(kept.digest, digest, "{name}");
        assert!(found.body.read(SIZE).await.unwrap() == blob, "{name}: what is kept is wrong");
    }
    if name == "a foreign realm" {
        // The client goes on as it was challenged at first, as long as it lives.
        return;
    }
    // The next one starts afresh. The budget for retries comes back with time.
    (network.heal)();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let next =
        Reader { range: None, leaves_after: None, starts_after: Duration::ZERO, pause: Duration::ZERO };
    let next = timeout(Duration::from_secs(3600), next.read(&cache, digest, &blob)).await;
    assert_eq!(next.unwrap(), End::Complete, "{name}: it isn't mended");
    assert!(tasks.shutdown(Duration::from_secs(10)).await, "{name}");
    assert_eq!(store.blobs().stat(digest).await.unwrap(), Some(SIZE as u64), "{name}");
}

/// A store, to be looked at.
trait Stored {
    fn blobs(&self) -> &dyn BlobStore;
    fn layer(&self) -> CacheLayer;
    fn partial(&self) -> usize;
}

impl Stored for MemoryBlobs {
    fn blobs(&self) -> &dyn BlobStore {
        self
    }

    fn layer(&self) -> CacheLayer {
        CacheLayer::new(self.clone()).breaker(None)
    }

    fn partial(&self) -> usize {
        0
    }
}

struct OnDisk(DiskBlobs, tempfile::TempDir);

impl Stored for OnDisk {
    fn blobs(&self) -> &dyn BlobStore {
        &self.0
    }

    fn layer(&self) -> CacheLayer {
        CacheLayer::new(self.0.clone()).breaker(None)
    }

    fn partial(&self) -> usize {
        partial_files(self.1.path())
    }
}

async fn on_disk() -> Arc<dyn Stored> {
    let root = tempfile::tempdir().unwrap();
    Arc::new(OnDisk(DiskBlobs::open(root.path()).await.unwrap(), root))
}

fn in_memory() -> Arc<dyn Stored> {
    Arc::new(MemoryBlobs::with_capacity(1 << 24))
}

const ALONE: Reader =
    Reader { range: None, leaves_after: None, starts_after: Duration::ZERO, pause: Duration::ZERO };

#[tokio::test(start_paused = true)]
async fn one_reader_suffers_every_fault() {
    for (name, told, is_survived) in faults() {
        suffer(name, told.clone(), is_survived, vec![ALONE], in_memory()).await;
        suffer(name, told, is_survived, vec![ALONE], on_disk().await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_readers_suffer_every_fault_and_some_leave() {
    let mut random = Seeded(0x5EED);
    for (name, told, is_survived) in faults() {
        let readers: Vec<_> = (0..32).map(|_| Reader::random(&mut random)).collect();
        suffer(name, told.clone(), is_survived, readers.clone(), in_memory()).await;
        suffer(name, told, is_survived, readers, on_disk().await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_refused_is_asked_for_in_another_way() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED] {
        let network = Network::new(&blob);
        (network.faults)(When::any().method(Method::HEAD), Fault::Status(status));
        let store = MemoryBlobs::with_capacity(1 << 24);
        let cache = CacheLayer::new(store).breaker(None).layer(network.upstream.clone());
        let request: Request<GetBlob> = head(digest);
        let found = cache.send(request).await.unwrap().into_reply();
        assert_eq!(found.size, Some(SIZE as u64), "{status}");
    }
}
