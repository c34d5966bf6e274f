//! One build for one target; turns, limits and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tower_oci::build::builds::{BuildStatus, Builds};
use tower_oci::build::{Build, BuildRequest};
use tower_oci::error::{Error, ErrorCode, ErrorKind, RetryAfter};

use super::bed::*;

#[tokio::test(start_paused = true)]
async fn sixteen_who_ask_at_once_share_a_build() {
    let engine = Engine::new();
    let builds = engine.builds();
    let asked = Arc::new(AtomicUsize::new(0));
    let submissions = (0..16).map(|_| {
        let (builds, asked) = (builds.clone(), Arc::clone(&asked));
        start(async move {
            let exists = move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(None)
            };
            let submitted = builds.submit(request("a"), exists).await.unwrap();
            (submitted.clone(), builds.outcome(&submitted.id).await.unwrap())
        })
    });
    let submissions: Vec<_> = submissions.collect();
    let run = engine.run().await;
    run.succeed("image");
    let outcomes = join_all(submissions).await;
    for (submitted, built) in &outcomes {
        assert_eq!(submitted, &outcomes[0].0);
        assert!(!submitted.cached);
        assert_eq!(built.digest, digest("image"));
    }
    assert_eq!(engine.begun(), 1);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(status(&builds, &outcomes[0].0.id).await, BuildStatus::Succeeded { digest: digest("image") });
}

#[tokio::test(start_paused = true)]
async fn all_are_told_why_it_failed_and_the_next_one_begins_anew() {
    let engine = Engine::new();
    let builds = engine.builds();
    let submissions: Vec<_> = (0..16)
        .map(|_| {
            let builds = builds.clone();
            start(async move {
                let id = submit(&builds, "a").await.id;
                (builds.outcome(&id).await.unwrap_err(), id)
            })
        })
        .collect();
    engine.run().await.fail("`RUN false` answered 1");
    let failures = join_all(submissions).await;
    for (error, id) in &failures {
        assert_eq!(error.message(), "the build of registry.example/builds:a failed: `RUN false` answered 1");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!((error.status().as_u16(), error.code()), (404, ErrorCode::ManifestUnknown));
        assert_eq!(id, &failures[0].1);
    }
    assert_eq!(engine.begun(), 1);
    let first = failures[0].1.clone();
    assert_eq!(log(&builds, &first, true).await, "\n[the build failed: `RUN false` answered 1]\n");

    let second = submit(&builds, "a").await;
    assert_ne!(second.id, first);
    engine.run().await.succeed("image");
    assert_eq!(builds.outcome(&second.id).await.unwrap().digest, digest("image"));
    assert_eq!(
        status(&builds, &first).await,
        BuildStatus::Failed { reason: "`RUN false` answered 1".into() }
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_not_built() {
    let engine = Engine::new();
    let builds = engine.builds();
    let there = || async { Ok(Some(digest("image"))) };
    let first = builds.submit(request("a"), there).await.unwrap();
    assert!(first.cached);
    assert_eq!(first.digest, Some(digest("image")));
    assert_eq!(builds.outcome(&first.id).await.unwrap().digest, digest("image"));
    let state = builds.state(&first.id).await.unwrap().unwrap();
    assert!(state.cached && state.is_ended());
    assert_eq!(state.duration(), None);
    assert_eq!(state.context, request("a").context.digest());
    assert_eq!(builds.submit(request("a"), there).await.unwrap(), first, "its record tells it already");
    assert_eq!(engine.begun(), 0);

    let error = builds.submit(request("b"), || async { Err(Error::unavailable("no registry")) }).await;
    assert_eq!(error.unwrap_err().message(), "no registry");
    let error = builds.submit(request("b"), || async { panic!("a defect") }).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);
    submit(&builds, "b").await;
    engine.run().await.succeed("b");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_made_what_is_there_is_the_one_that_is_told_of() {
    let (engine, hands) = (Engine::new(), Hands::new());
    let builds = engine.builder().clock(hands.clock()).build().unwrap();
    let id = submit(&builds, "a").await.id;
    engine.run().await.succeed("image");
    builds.outcome(&id).await.unwrap();
    let there = || async { Ok(Some(digest("image"))) };
    let again = builds.submit(request("a"), there).await.unwrap();
    assert_eq!((again.id, again.cached), (id.clone(), true));
    // Something else is there, or it is soon forgotten.
    let other = builds.submit(request("a"), || async { Ok(Some(digest("other"))) }).await.unwrap();
    assert_ne!(other.id, id);
    hands.advance(Duration::from_secs(4 * 24 * 60 * 60));
    let later = builds.submit(request("a"), || async { Ok(Some(digest("other"))) }).await.unwrap();
    assert_ne!(later.id, other.id);
    hands.advance(Duration::from_secs(4 * 24 * 60 * 60));
    assert_eq!(builds.state(&other.id).await.unwrap(), None, "it is forgotten after seven days");
    assert!(builds.log(&id, false).await.unwrap().is_none());
    assert_eq!(builds.context(&later.id).await.unwrap().unwrap(), request("a").context);
}

#[tokio::test(start_paused = true)]
async fn a_build_goes_on_without_who_asked_for_it() {
    let engine = Engine::new();
    let builds = engine.builds();
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(None)
    };
    assert!(timeout(Duration::from_secs(1), builds.submit(request("a"), slow)).await.is_err());
    let run = engine.run().await;
    let id = submit(&builds, "a").await.id;
    assert!(timeout(Duration::from_secs(60), builds.outcome(&id)).await.is_err());
    run.succeed("image");
    assert_eq!(builds.outcome(&id).await.unwrap().digest, digest("image"));
}

#[tokio::test(start_paused = true)]
async fn builds_begin_in_the_order_of_asking_and_only_so_many() {
    let engine = Engine::new();
    let builds = engine.builder().max_running(2).max_waiting(3).build().unwrap();
    let mut ids = Vec::new();
    for tag in ["a", "b", "c", "d", "e"] {
        ids.push(submit(&builds, tag).await.id);
    }
    settle().await;
    assert_eq!(engine.begun(), 2);
    assert_eq!(status(&builds, &ids[1]).await, BuildStatus::Running);
    assert_eq!(status(&builds, &ids[2]).await, BuildStatus::Waiting);

    let error = builds.submit(request("f"), absent).await.unwrap_err();
    assert_eq!(error.message(), "2 builds run and 3 wait, which is as many as may; try again later");
    assert_eq!(error.status(), 429);
    assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(30))));
    assert_eq!(submit(&builds, "e").await.id, ids[4], "who asks for what waits is let in");
    let there = builds.submit(request("f"), || async { Ok(Some(digest("f"))) }).await.unwrap();
    assert!(there.cached, "what is there takes no place");

    let (a, b) = (engine.run().await, engine.run().await);
    assert_eq!(a.request.target, request("a").target);
    b.succeed("b");
    let c = engine.run().await;
    assert_eq!(c.request.target, request("c").target);
    settle().await;
    assert_eq!(engine.begun(), 3);
    a.succeed("a");
    let d = engine.run().await;
    assert_eq!(d.request.target, request("d").target);
    c.succeed("c");
    d.succeed("d");
    engine.run().await.succeed("e");
    for (id, text) in ids.iter().zip(["a", "b", "c", "d", "e"]) {
        assert_eq!(builds.outcome(id).await.unwrap().digest, digest(text));
    }
    submit(&builds, "f").await;
    engine.run().await.succeed("f");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_takes_too_long_is_ended() {
    let engine = Engine::new();
    let builds = engine.builds();
    let start = Instant::now();
    let id = submit(&builds, "a").await.id;
    let run = engine.run().await;
    run.log("working\n");
    let error = builds.outcome(&id).await.unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:a failed: it took longer than 900s");
    assert_eq!(start.elapsed(), Duration::from_secs(900));
    run.dropped().await;
    assert_eq!(log(&builds, &id, false).await, "working\n\n[the build failed: it took longer than 900s]\n");
}

#[tokio::test(start_paused = true)]
async fn a_build_can_be_cancelled_while_it_runs_and_while_it_waits() {
    let engine = Engine::new();
    let builds = engine.builder().max_running(1).build().unwrap();
    let (running, waiting) = (submit(&builds, "a").await.id, submit(&builds, "b").await.id);
    let run = engine.run().await;
    let waits = start({
        let (builds, running) = (builds.clone(), running.clone());
        async move { builds.outcome(&running).await }
    });
    settle().await;
    for id in [&waiting, &running] {
        assert!(builds.cancel(id).await.unwrap());
        assert_eq!(status(&builds, id).await, BuildStatus::Failed { reason: "it was cancelled".into() });
        assert!(!builds.cancel(id).await.unwrap(), "it has ended");
    }
    assert!(run.is_dropped());
    let error = waits.await.unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:a failed: it was cancelled");
    settle().await;
    assert_eq!(engine.begun(), 1);
    let unknown = "bd-00000000000000000000000000000000".parse().unwrap();
    assert!(!builds.cancel(&unknown).await.unwrap());
    assert_eq!(builds.outcome(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(builds.state(&unknown).await.unwrap(), None);
    assert!(builds.log(&unknown, true).await.unwrap().is_none());
    assert!(builds.context(&unknown).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_misbehaves_fails_the_build() {
    let engine = Engine::new();
    let builds = engine.builds();
    let id = submit(&builds, "a").await.id;
    engine.run().await.stop();
    let reason =
        "the build of registry.example/builds:a failed: the engine stopped without saying what came of it";
    assert_eq!(builds.outcome(&id).await.unwrap_err().message(), reason);

    let panics = |at_once: bool| {
        Builds::builder(tower::service_fn(move |_: BuildRequest| async move {
            assert!(!at_once, "at once");
            Ok::<_, Error>(Build::new(futures_util::stream::poll_fn(|_| panic!("later"))))
        }))
    };
    for builder in [panics(true), panics(false)] {
        let builds = builder.max_running(1).build().unwrap();
        for tag in ["a", "b"] {
            let id = submit(&builds, tag).await.id;
            let error = builds.outcome(&id).await.unwrap_err();
            let message = format!("the build of registry.example/builds:{tag} failed: the engine panicked");
            assert_eq!(error.message(), message);
        }
    }

    let refuses =
        tower::service_fn(|_: BuildRequest| async { Err::<Build, _>(Error::unavailable("no engine")) });
    let builds = Builds::builder(refuses).build().unwrap();
    let id = submit(&builds, "a").await.id;
    let error = builds.outcome(&id).await.unwrap_err();
    assert_eq!(error.message(), "the build of registry.example/builds:a failed: no engine");
}

#[tokio::test(start_paused = true)]
async fn a_target_has_a_tag_and_no_digest() {
    let builds = Engine::new().builds();
    for target in [
        "registry.example/builds".to_owned(),
        format!("registry.example/builds@{}", digest("a")),
        format!("registry.example/builds:a@{}", digest("a")),
    ] {
        let mut request = request("a");
        request.target = target.parse().unwrap();
        let error = builds.submit(request, absent).await.unwrap_err();
        assert_eq!(error.message(), format!("`{target}` can't be built: a target has a tag, and no digest"));
        assert_eq!(error.status(), 400);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reason_of_any_length_is_kept_in_part() {
    let engine = Engine::new();
    let builds = engine.builds();
    let id = submit(&builds, "a").await.id;
    engine.run().await.fail(&"é".repeat(5000));
    let reason = format!("{}..", "é".repeat(2048));
    builds.outcome(&id).await.unwrap_err();
    assert_eq!(status(&builds, &id).await, BuildStatus::Failed { reason });
}
