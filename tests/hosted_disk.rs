//! Many clients push, pull and delete overlapping images in a registry on disk, while collections run.
#![cfg(feature = "redb")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails is meant to stop"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tower_oci::hosted::{Collect, Hosted};
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};

#[path = "hosted_disk/images.rs"]
mod images;

use images::Image;

const WRITERS: usize = 32;
const READERS: usize = 32;
const IMAGES: usize = 3;

/// All that nobody needs at this moment, without any patience.
fn now() -> Collect {
    Collect::new().grace(Duration::ZERO).untagged(true)
}

/// Each writer pushes its images, and deletes every third again.
async fn write(hosted: Hosted, writer: usize, round: usize) {
    for index in 0..IMAGES {
        let image = Image::new((round * WRITERS + writer) * IMAGES + index);
        image.push(&hosted).await;
        assert!(image.pull(&hosted).await, "{} was acknowledged", image.tag);
        if index % 3 == 2 {
            image.delete(&hosted).await.unwrap();
            assert!(!image.is_there(&hosted).await);
        }
    }
}

async fn read(hosted: Hosted, reader: usize, newest: usize, done: Arc<AtomicBool>, pulled: Arc<AtomicUsize>) {
    let mut number = reader;
    while !done.load(Ordering::Relaxed) {
        number = (number * 31 + 7) % newest;
        if Image::new(number).pull(&hosted).await {
            pulled.fetch_add(1, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
}

async fn collect(hosted: Hosted, done: Arc<AtomicBool>) -> (usize, u64) {
    let (mut runs, mut removed) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        removed += hosted.collect(now()).await.unwrap().blobs;
        runs += 1;
    }
    (runs, removed)
}

#[expect(clippy::disallowed_methods, reason = "a test waits for what it starts")]
fn start<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_is_whole_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let mut live: Vec<Image> = Vec::new();
    for round in 0..3 {
        let (done, pulled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let newest = (round + 1) * WRITERS * IMAGES;
        let collector = start(collect(hosted.clone(), Arc::clone(&done)));
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (done, pulled) = (Arc::clone(&done), Arc::clone(&pulled));
                start(read(hosted.clone(), reader, newest, done, pulled))
            })
            .collect();
        let writers = (0..WRITERS).map(|writer| start(write(hosted.clone(), writer, round)));
        for writer in join_all(writers).await {
            writer.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in join_all(readers).await {
            reader.unwrap();
        }
        let (runs, removed) = collector.await.unwrap();
        let pulled = pulled.load(Ordering::Relaxed);
        println!("round {round}: {pulled} pulls, {runs} collections that removed {removed} blobs");
        assert!(pulled > 0 && runs > 0 && removed > 0);

        let numbers = (0..WRITERS * IMAGES).filter(|number| number % IMAGES % 3 != 2);
        live.extend(numbers.map(|number| Image::new(round * WRITERS * IMAGES + number)));
        for image in &live {
            assert!(image.pull(&hosted).await, "{}", image.tag);
        }
        hosted.collect(now()).await.unwrap();
        let needed: BTreeSet<Digest> =
            live.iter().flat_map(|image| &image.blobs).map(|blob| Digest::sha256(blob)).collect();
        assert_eq!(hosted.usage().await.unwrap().blobs, needed.len());
    }
    drop(hosted);

    // It is the same to the next process.
    let hosted = Hosted::open(directory.path()).await.unwrap();
    for image in &live {
        assert!(image.pull(&hosted).await, "{}", image.tag);
        image.delete(&hosted).await.unwrap();
    }
    hosted.collect(now()).await.unwrap();
    let usage = hosted.usage().await.unwrap();
    assert_eq!((usage.blobs, usage.bytes, usage.repositories, usage.uploads), (0, 0, 0, 0));
    drop(hosted);
    let blobs = DiskBlobs::open(directory.path()).await.unwrap();
    assert_eq!(blobs.usage().await.unwrap().blobs, 0);
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
}
