//! Processes that fill and empty a blob store on disk are killed at any moment: what is left is right, and what was
//! being written is gone once the directory is opened again.
#![cfg(feature = "disk")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that finds a fault is meant to stop")]

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

const ROUNDS: usize = 20;

#[tokio::test]
async fn a_killed_process_leaves_nothing_wrong_behind() {
    #[expect(clippy::disallowed_methods, reason = "a test's own variable says which of its two parts it is")]
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return fill(&directory).await;
    }
    let root = tempfile::tempdir().unwrap();
    let mut seen_partial = 0;
    for round in 0..ROUNDS {
        // One lives on while the other is killed, and its own writing isn't disturbed by who comes in.
        let mut victims = [Filler::start(root.path()), Filler::start(root.path())];
        for (index, victim) in victims.iter_mut().enumerate() {
            victim.wait_for(1 + (round + index) % 4);
            victim.kill();
            seen_partial += partials(root.path());
            let store = DiskBlobs::open(root.path()).await.unwrap();
            let report = store.fsck().await.unwrap();
            assert_eq!((report.damaged, report.strangers), (vec![], vec![]), "round {round}");
            for blob in store.list(None, usize::MAX).await.unwrap() {
                let body =
                    store.get(blob.digest, None).await.unwrap().unwrap_or_else(|| panic!("{blob:?}")).body;
                assert!(blob.digest.matches(&body.read(1 << 20).await.unwrap()), "round {round}");
            }
        }
        drop(DiskBlobs::open(root.path()).await.unwrap());
        assert_eq!(partials(root.path()), 0, "round {round}");
    }
    assert!(seen_partial > 0, "none of {ROUNDS} rounds hit a process while it wrote");
}

/// Puts blobs, and removes every other one, until the end. Says on standard output when one has been put.
async fn fill(directory: &OsStr) {
    let store = DiskBlobs::open(directory).await.unwrap();
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
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let put = output.lines().map(Result::unwrap).filter(|line| line.starts_with("put "));
        assert_eq!(put.take(puts).count(), puts, "the process ended");
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
