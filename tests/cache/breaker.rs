//! An upstream that is out of order is left alone.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::{advance, timeout};
use tower::{Layer as _, Service as _};
use tower_oci::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use tower_oci::layer::breaker::{Breaker, BreakerLayer};
use tower_oci::operation::{BoxRegistry, GetManifest, Registry as _, Request};
use tower_oci::rt::Clock;

use crate::registry::*;

const NOTHING: [&str; 0] = [];

type Broken = Breaker<BoxRegistry>;

fn breaker() -> BreakerLayer {
    BreakerLayer::new().jitter(0.0)
}

/// What a request came to: nothing, or the error with the seconds to wait.
async fn send(
    registry: &Broken,
    request: Request<GetManifest>,
) -> Result<(), (ErrorKind, String, Option<u64>)> {
    let error = match registry.send(request).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let retry_after = error.retry_after().map(|after| after.delay_from(SystemTime::now()).as_secs());
    Err((error.kind(), error.to_string(), retry_after))
}

/// What a circuit that is open says.
fn alone(seconds: u64, words: &str) -> Result<(), (ErrorKind, String, Option<u64>)> {
    let message = format!("the upstream is left alone for {seconds} s, since it failed: {words}");
    Err((ErrorKind::Unavailable, message, Some(seconds)))
}

fn down(upstream: &Upstream) {
    upstream.refuse(|_| Some(Error::unavailable("down")));
}

fn failed() -> Result<(), (ErrorKind, String, Option<u64>)> {
    Err((ErrorKind::Unavailable, "down".to_owned(), None))
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_open_the_circuit_and_one_probe_closes_it() {
    let upstream = Upstream::new();
    let registry = breaker().layer(upstream.registry());
    down(&upstream);
    for _ in 0..5 {
        assert_eq!(send(&registry, get("v1")).await, failed());
    }
    assert_eq!(upstream.seen().len(), 5);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        for _ in 0..3 {
            assert_eq!(send(&registry, get("v1")).await, alone(wait, "down"));
        }
        assert_eq!(upstream.seen(), NOTHING);
        advance(seconds(wait)).await;
        // One request at a time is let through.
        let all = join_all((0..8).map(|_| send(&registry, get("v1")))).await;
        assert_eq!(all[0], failed());
        assert_eq!(all[1..], vec![alone(1, "down"); 7]);
        assert_eq!(upstream.seen().len(), 1);
    }
    upstream.heal();
    advance(seconds(60)).await;
    assert_eq!(send(&registry, get("v1")).await, Ok(()));
    assert_eq!(join_all((0..8).map(|_| send(&registry, get("v1")))).await, vec![Ok(()); 8]);
    // It begins anew.
    down(&upstream);
    upstream.seen();
    for _ in 0..5 {
        assert_eq!(send(&registry, get("v1")).await, failed());
    }
    assert_eq!(send(&registry, get("v1")).await, alone(1, "down"));
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_no_is_alive() {
    for alive in [
        || Error::manifest_unknown("no such manifest"),
        || Error::denied("no"),
        || Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, "who?"),
        || Error::invalid(ErrorCode::NameInvalid, "what?"),
        || Error::unsupported("never"),
    ] {
        let upstream = Upstream::new();
        let registry = breaker().layer(upstream.registry());
        for _ in 0..3 {
            down(&upstream);
            for _ in 0..4 {
                assert_eq!(send(&registry, get("v1")).await, failed());
            }
            upstream.refuse(move |_| Some(alive()));
            assert_eq!(send(&registry, get("v1")).await.unwrap_err().0, alive().kind());
        }
        assert_eq!(upstream.seen().len(), 15);
        // As the answer to a probe as well.
        down(&upstream);
        for _ in 0..5 {
            send(&registry, get("v1")).await.unwrap_err();
        }
        assert_eq!(send(&registry, get("v1")).await, alone(1, "down"));
        advance(seconds(1)).await;
        upstream.refuse(move |_| Some(alive()));
        assert_eq!(send(&registry, get("v1")).await.unwrap_err().0, alive().kind());
        upstream.heal();
        assert_eq!(send(&registry, get("v1")).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_counts() {
    for kind in
        [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::BadGateway, ErrorKind::TooManyRequests]
    {
        let upstream = Upstream::new();
        let registry = breaker().layer(upstream.registry());
        upstream.refuse(move |_| Some(Error::new(kind, ErrorCode::Unsupported, "down")));
        for _ in 0..5 {
            assert_eq!(send(&registry, get("v1")).await.unwrap_err().0, kind);
        }
        assert_eq!(send(&registry, get("v1")).await, alone(1, "down"), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_the_upstream_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + seconds(1_000_000);
    for (kind, after, held) in [
        (ErrorKind::Unavailable, RetryAfter::Delay(seconds(30)), 30),
        (ErrorKind::TooManyRequests, RetryAfter::Delay(seconds(30)), 30),
        (ErrorKind::TooManyRequests, RetryAfter::At(now + seconds(70)), 70),
        // No longer than an hour, whatever is demanded.
        (ErrorKind::Unavailable, RetryAfter::Delay(Duration::MAX), 3600),
    ] {
        let upstream = Upstream::new();
        let registry = breaker().clock(Clock::from_fn(move || now)).layer(upstream.registry());
        let refusal = move |_: &str| {
            Some(Error::new(kind, ErrorCode::TooManyRequests, "slow down").with_retry_after(after))
        };
        upstream.refuse(refusal);
        assert_eq!(send(&registry, get("v1")).await.unwrap_err().0, kind);
        upstream.heal();
        upstream.seen();
        assert_eq!(send(&registry, get("v1")).await, alone(held, "slow down"));
        advance(seconds(held - 1)).await;
        advance(Duration::from_millis(500)).await;
        assert_eq!(send(&registry, get("v1")).await, alone(1, "slow down"));
        assert_eq!(upstream.seen(), NOTHING);
        advance(Duration::from_millis(500)).await;
        assert_eq!(send(&registry, get("v1")).await, Ok(()));
        assert_eq!(upstream.seen(), ["GET team/app v1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_has_passed_holds_nothing() {
    let upstream = Upstream::new();
    let registry = breaker().layer(upstream.registry());
    upstream.refuse(|_| {
        Some(Error::unavailable("down").with_retry_after(RetryAfter::At(SystemTime::UNIX_EPOCH)))
    });
    send(&registry, get("v1")).await.unwrap_err();
    upstream.heal();
    assert_eq!(join_all((0..4).map(|_| send(&registry, get("v1")))).await, vec![Ok(()); 4]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_question_does_not_end_a_hold() {
    let upstream = Upstream::new();
    let registry = breaker().layer(upstream.registry());
    upstream.delay(seconds(2));
    let early = send(&registry, get("v1"));
    let refused = async {
        tokio::time::sleep(seconds(1)).await;
        upstream.delay(seconds(0));
        upstream.refuse(|line| {
            let after = RetryAfter::Delay(seconds(30));
            line.contains("v2").then(|| Error::unavailable("down").with_retry_after(after))
        });
        send(&registry, get("v2")).await
    };
    let (early, refused) = tokio::join!(early, refused);
    assert_eq!((early, refused.unwrap_err().2), (Ok(()), Some(30)));
    assert_eq!(send(&registry, get("v1")).await, alone(29, "down"));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_shared_by_all_requests_to_a_host_and_by_nobody_else() {
    let upstream = Upstream::new();
    let layer = breaker();
    let (one, two) = (layer.layer(upstream.registry()), layer.clone().layer(upstream.registry()));
    upstream.refuse(|line| line.contains("quay.io").then(|| Error::unavailable("down")));
    for user in ["ann", "bob", "ann", "bob", "ann"] {
        send(&one, at("quay.io", by(user, get("v1")))).await.unwrap_err();
    }
    upstream.seen();
    let error = send(&two, at("quay.io", of("team/other", head("v2")))).await.unwrap_err();
    assert_eq!(error.1, "`quay.io` is left alone for 1 s, since it failed: down");
    assert_eq!(upstream.seen(), NOTHING);
    assert_eq!(send(&one, at("ghcr.io", get("v1"))).await, Ok(()));
    assert_eq!(send(&two, get("v1")).await, Ok(()));
    assert_eq!(upstream.seen(), ["GET team/app v1 at ghcr.io", "GET team/app v1"]);
    // What is set later has circuits of its own.
    let other = layer.failures(5).layer(upstream.registry());
    assert_eq!(send(&other, at("quay.io", get("v1"))).await, failed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room_for_the_next_one() {
    let upstream = Upstream::new();
    let registry = breaker().failures(1).layer(upstream.registry());
    down(&upstream);
    send(&registry, get("v1")).await.unwrap_err();
    advance(seconds(1)).await;
    upstream.heal();
    upstream.delay(seconds(10));
    assert!(timeout(seconds(5), send(&registry, get("v1"))).await.is_err());
    assert_eq!(send(&registry, get("v1")).await, Ok(()));
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_what_is_below_is() {
    let (mut service, mut handle) = tower_test::mock::pair::<Request, tower_oci::operation::Response>();
    handle.allow(0);
    let is_ready = async |service: &mut tower_test::mock::Mock<_, _>| {
        poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_ready())).await
    };
    assert!(!is_ready(&mut service).await);
    let mut breaker = breaker().layer(service);
    assert!(!poll_fn(|cx| Poll::Ready(breaker.poll_ready(cx).is_ready())).await);
    handle.allow(1);
    assert!(poll_fn(|cx| Poll::Ready(breaker.poll_ready(cx).is_ready())).await);
}
