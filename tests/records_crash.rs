//! Processes that put records into a file and remove them are killed at any moment: what they said was done is there.
#![cfg(feature = "redb")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that finds a fault is meant to stop")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use tower_oci::store::{IndexRecords, Records as _, Usage};

/// What tells a process of this test that it is one to be killed: the file, and the number of its round.
const FILE: &str = "TOWER_OCI_TEST_RECORDS";
const ROUND: &str = "TOWER_OCI_TEST_ROUND";

const KILLS: usize = 50;

/// How many keys there are, each for one of those who write at the same time.
const KEYS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_acknowledged_is_there() {
    #[expect(clippy::disallowed_methods, reason = "a test's own variables say which of its two parts it is")]
    if let (Some(file), Ok(round)) = (std::env::var_os(FILE), std::env::var(ROUND)) {
        return work(&file, round.parse().unwrap()).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records");
    let (mut known, mut random, mut counts) = (Known::default(), 1_u64, BTreeMap::<String, usize>::new());
    for round in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut worker = Worker::start(&file, round);
        for line in worker.kill_after(1 + (random >> 33) as usize % 200) {
            let (what, _) = line.split_once(' ').unwrap();
            *counts.entry(what.to_owned()).or_default() += 1;
            known.hear(&line);
        }
        let records = IndexRecords::open(&file).await.unwrap();
        known.check(&records).await;
    }
    println!("{KILLS} kills: {counts:?}");
    for what in ["done", "removed"] {
        assert!(counts.get(what).is_some_and(|count| *count > 2 * KILLS), "{what}: {counts:?}");
    }
    let records = IndexRecords::open(&file).await.unwrap();
    for key in known.0.keys() {
        records.remove(key).await.unwrap();
    }
    assert_eq!(records.usage().await.unwrap(), Usage::default());
}

/// The values that may be under each key: one that was acknowledged, and what was under way.
#[derive(Default)]
struct Known(BTreeMap<String, Vec<Option<String>>>);

impl Known {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let (what, key) = (word(), word());
        let known = self.0.entry(key).or_insert_with(|| vec![None]);
        match what.as_str() {
            "put" => known.push(Some(word())),
            "done" => *known = vec![Some(word())],
            "remove" => known.push(None),
            "removed" => *known = vec![None],
            other => panic!("what is {other}?"),
        }
    }

    async fn check(&mut self, records: &IndexRecords) {
        let mut usage = Usage::default();
        for (key, known) in &mut self.0 {
            let found = records.get(key).await.unwrap();
            let is = known.iter().find(|value| value.as_deref().map(content) == found).cloned();
            let length = found.as_ref().map(Bytes::len);
            *known =
                vec![is.unwrap_or_else(|| panic!("{key} is {length:?} bytes of something else: {known:?}"))];
            if let Some(value) = found {
                usage.records += 1;
                usage.bytes += (key.len() + value.len()) as u64;
            }
        }
        assert_eq!(records.usage().await.unwrap(), usage);
    }
}

/// Every eighth value lies in parts.
fn content(value: &str) -> Bytes {
    let times = if value.ends_with("7") { 400_000 } else { 10 };
    value.repeat(times).into()
}

/// Puts and removes until the end. Says on standard output what it is about to do, and what it has done.
async fn work(file: &OsStr, round: usize) {
    let records = IndexRecords::open(file).await.unwrap();
    join_all((0..KEYS).map(|key| write(&records, format!("key/{key}"), round))).await;
}

async fn write(records: &IndexRecords, key: String, round: usize) {
    for number in 0.. {
        let value = format!("{round}-{number}");
        say(&format!("put {key} {value}"));
        let expires = SystemTime::now() + Duration::from_secs(3600);
        records.put(&key, content(&value), expires).await.unwrap();
        say(&format!("done {key} {value}"));
        if number % 3 == 2 {
            say(&format!("remove {key}"));
            assert!(records.remove(&key).await.unwrap());
            say(&format!("removed {key}"));
        }
    }
}

fn say(what: &str) {
    println!("\nsay {what}");
}

/// A process that writes. It is killed when it is dropped.
struct Worker(Child);

impl Worker {
    fn start(file: &Path, round: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "what_a_killed_process_acknowledged_is_there", "--nocapture"]);
        command.env(FILE, file).env(ROUND, round.to_string());
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Kills it when it has said so many things. Answers all that it said by then.
    fn kill_after(&mut self, things: usize) -> Vec<String> {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let mut said = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| Some(line.strip_prefix("say ")?.to_owned()));
        let mut heard: Vec<String> = said.by_ref().take(things).collect();
        assert_eq!(heard.len(), things, "the process ended: {heard:?}");
        self.0.kill().unwrap();
        heard.extend(said);
        self.0.wait().unwrap();
        heard
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
