//! What engines print.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tower_oci::build::builds::{BuildId, DirectoryLogs, Logs, MemoryLogs};
use tower_oci::rt::{Clock, Tasks};

use super::bed::*;

fn id(number: u8) -> BuildId {
    format!("bd-{number:032x}").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_log_is_followed_from_the_start_to_the_end() {
    let engine = Engine::new();
    let builds = engine.builder().max_running(1).build().unwrap();
    submit(&builds, "first").await;
    let first = engine.run().await;
    let id = submit(&builds, "a").await.id;
    let mut followed = builds.log(&id, true).await.unwrap().unwrap();
    assert!(timeout(Duration::from_secs(60), followed.frame()).await.is_err(), "it waits");
    first.succeed("first");
    let run = engine.run().await;
    for line in ["one\n", "two\n", "three\n"] {
        run.log(line);
        let frame = followed.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), line);
    }
    assert_eq!(log(&builds, &id, false).await, "one\ntwo\nthree\n", "up to now");
    assert!(timeout(Duration::from_secs(60), followed.frame()).await.is_err());
    let late = start({
        let (builds, id) = (builds.clone(), id.clone());
        async move { log(&builds, &id, true).await }
    });
    run.log("four\n");
    run.succeed("image");
    assert_eq!(text(followed).await, "four\n");
    assert_eq!(late.await, "one\ntwo\nthree\nfour\n");
    assert_eq!(log(&builds, &id, true).await, "one\ntwo\nthree\nfour\n");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_nobody_up_and_gets_everything() {
    let engine = Engine::new();
    let builds = engine.builds();
    let id = submit(&builds, "a").await.id;
    let mut slow = builds.log(&id, true).await.unwrap().unwrap();
    let run = engine.run().await;
    let lines: Vec<String> = (0..20_000).map(|line| format!("line {line:06}\n")).collect();
    lines.iter().for_each(|line| run.log(line));
    run.succeed("image");
    builds.outcome(&id).await.unwrap();
    let (mut all, mut frames) = (Vec::new(), 0);
    while let Some(frame) = slow.frame().await {
        let bytes = frame.unwrap().into_data().unwrap();
        assert!(bytes.len() <= 64 * 1024, "a reader holds little");
        all.extend_from_slice(&bytes);
        frames += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(all, lines.concat().as_bytes());
    assert_eq!(frames, all.len().div_ceil(64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_log_is_cut_with_a_line_that_says_so() {
    let engine = Engine::new();
    let builds = engine.builder().max_log(10).build().unwrap();
    let id = submit(&builds, "a").await.id;
    let run = engine.run().await;
    for part in ["12345", "6789", "0abc", "def", ""] {
        run.log(part);
    }
    run.fail("no");
    builds.outcome(&id).await.unwrap_err();
    assert_eq!(
        log(&builds, &id, true).await,
        "1234567890\n[what follows is not kept: a log has 10 bytes at most]\n\n[the build failed: no]\n"
    );
}

async fn keeps_logs(logs: &dyn Logs) {
    let (one, two) = (id(1), id(2));
    assert_eq!(logs.read(&one, 0, 10).await.unwrap(), None);
    assert_eq!(logs.append(&one, "".into()).await.unwrap(), 0);
    assert_eq!(logs.read(&one, 0, 10).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(logs.append(&one, "abc".into()).await.unwrap(), 3);
    assert_eq!(logs.append(&two, "x".into()).await.unwrap(), 1);
    assert_eq!(logs.append(&one, "def".into()).await.unwrap(), 6);
    for (offset, max, read) in [(0, 10, "abcdef"), (0, 4, "abcd"), (4, 4, "ef"), (6, 1, ""), (7, 1, "")] {
        assert_eq!(logs.read(&one, offset, max).await.unwrap().as_deref(), Some(read.as_bytes()));
    }
    logs.sweep(SystemTime::now() - Duration::from_secs(3600)).await.unwrap();
    assert_eq!(logs.read(&two, 0, 10).await.unwrap().as_deref(), Some(&b"x"[..]));
    logs.sweep(SystemTime::now() + Duration::from_secs(3600)).await.unwrap();
    assert_eq!(logs.read(&one, 0, 10).await.unwrap(), None);
    assert_eq!(logs.read(&two, 0, 10).await.unwrap(), None);
}

#[tokio::test]
async fn every_kind_of_logs_keeps_them() {
    keeps_logs(&MemoryLogs::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let logs = DirectoryLogs::new(directory.path().join("a/b"));
    logs.sweep(SystemTime::now()).await.unwrap();
    keeps_logs(&logs).await;
}

#[tokio::test]
async fn logs_in_memory_make_room_for_newer_ones() {
    let logs = MemoryLogs::with_capacity(10);
    for number in [1, 2] {
        logs.append(&id(number), "1234".into()).await.unwrap();
    }
    logs.append(&id(1), "56".into()).await.unwrap();
    logs.append(&id(3), "1".into()).await.unwrap();
    assert_eq!(logs.read(&id(2), 0, 10).await.unwrap(), None, "nothing was added to it for longest");
    assert_eq!(logs.read(&id(1), 0, 10).await.unwrap().as_deref(), Some(&b"123456"[..]));
    let error = logs.append(&id(3), "1234567890".into()).await.unwrap_err();
    assert_eq!(error.message(), "the log of a build is larger than the 10 bytes for all logs");
    assert_eq!(logs.read(&id(3), 0, 10).await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[cfg(unix)]
#[tokio::test]
async fn logs_on_disk_are_their_owners_and_others_files_stay() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logs");
    let logs = DirectoryLogs::new(&path);
    logs.append(&id(1), "x".into()).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = path.join("bd-00000000000000000000000000000001.log");
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    std::fs::write(path.join("notes.log"), "mine").unwrap();
    logs.sweep(SystemTime::now() + Duration::from_secs(3600)).await.unwrap();
    assert!(!file.exists());
    assert!(path.join("notes.log").exists());
}

#[tokio::test]
async fn logs_on_disk_survive_a_restart_and_are_swept_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let records = records(&clock);
    let engine = Engine::new();
    let builder =
        || engine.builder().records(records.clone()).exclusive(true).log_directory(directory.path());
    let builds = builder().build().unwrap();
    let first = submit(&builds, "a").await.id;
    let run = engine.run().await;
    run.log("hello\n");
    run.succeed("image");
    assert_eq!(log(&builds, &first, true).await, "hello\n");
    assert!(builds.shutdown(Duration::from_secs(10)).await);

    let builds = builder().build().unwrap();
    assert_eq!(log(&builds, &first, true).await, "hello\n");
    let later = Clock::from_fn(|| SystemTime::now() + Duration::from_secs(8 * 24 * 60 * 60));
    let tasks = Tasks::new();
    let builder = engine.builder().clock(later).tasks(tasks.clone());
    let builds = builder.log_directory(directory.path()).build().unwrap();
    let file = directory.path().join(format!("{first}.log"));
    assert!(file.exists());
    let second = submit(&builds, "b").await.id;
    engine.run().await.succeed("image");
    builds.outcome(&second).await.unwrap();
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
    assert!(!file.exists());
}
