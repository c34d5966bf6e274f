//! Processes that fill and empty a blob store on disk are killed at any moment: what is left is right, and what was
//! being written is gone once the directory is opened again.
#![cfg(feature = "disk")]
#![expect(clippy::unwrap_used, reason = "a test that finds a fault is meant to stop")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use tower_oci::spec::digest::{Algorithm, Digest};
use tower_oci::store::blobs::{BlobStore as _, DiskBlobs};

/// What tells a process of this test that it is one to be killed: the directory to fill.
const DIRECTORY: &str = "TOWER_OCI_TEST_BLOBS";

const ROUNDS: usize = 12;

#[tokio::test]
async fn a_killed_process_leaves_nothing_wrong_behind() {
    #[expect(clippy::disallowed_methods, reason = "a test's own variable says which of its two parts it is")]
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return fill(&directory).await;
    }
    let root = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut fillers = [Filler::start(root.path()), Filler::start(root.path())];
        for (index, filler) in fillers.iter_mut().enumerate() {
            filler.wait_for(1 + (round + index) % 4);
        }
        let [one, other] = fillers;
        drop(one);
        assert!(partials(root.path()) >= 2, "round {round}: what the two have in the making");
        check(root.path()).await;
        assert!(partials(root.path()) >= 1, "round {round}: what the one that lives has in the making");
        drop(other);
        check(root.path()).await;
        assert_eq!(partials(root.path()), 0, "round {round}");
    }
}

/// Opens the store, and reads everything in it.
async fn check(root: &Path) {
    let store = DiskBlobs::open(root).await.unwrap();
    let report = store.fsck().await.unwrap();
    assert_eq!((report.damaged, report.strangers), (vec![], vec![]));
    for blob in store.list(None, usize::MAX).await.unwrap() {
        // A process that lives may have removed it meanwhile.
        let Some(found) = store.get(blob.digest, None).await.unwrap() else { continue };
        assert!(blob.digest.matches(&found.body.read(1 << 20).await.unwrap()), "{}", blob.digest);
    }
}

/// Puts blobs, and removes every other one, until the end, with one more in the making all the time. Says on standard
/// output when one has been put.
async fn fill(directory: &OsStr) {
    let store = DiskBlobs::open(directory).await.unwrap();
    let mut unfinished = store.create(Algorithm::Sha256, None).await.unwrap();
    unfinished.write(Bytes::from(vec![b'y'; 300_000])).await.unwrap();
    for number in 0_u64.. {
        let content = [vec![b'x'; 400_000], number.to_le_bytes().to_vec()].concat();
        let (content, digest) = (Bytes::from(content.clone()), Digest::sha256(&content));
        let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
        for start in (0..content.len()).step_by(50_000) {
            writer.write(content.slice(start..content.len().min(start + 50_000))).await.unwrap();
        }
        writer.commit(digest, content.len() as u64).await.unwrap();
        if number % 2 == 1 {
            store.remove(digest).await.unwrap();
        }
        println!("\nput {number}");
    }
}

/// How many files of partial blobs there are.
fn partials(root: &Path) -> usize {
    let places = fs::read_dir(root.join("partial")).unwrap().map(|place| place.unwrap().path());
    places.filter(|place| place.is_dir()).map(|place| fs::read_dir(place).map_or(0, Iterator::count)).sum()
}

/// A process that fills the store. It is killed when it is dropped.
struct Filler(Child);

impl Filler {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_killed_process_leaves_nothing_wrong_behind", "--nocapture"]);
        Self(command.env(DIRECTORY, root).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until so many blobs were put.
    fn wait_for(&mut self, puts: usize) {
        let output = BufReader::new(self.0.stdout.as_mut().unwrap());
        let put = output.lines().map(Result::unwrap).filter(|line| line.starts_with("put "));
        assert_eq!(put.take(puts).count(), puts, "the process ended");
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
