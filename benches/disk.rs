//! What the disk store costs beside the system calls that it can't do without, in the same run.
//!
//! - *Warm*: a blob that is in the page cache, read through the store and dropped frame by frame; beside the same reads
//!   one after the other into one buffer, and beside reads on tokio's threads for blocking work.
//! - *Followed*: the same for a spool that is read back while its blob isn't committed.
//! - *Filled*: a blob that comes in frames; beside writing the same frames to a file and hashing them.
//!
//! The figures are CPU time of all threads, as the kernel tells it; rounds are interleaved, and the ratios are medians of
//! those within a round. Nothing is asserted: the machine is shared.
//!
//! `cargo bench --bench disk --features disk` moves 512 MiB at a time; with `-- --test` it moves little, once. `TMPDIR`
//! says where.

#![expect(clippy::expect_used, reason = "what can't go on stops")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::spec::digest::{Algorithm, Digest, Hasher};
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};

/// As hyper reads when much comes.
const FRAME: usize = 200 * 1024;

const PIECE: usize = 256 * 1024;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (frames, rounds) = if test { (10, 1) } else { (2622, 7) };
    let root = tempfile::tempdir().expect("a directory");
    let store = DiskBlobs::open(root.path()).await.expect("a store");
    let (frame, digest) = content(frames);
    let size = (FRAME * frames) as u64;
    let raw = root.path().join("raw");

    let [mut warm, mut threads, mut followed, mut filled] = [const { Vec::new() }; 4];
    for round in 0..=rounds {
        let bare_fill = cpu(async || write_and_hash(&raw, &frame, frames, digest)).await;
        let fill = cpu(async || {
            let frames = std::iter::repeat_n(frame.clone(), frames).map(Ok::<_, Error>);
            let kept = store.put(digest, Some(size), Body::from_stream(stream::iter(frames))).await;
            assert_eq!(kept.expect("the blob is kept"), size);
        })
        .await;
        let bare_read = cpu(async || assert_eq!(read(&raw), size)).await;
        let by_threads = cpu(async || assert_eq!(read_on_threads(&raw).await, size)).await;
        let ours = cpu(async || assert_eq!(get(&store, digest).await, size)).await;
        store.remove(digest).await.expect("the blob is removed");
        let mut writer = store.create(Algorithm::Sha256, None).await.expect("a writer");
        for _ in 0..frames {
            writer.write(frame.clone()).await.expect("a frame is written");
        }
        let spool = writer.spool();
        let follow = cpu(async || {
            let mut offset = 0;
            while offset < size {
                offset += spool.read_back(offset, PIECE).await.expect("bytes").len() as u64;
            }
        })
        .await;
        writer.abort().await;
        if round == 0 && !test {
            // Pages have been touched, threads started.
            continue;
        }
        println!(
            "round {round}: pread {bare_read:.0?}, on threads {by_threads:.0?}, get {ours:.0?}, read back {follow:.0?}; \
             write + SHA-256 {bare_fill:.0?}, put {fill:.0?}"
        );
        let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64().max(1e-9);
        warm.push(ratio(ours, bare_read));
        threads.push(ratio(ours, by_threads));
        followed.push(ratio(follow, bare_read));
        filled.push(ratio(fill, bare_fill));
    }
    println!(
        "{} MiB: get {:.2} x pread, {:.2} x reads on threads; read back {:.2} x pread; put {:.2} x (write + SHA-256)",
        size >> 20,
        median(warm),
        median(threads),
        median(followed),
        median(filled)
    );
}

fn content(frames: usize) -> (Bytes, Digest) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let frame: Bytes = std::iter::repeat_with(next).take(FRAME).collect();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..frames).for_each(|_| hasher.update(&frame));
    (frame, hasher.finish())
}

fn write_and_hash(path: &Path, frame: &[u8], frames: usize, digest: Digest) {
    let _ = fs::remove_file(path);
    let file = File::create(path).expect("a file");
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for number in 0..frames {
        file.write_all_at(frame, (number * FRAME) as u64).expect("a frame is written");
        hasher.update(frame);
    }
    assert_eq!(hasher.finish(), digest);
}

fn read(path: &Path) -> u64 {
    let (file, mut buffer, mut offset) = (File::open(path).expect("a file"), vec![0; PIECE], 0);
    loop {
        match file.read_at(&mut buffer, offset).expect("bytes") {
            0 => return offset,
            read => offset += read as u64,
        }
    }
}

async fn read_on_threads(path: &Path) -> u64 {
    let (file, mut offset) = (Arc::new(File::open(path).expect("a file")), 0);
    loop {
        let file = Arc::clone(&file);
        let piece = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = file.read_at(&mut piece, offset).expect("bytes");
            piece.truncate(read);
            Bytes::from(piece)
        });
        match piece.await.expect("the thread ends").len() {
            0 => return offset,
            read => offset += read as u64,
        }
    }
}

async fn get(store: &DiskBlobs, digest: Digest) -> u64 {
    let mut body = store.get(digest, None).await.expect("the store works").expect("the blob is there").body;
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.expect("a frame").into_data().expect("data").len() as u64;
    }
    read
}

/// What `work` costs all threads of this process together.
async fn cpu(work: impl AsyncFnOnce()) -> Duration {
    let before = own_cpu();
    work().await;
    own_cpu().saturating_sub(before)
}

/// The CPU time of the threads that live: none ends while something is measured.
fn own_cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("Linux");
    let paths = threads.map(|thread| thread.expect("a thread").path().join("schedstat"));
    paths.filter_map(cpu_of).sum()
}

fn cpu_of(path: PathBuf) -> Option<Duration> {
    let text = fs::read_to_string(path).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
