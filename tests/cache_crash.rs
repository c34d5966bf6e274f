//! Processes that fill and empty a cache on disk are killed at random points: whenever it happens, what is left is right,
//! and what was on its way is gone once the directory is opened again.
#![cfg(feature = "disk")]
#![expect(clippy::unwrap_used, reason = "a test that finds a fault is meant to stop")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tower_layer::Layer as _;
use tower_oci::body::Body;
use tower_oci::error::{Error, ErrorKind};
use tower_oci::layer::cache::{Cache, CacheLayer};
use tower_oci::operation::{Blob, GetBlob, Handlers, Registry as _, Request};
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};

/// What tells a process of this test that it is one to be killed: the directory to fill.
const DIRECTORY: &str = "TOWER_OCI_TEST_CACHE";

/// And what its choices follow from.
const SEED: &str = "TOWER_OCI_TEST_SEED";

/// Each kills two processes.
const ROUNDS: u64 = 100;

/// How many blobs the upstream has: 4.2 MB.
const BLOBS: usize = 24;

/// How much a process keeps of them.
const MAX_SIZE: u64 = 1_200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_killed_leaves_nothing_wrong_behind() {
    #[expect(clippy::disallowed_methods, reason = "a test's own variables say which of its two parts it is")]
    let (directory, seed) = (std::env::var_os(DIRECTORY), std::env::var(SEED));
    if let (Some(directory), Ok(seed)) = (directory, seed) {
        return fill(Path::new(&directory), seed.parse().unwrap()).await;
    }
    let root = tempfile::tempdir().unwrap();
    let upstream = Upstream::new();
    fs::write(root.path().join("digests"), upstream.digests()).unwrap();
    let mut chance = Chance(1);
    let (mut kills, mut evicted, mut found, mut cut_short) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let mut fillers = [0, 1].map(|number| Filler::start(root.path(), 2 * round + number + 1));
        for filler in &mut fillers {
            // Now and then one dies before it has done anything.
            filler.wait_for(chance.below(8));
        }
        for (number, filler) in fillers.into_iter().enumerate() {
            std::thread::sleep(Duration::from_micros(chance.below(8_000) as u64));
            evicted += filler.kill();
            kills += 1;
            if number == 1 && partials(root.path()) > 0 {
                cut_short += 1;
            }
            found += check(root.path(), &upstream).await;
            if number == 1 {
                assert_eq!(partials(root.path()), 0, "round {round}");
            }
        }
    }
    assert_eq!(kills, 200);
    assert!(evicted > ROUNDS, "blobs were evicted: {evicted}");
    assert!(found > ROUNDS, "and blobs were kept: {found}");
    assert!(cut_short > ROUNDS / 10, "and processes died while they wrote: {cut_short}");

    // Together they may have kept more than one may. Whoever comes next makes it right.
    let store = DiskBlobs::open(root.path().join("blobs")).await.unwrap();
    let layer = CacheLayer::new(store.clone()).max_size(MAX_SIZE);
    let digest = upstream.digest(0);
    let cache = layer.layer(leaf(Arc::new(upstream), 1));
    let request = Request::new(GetBlob::new("a/b".parse().unwrap(), digest));
    let body = cache.send(request).await.unwrap().into_reply().into_whole().unwrap();
    assert_eq!(read(body, false).await.unwrap(), content(0));
    let trimmed = async {
        while store.usage().await.unwrap().bytes > MAX_SIZE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), trimmed).await.unwrap();
}

/// Opens the store and looks at everything in it. Answers how many blobs that was.
async fn check(root: &Path, upstream: &Upstream) -> u64 {
    let store = DiskBlobs::open(root.join("blobs")).await.unwrap();
    let report = store.fsck().await.unwrap();
    assert_eq!((report.damaged, report.strangers), (vec![], vec![]));
    for blob in store.list(None, usize::MAX).await.unwrap() {
        // A process that lives may have evicted it meanwhile.
        let Some(found) = store.get(blob.digest, None).await.unwrap() else { continue };
        assert_eq!(found.body.read(1 << 20).await.unwrap(), upstream.content(blob.digest), "{}", blob.digest);
    }
    report.checked
}

/// How many files of partial blobs there are.
fn partials(root: &Path) -> usize {
    let places = fs::read_dir(root.join("blobs/partial")).unwrap().map(|place| place.unwrap().path());
    places.filter(|place| place.is_dir()).map(|place| fs::read_dir(place).unwrap().count()).sum()
}

/// Pulls blobs through a cache until the end, several at a time. Says on standard output when one has come, and how many
/// were evicted so far.
async fn fill(root: &Path, seed: u64) {
    let upstream = Arc::new(Upstream::read(&fs::read_to_string(root.join("digests")).unwrap()));
    let store = DiskBlobs::open(root.join("blobs")).await.unwrap();
    let layer = CacheLayer::new(store).max_size(MAX_SIZE);
    let cache = layer.layer(leaf(Arc::clone(&upstream), seed));
    let pullers = (0..3).map(|number| pull(&layer, &cache, &upstream, Chance(seed * 10 + number + 1)));
    join_all(pullers).await;
}

async fn pull(layer: &CacheLayer, cache: &Cache, upstream: &Upstream, mut chance: Chance) {
    loop {
        let digest = upstream.digest(chance.below(BLOBS));
        let request = Request::new(GetBlob::new("a/b".parse().unwrap(), digest));
        let body = cache.send(request).await.unwrap().into_reply().into_whole().unwrap();
        let leaves = chance.below(4) == 0;
        match read(body, leaves).await {
            Ok(content) => assert!(leaves || content == upstream.content(digest), "{digest}"),
            // As the upstream has it now and then.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        }
        println!("\npulled {}", layer.figures().evicted);
    }
}

/// The content, or where the reader leaves early its beginning.
async fn read(mut body: Body, leaves: bool) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        content.extend_from_slice(&frame?.into_data().unwrap());
        if leaves {
            break;
        }
    }
    Ok(content)
}

/// Answers every blob in frames, and every eighth wrongly.
fn leaf(upstream: Arc<Upstream>, seed: u64) -> Handlers {
    let asked = Arc::new(AtomicU64::new(seed));
    Handlers::new().on(move |request: Request<GetBlob>| {
        let (upstream, asked) = (Arc::clone(&upstream), Arc::clone(&asked));
        async move {
            let digest = request.operation().digest;
            let mut content = upstream.content(digest);
            if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) {
                *content.last_mut().unwrap() ^= 1;
            }
            let size = content.len() as u64;
            let pieces: Vec<_> = content.chunks(60_000).map(Bytes::copy_from_slice).collect();
            let pieces = stream::unfold(pieces.into_iter(), async |mut pieces| {
                tokio::task::yield_now().await;
                Some((Ok::<_, Error>(pieces.next()?), pieces))
            });
            Ok(Blob::whole(digest, Some(size), Body::from_stream(pieces)))
        }
    })
}

/// The blobs that there are.
struct Upstream(Vec<Digest>, BTreeMap<Digest, usize>);

impl Upstream {
    fn new() -> Self {
        Self::of((0..BLOBS).map(|number| Digest::sha256(&content(number))).collect())
    }

    /// Without hashing anything: that takes long where nothing is optimized.
    fn read(digests: &str) -> Self {
        Self::of(digests.lines().map(|line| line.parse().unwrap()).collect())
    }

    fn of(digests: Vec<Digest>) -> Self {
        let numbers = digests.iter().copied().zip(0..).collect();
        Self(digests, numbers)
    }

    fn digests(&self) -> String {
        self.0.iter().map(|digest| format!("{digest}\n")).collect()
    }

    fn digest(&self, number: usize) -> Digest {
        *self.0.get(number).unwrap()
    }

    fn content(&self, digest: Digest) -> Vec<u8> {
        content(*self.1.get(&digest).unwrap())
    }
}

/// Every other blob is small enough to be answered before it touches the disk.
fn content(number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(2) { 1000 + 1000 * number } else { 270_000 + 6000 * number };
    let pattern: Vec<u8> = (0..251).map(|index| index ^ number as u8).collect();
    let mut content = pattern.repeat(length.div_ceil(pattern.len()));
    content.truncate(length);
    content
}

/// Choices that are the same in each run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// A process that fills the cache.
struct Filler {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Filler {
    fn start(root: &Path, seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_cache_that_is_killed_leaves_nothing_wrong_behind", "--nocapture"]);
        command.env(DIRECTORY, root).env(SEED, seed.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// Waits until so many blobs were pulled.
    fn wait_for(&mut self, pulls: usize) {
        let lines = self.output.by_ref().lines().map(Result::unwrap);
        let pulled = lines.filter(|line| line.starts_with("pulled ")).take(pulls).count();
        assert_eq!(pulled, pulls, "the process ended");
    }

    /// Answers how many blobs it has evicted, as far as it has said so.
    fn kill(mut self) -> u64 {
        let ended = self.process.try_wait().unwrap();
        assert_eq!(ended, None, "it found a fault");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let lines = self.output.by_ref().lines().map_while(Result::ok);
        let counts = lines.filter_map(|line| line.strip_prefix("pulled ")?.parse().ok());
        counts.last().unwrap_or(0)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
