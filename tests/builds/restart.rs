//! What is known after a restart, and by several processes with the same records.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower_oci::build::RegistryAccess;
use tower_oci::build::builds::{BuildStatus, Builds, Logs, MemoryLogs};
use tower_oci::error::ErrorKind;
use tower_oci::operation::Credential;
use tower_oci::rt::{Clock, Tasks};
use tower_oci::spec::platform::Platform;
use tower_oci::store::{MemoryRecords, Records};

use super::bed::*;

/// What outlives a process.
struct Site {
    engine: Arc<Engine>,
    records: Arc<MemoryRecords>,
    logs: Arc<dyn Logs>,
    clock: Clock,
}

/// A process, and how to kill it.
struct Process {
    builds: Builds,
    tasks: Tasks,
}

impl Site {
    fn new() -> Self {
        let clock = paused_clock();
        let logs = Arc::new(MemoryLogs::default().clock(clock.clone()));
        Self { engine: Engine::new(), records: records(&clock), logs, clock }
    }

    fn process(&self, exclusive: bool) -> Process {
        let tasks = Tasks::new();
        let builder = self.engine.builder().records(self.records.clone()).logs(Arc::clone(&self.logs));
        let builder = builder.clock(self.clock.clone()).exclusive(exclusive).tasks(tasks.clone());
        Process { builds: builder.build().unwrap(), tasks }
    }
}

impl Process {
    async fn kill(self) {
        self.tasks.abort();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_told_as_it_was() {
    let site = Site::new();
    let process = site.process(true);
    let good = submit(&process.builds, "good").await.id;
    let run = site.engine.run().await;
    run.log("hello\n");
    tokio::time::sleep(Duration::from_secs(3)).await;
    run.succeed("image");
    let bad = submit(&process.builds, "bad").await.id;
    site.engine.run().await.fail("no space");
    process.builds.outcome(&bad).await.unwrap_err();
    let before = [process.builds.state(&good).await.unwrap(), process.builds.state(&bad).await.unwrap()];
    assert_eq!(before[0].as_ref().unwrap().duration(), Some(Duration::from_secs(3)));
    process.kill().await;

    let builds = site.process(true).builds;
    assert_eq!([builds.state(&good).await.unwrap(), builds.state(&bad).await.unwrap()], before);
    assert_eq!(builds.outcome(&good).await.unwrap().digest, digest("image"));
    let error = builds.outcome(&bad).await.unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:bad failed: no space");
    assert_eq!(log(&builds, &good, true).await, "hello\n");
    assert_eq!(builds.context(&good).await.unwrap().unwrap(), request("good").context);
    assert_eq!(site.engine.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_interrupted_begins_again_under_its_id_when_asked_for() {
    for ask in ["state", "outcome", "log", "submit"] {
        let site = Site::new();
        let process = site.process(true);
        let mut request = request("a");
        request.platforms = vec![Platform::LINUX_AMD64, Platform::LINUX_ARM64];
        request.cache = Some("registry.example/cache".parse().unwrap());
        request.insecure = vec!["registry.example".parse().unwrap()];
        let id = process.builds.submit(request.clone(), absent).await.unwrap().id;
        let run = site.engine.run().await;
        run.log("first\n");
        settle().await;
        process.kill().await;
        assert!(run.is_dropped());

        let builds = site.process(true).builds;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(site.engine.begun(), 1, "nobody has asked for it");
        let waits = start({
            let (builds, id, request) = (builds.clone(), id.clone(), request.clone());
            async move {
                match ask {
                    "state" => drop(builds.state(&id).await.unwrap()),
                    "log" => drop(builds.log(&id, true).await.unwrap()),
                    "submit" => assert_eq!(builds.submit(request, absent).await.unwrap().id, id),
                    _ => {}
                }
                builds.outcome(&id).await.unwrap()
            }
        });
        let run = site.engine.run().await;
        assert_eq!(run.request.context, request.context);
        assert_eq!(run.request.target, request.target);
        assert_eq!(run.request.platforms, request.platforms);
        assert_eq!(run.request.cache, request.cache);
        assert_eq!(run.request.insecure, request.insecure);
        run.log("second\n");
        run.succeed("image");
        assert_eq!(waits.await.digest, digest("image"));
        assert_eq!(
            log(&builds, &id, true).await,
            "first\n\n[the service stopped; the build begins again]\nsecond\n"
        );
        assert_eq!(site.engine.begun(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pushed_before_the_end_is_not_built_again() {
    let site = Site::new();
    let process = site.process(true);
    let id = submit(&process.builds, "a").await.id;
    let _run = site.engine.run().await;
    process.kill().await;
    let builds = site.process(true).builds;
    let submitted = builds.submit(request("a"), || async { Ok(Some(digest("image"))) }).await.unwrap();
    assert_eq!((&submitted.id, submitted.cached), (&id, true));
    assert_eq!(status(&builds, &id).await, BuildStatus::Succeeded { digest: digest("image") });
    assert_eq!(site.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_needed_the_callers_credentials_stays_interrupted_until_it_is_submitted_again() {
    let site = Site::new();
    let process = site.process(true);
    let mut request = request("a");
    let credential = Credential::basic("user", "password");
    request.access.push(RegistryAccess::new("registry.example".parse().unwrap(), None, credential));
    let id = process.builds.submit(request.clone(), absent).await.unwrap().id;
    let _run = site.engine.run().await;
    process.kill().await;

    let builds = site.process(true).builds;
    let reason =
        "the service stopped, and the credentials that it was asked for with aren't kept; submit it again";
    assert_eq!(status(&builds, &id).await, BuildStatus::Interrupted { reason: reason.into() });
    let error = builds.outcome(&id).await.unwrap_err();
    assert_eq!(error.message(), format!("the build of registry.example/builds:a was interrupted: {reason}"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(site.engine.begun(), 1);

    let again = builds.submit(request, absent).await.unwrap();
    let run = site.engine.run().await;
    assert_eq!(run.request.access.len(), 1);
    run.succeed("image");
    assert_eq!(builds.outcome(&again.id).await.unwrap().digest, digest("image"));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_brings_the_process_down_does_not_do_so_for_ever() {
    let site = Site::new();
    let mut process = site.process(true);
    let id = submit(&process.builds, "a").await.id;
    for _ in 0..3 {
        let _run = site.engine.run().await;
        process.kill().await;
        process = site.process(true);
        process.builds.state(&id).await.unwrap();
    }
    let reason = "the service stopped each time that it was built; submit it again";
    assert_eq!(status(&process.builds, &id).await, BuildStatus::Interrupted { reason: reason.into() });
    assert_eq!(site.engine.begun(), 3);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_runs_and_leaves_what_waits() {
    let site = Site::new();
    let tasks = Tasks::new();
    let builder = site.engine.builder().records(site.records.clone()).clock(site.clock.clone());
    let builds = builder.max_running(1).exclusive(true).tasks(tasks).build().unwrap();
    let (running, waiting) = (submit(&builds, "a").await.id, submit(&builds, "b").await.id);
    let run = site.engine.run().await;
    let shutdown = start({
        let builds = builds.clone();
        async move { builds.shutdown(Duration::from_secs(20)).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    let error = builds.submit(request("c"), absent).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Unavailable, 503));
    run.succeed("image");
    assert!(shutdown.await);
    assert_eq!(builds.outcome(&running).await.unwrap().digest, digest("image"));
    assert!(matches!(status(&builds, &waiting).await, BuildStatus::Interrupted { .. }));
    assert_eq!(builds.outcome(&waiting).await.unwrap_err().kind(), ErrorKind::Unavailable);

    let builds = site.process(false).builds;
    let start = Instant::now();
    assert_eq!(status(&builds, &waiting).await, BuildStatus::Running);
    assert_eq!(start.elapsed(), Duration::from_millis(250), "what is nobody's isn't waited for");
    site.engine.run().await.succeed("b");
    assert_eq!(builds.outcome(&waiting).await.unwrap().digest, digest("b"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_what_does_not_end() {
    let site = Site::new();
    let process = site.process(false);
    let id = submit(&process.builds, "a").await.id;
    let run = site.engine.run().await;
    let waits = start({
        let (builds, id) = (process.builds.clone(), id.clone());
        async move { builds.outcome(&id).await.unwrap_err().kind() }
    });
    settle().await;
    let start = Instant::now();
    assert!(!process.builds.shutdown(Duration::from_secs(20)).await);
    assert_eq!(start.elapsed(), Duration::from_secs(20));
    assert_eq!(waits.await, ErrorKind::Unavailable);
    run.dropped().await;

    let builds = site.process(false).builds;
    assert_eq!(submit(&builds, "a").await.id, id);
    site.engine.run().await.succeed("image");
    assert_eq!(builds.outcome(&id).await.unwrap().digest, digest("image"));
}

#[tokio::test(start_paused = true)]
async fn processes_with_the_same_records_share_a_build() {
    let site = Site::new();
    let (one, two) = (site.process(false), site.process(false));
    let first = start({
        let builds = one.builds.clone();
        async move { submit(&builds, "a").await }
    });
    let second = start({
        let builds = two.builds.clone();
        async move { submit(&builds, "a").await }
    });
    let (first, second) = (first.await, second.await);
    assert_eq!(first.id, second.id, "even at the same moment");
    let run = site.engine.run().await;
    run.log("hello\n");
    // Longer than a lease.
    tokio::time::sleep(Duration::from_secs(100)).await;
    for process in [&one, &two] {
        assert_eq!(submit(&process.builds, "a").await.id, first.id);
        assert_eq!(status(&process.builds, &first.id).await, BuildStatus::Running);
    }
    let follows: Vec<_> = [&one, &two]
        .map(|process| {
            let (builds, id) = (process.builds.clone(), first.id.clone());
            start(async move { (log(&builds, &id, true).await, builds.outcome(&id).await.unwrap()) })
        })
        .into();
    settle().await;
    run.succeed("image");
    for follow in follows {
        let (log, built) = timeout(Duration::from_secs(3), follow).await.unwrap();
        assert_eq!((log.as_str(), built.digest), ("hello\n", digest("image")));
    }
    assert_eq!(site.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_falls_silent_loses_its_build_after_thirty_seconds() {
    let site = Site::new();
    let (one, two) = (site.process(false), site.process(false));
    let id = submit(&one.builds, "a").await.id;
    let run = site.engine.run().await;
    let waits = start({
        let (builds, id) = (two.builds.clone(), id.clone());
        async move { builds.outcome(&id).await.unwrap() }
    });
    one.kill().await;
    assert!(run.is_dropped());
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert_eq!(site.engine.begun(), 1);
    let run = timeout(Duration::from_secs(5), site.engine.run()).await.unwrap();
    run.succeed("image");
    assert_eq!(waits.await.digest, digest("image"));
}

#[tokio::test(start_paused = true)]
async fn a_process_cancels_what_another_builds() {
    let site = Site::new();
    let (one, two) = (site.process(false), site.process(false));
    let id = submit(&one.builds, "a").await.id;
    let run = site.engine.run().await;
    assert!(two.builds.cancel(&id).await.unwrap());
    let error = timeout(Duration::from_secs(12), two.builds.outcome(&id)).await.unwrap().unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:a failed: it was cancelled");
    run.dropped().await;

    let id = submit(&one.builds, "b").await.id;
    let _run = site.engine.run().await;
    one.kill().await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(two.builds.cancel(&id).await.unwrap());
    assert_eq!(status(&two.builds, &id).await, BuildStatus::Failed { reason: "it was cancelled".into() });
    assert_eq!(site.engine.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_request_is_lost_says_so() {
    let site = Site::new();
    let process = site.process(true);
    let id = submit(&process.builds, "a").await.id;
    let _run = site.engine.run().await;
    process.kill().await;
    let key = format!("build/request/{}", digest(id.as_str()).hex());
    assert!(site.records.remove(&key).await.unwrap());
    let builds = site.process(true).builds;
    let reason = "the service stopped, and the request isn't kept any more; submit it again";
    assert_eq!(status(&builds, &id).await, BuildStatus::Interrupted { reason: reason.into() });
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_read_stand_in_nobodys_way() {
    let site = Site::new();
    let builds = site.process(true).builds;
    let id = submit(&builds, "a").await.id;
    site.engine.run().await.fail("no");
    builds.outcome(&id).await.unwrap_err();
    let key = format!("build/state/{}", digest(id.as_str()).hex());
    let expires = site.clock.now() + Duration::from_secs(1000);
    for (value, message) in
        [("{", "the record of a build is damaged"), (r#"{"version":1}"#, "the record of a build is damaged")]
    {
        site.records.put(&key, value.into(), expires).await.unwrap();
        assert_eq!(builds.state(&id).await.unwrap_err().message(), message);
        let other = submit(&builds, "a").await.id;
        assert_ne!(other, id);
        site.engine.run().await.fail("no");
        builds.outcome(&other).await.unwrap_err();
        let pointer = format!("build/target/{}", digest("registry.example/builds:a").hex());
        site.records.put(&pointer, id.as_str().to_owned().into(), expires).await.unwrap();
    }
}
