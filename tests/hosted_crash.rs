//! Processes that push to a registry on disk, delete and collect are killed at any moment: what they said was done is
//! there, and whole.
#![cfg(feature = "redb")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails is meant to stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tower_oci::hosted::{Collect, Hosted};
use tower_oci::operation::{FinishUpload, StartUpload, UploadChunk, UploadId, UploadStarted, UploadStatus};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::name::Repository;
use tower_oci::store::blobs::DiskBlobs;

#[path = "hosted_disk/images.rs"]
mod images;

use images::{Image, send};

/// What tells a process of this test that it is one to be killed: the directory, and the number of its first image.
const DIRECTORY: &str = "TOWER_OCI_TEST_REGISTRY";
const FIRST: &str = "TOWER_OCI_TEST_FIRST";

const KILLS: usize = 200;

/// How many numbers each process has for itself.
const NUMBERS: usize = 1000;

/// The size of a chunk in bytes.
const CHUNK: usize = 5_000;

/// All that nobody needs at this moment, without any patience.
fn now() -> Collect {
    Collect::new().grace(Duration::ZERO).untagged(true)
}

fn uploads() -> Repository {
    "uploads".parse().unwrap()
}

/// The content of an upload.
fn content(number: usize) -> Bytes {
    (0..4 * CHUNK).map(|index| (index % 251 + number % 5) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_acknowledged_is_there() {
    #[expect(clippy::disallowed_methods, reason = "a test's own variables say which of its two parts it is")]
    if let (Some(directory), Ok(first)) = (std::env::var_os(DIRECTORY), std::env::var(FIRST)) {
        return work(&directory, first.parse().unwrap()).await;
    }
    let root = tempfile::tempdir().unwrap();
    let (start, mut random) = (Instant::now(), 1_u64);
    let (mut known, mut counts) = (Known::default(), BTreeMap::<String, usize>::new());
    for round in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut worker = Worker::start(root.path(), round * NUMBERS);
        let said = worker.kill_after(1 + (random >> 33) as usize % 20);
        for line in &said {
            *counts.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1;
            known.hear(line);
        }
        let hosted = Hosted::open(root.path()).await.unwrap();
        known.check(&hosted).await;
        if round % 10 == 9 {
            known.clear(&hosted, root.path()).await;
        }
    }
    println!("{KILLS} kills in {:?}: {counts:?}", start.elapsed());
    for what in ["pushed", "deleted", "collected", "finished"] {
        assert!(counts.get(what).is_some_and(|count| *count > 20), "{what}: {counts:?}");
    }
}

/// What the processes said that they have done.
#[derive(Default)]
struct Known {
    there: BTreeSet<usize>,
    /// Those about which the process was killed before it could say.
    maybe: BTreeSet<usize>,
    gone: BTreeSet<usize>,
    upload: Option<(usize, UploadId, u64)>,
}

impl Known {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = words.get(1).map(|number| number.parse().unwrap()).unwrap_or_default();
        match words[0] {
            "push" | "delete" => {
                self.there.remove(&number);
                self.maybe.insert(number);
            }
            "pushed" => {
                self.maybe.remove(&number);
                self.there.insert(number);
            }
            "deleted" => {
                self.maybe.remove(&number);
                self.gone.insert(number);
            }
            "upload" => self.upload = Some((number, words[2].parse().unwrap(), words[3].parse().unwrap())),
            "finish" => self.upload = None,
            "finished" | "collect" | "collected" => {}
            other => panic!("what is {other}?"),
        }
    }

    async fn check(&mut self, hosted: &Hosted) {
        for number in &self.there {
            assert!(Image::new(*number).pull(hosted).await, "{number} was acknowledged");
        }
        for number in std::mem::take(&mut self.maybe) {
            if Image::new(number).pull(hosted).await {
                self.there.insert(number);
            }
        }
        for number in &self.gone {
            assert!(!Image::new(*number).is_there(hosted).await, "{number} was deleted");
        }
        if let Some((number, id, received)) = self.upload.take() {
            let status = send(hosted, UploadStatus::new(uploads(), id.clone())).await.unwrap();
            assert!(status.received >= received, "{} of {received} bytes are there", status.received);
            let rest = content(number).slice(usize::try_from(status.received).unwrap()..);
            let digest = Digest::sha256(&content(number));
            send(hosted, FinishUpload::new(uploads(), id, digest, rest.into())).await.unwrap();
        }
    }

    /// Deletes all, and sees that nothing is left.
    async fn clear(&mut self, hosted: &Hosted, root: &Path) {
        for number in std::mem::take(&mut self.there) {
            Image::new(number).delete(hosted).await.unwrap();
        }
        self.gone.clear();
        let collect = now().dry_run(true);
        let would = hosted.collect(collect).await.unwrap();
        assert_eq!(hosted.collect(now()).await.unwrap(), would);
        let usage = hosted.usage().await.unwrap();
        assert_eq!((usage.blobs, usage.repositories), (0, 0));
        // One of which nothing has come has no file.
        assert!(std::fs::read_dir(root.join("uploads")).unwrap().count() <= usage.uploads);
        let report = DiskBlobs::open(root).await.unwrap().fsck().await.unwrap();
        assert_eq!((report.checked, report.strangers), (0, vec![]));
    }
}

/// Pushes images, deletes every other one, and uploads in chunks, until the end, while collections run. Says on
/// standard output what it is about to do, and when it is done.
async fn work(directory: &OsStr, first: usize) {
    let hosted = Hosted::open(directory).await.unwrap();
    let collector = async {
        loop {
            say("collect");
            hosted.collect(now()).await.unwrap();
            say("collected");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let client = async {
        for number in first..first + NUMBERS {
            let image = Image::new(number);
            say(&format!("push {number}"));
            image.push(&hosted).await;
            say(&format!("pushed {number}"));
            if number % 3 == 2 {
                upload(&hosted, number).await;
            }
            if number % 2 == 1 {
                say(&format!("delete {}", number - 1));
                Image::new(number - 1).delete(&hosted).await.unwrap();
                say(&format!("deleted {}", number - 1));
            }
        }
    };
    futures_util::future::select(Box::pin(collector), Box::pin(client)).await;
}

async fn upload(hosted: &Hosted, number: usize) {
    let UploadStarted::Open(state) = send(hosted, StartUpload::new(uploads())).await.unwrap() else {
        panic!("created")
    };
    let (id, content) = (state.upload, content(number));
    say(&format!("upload {number} {id} 0"));
    for start in (0..3 * CHUNK).step_by(CHUNK) {
        let chunk = UploadChunk::new(uploads(), id.clone(), content.slice(start..start + CHUNK).into());
        let received = send(hosted, chunk).await.unwrap().received;
        say(&format!("upload {number} {id} {received}"));
    }
    // In every other one the last chunk comes before the end.
    let mut rest = content.slice(3 * CHUNK..);
    if number % 2 == 1 {
        let chunk = UploadChunk::new(uploads(), id.clone(), rest.split_to(CHUNK).into());
        let received = send(hosted, chunk).await.unwrap().received;
        say(&format!("upload {number} {id} {received}"));
    }
    let finish = FinishUpload::new(uploads(), id, Digest::sha256(&content), rest.into());
    say(&format!("finish {number}"));
    send(hosted, finish).await.unwrap();
    say(&format!("finished {number}"));
}

fn say(what: &str) {
    println!("\nsay {what}");
}

/// A process that works on the registry. It is killed when it is dropped.
struct Worker(Child);

impl Worker {
    fn start(root: &Path, first: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "what_a_killed_process_acknowledged_is_there", "--nocapture"]);
        command.env(DIRECTORY, root).env(FIRST, first.to_string());
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Kills it when it has said so many things beside its collections. Answers all that it said by then.
    fn kill_after(&mut self, things: usize) -> Vec<String> {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let mut said = output.lines().filter_map(Self::said);
        let (mut heard, mut counted) = (Vec::new(), 0);
        while counted < things {
            let one = said.next().unwrap_or_else(|| panic!("the process ended: {heard:?}"));
            counted += usize::from(!one.starts_with("collect"));
            heard.push(one);
        }
        self.0.kill().unwrap();
        heard.extend(said);
        self.0.wait().unwrap();
        heard
    }

    fn said(line: std::io::Result<String>) -> Option<String> {
        line.unwrap().strip_prefix("say ").map(str::to_owned)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
