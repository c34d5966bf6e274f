//! What is told while the upstream can't be asked, and what isn't.

use tokio::time::advance;
use tower_oci::error::{Error, ErrorCode, ErrorKind};
use tower_oci::layer::breaker::BreakerLayer;

use crate::registry::*;

const NOTHING: [&str; 0] = [];

fn failures() -> Vec<Error> {
    let slow_down = Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, "slow down");
    vec![Error::unavailable("down"), Error::timed_out("slow"), Error::bad_gateway("nonsense"), slow_down]
}

/// All requests fail like this one.
fn fail(upstream: &Upstream, error: &Error) {
    let (kind, code, message) = (error.kind(), error.code(), error.message().to_owned());
    upstream.refuse(move |_| Some(Error::new(kind, code, message.as_str())));
}

#[tokio::test(start_paused = true)]
async fn an_old_tag_is_served_and_says_so() {
    for failure in failures() {
        let upstream = Upstream::new();
        let layer = layer();
        let cache = upstream.cached(&layer);
        ask(&cache, get("v1")).await.unwrap();
        upstream.seen();
        fail(&upstream, &failure);
        advance(seconds(90)).await;
        let warning = format!("stale: the upstream couldn't be asked: {failure}");
        let status = "fwd=stale; ttl=-30";
        assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", status).warning(&warning));
        assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("one", status).warning(&warning));
        let unless = unless(digest("one"), get("v1"));
        assert_eq!(ask(&cache, unless).await.unwrap(), Told::not_modified("one", status).warning(&warning));
        assert_eq!(upstream.seen(), vec!["HEAD team/app v1"; 3]);
        assert_eq!(layer.figures().stale, 3);
        // What was never asked for can't be told.
        assert_eq!(ask(&cache, get("v2")).await.unwrap_err().to_string(), failure.to_string());
        upstream.heal();
        assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_papered_over() {
    for failure in [
        Error::denied("no"),
        Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, "who?"),
        Error::manifest_unknown("gone"),
        Error::name_unknown("all gone"),
    ] {
        let upstream = Upstream::new();
        let cache = upstream.plainly_cached();
        ask(&cache, get("v1")).await.unwrap();
        fail(&upstream, &failure);
        advance(seconds(60)).await;
        upstream.seen();
        let error = ask(&cache, get("v1")).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (failure.kind(), failure.to_string()));
        assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
        // And what was said to be gone doesn't come back when the upstream goes down.
        fail(&upstream, &Error::unavailable("down"));
        advance(seconds(10)).await;
        assert_eq!(ask(&cache, get("v1")).await.unwrap_err().to_string(), "down", "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_time_is_over_is_served_what_is_kept_while_nobody_can_say_no() {
    let upstream = Upstream::new();
    let cache = upstream.cached(&layer().fresh_for(seconds(1000)).stale_for(seconds(2000)));
    let one = digest("one").to_string();
    ask(&cache, get("v1")).await.unwrap();
    fail(&upstream, &Error::unavailable("down"));
    advance(seconds(400)).await;
    let warning = "stale: the upstream couldn't be asked: down";
    let by_tag = Told::full("one", "fwd=stale; ttl=-100").warning(warning);
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), by_tag);
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "fwd=stale").warning(warning));
    // Nobody else is.
    assert_eq!(ask(&cache, by("bob", get("v1"))).await.unwrap_err().to_string(), "down");
    assert_eq!(ask(&cache, by("bob", get(&one))).await.unwrap_err().to_string(), "down");
    advance(seconds(1600)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap_err().to_string(), "down");
    assert_eq!(ask(&cache, get(&one)).await.unwrap_err().to_string(), "down");
}

#[tokio::test(start_paused = true)]
async fn starting_while_the_upstream_is_down_works() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    fail(&upstream, &Error::unavailable("down"));
    for request in [get("v1"), head("v1"), get(&digest("one").to_string())] {
        let error = ask(&cache, request).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.to_string().as_str()), (503, "down"));
    }
    upstream.heal();
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
}

#[tokio::test(start_paused = true)]
async fn what_a_tag_meant_before_serves_until_its_new_content_can_be_fetched() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    ask(&cache, get("v1")).await.unwrap();
    upstream.tag("v1", "two");
    upstream.refuse(|line| line.starts_with("GET").then(|| Error::unavailable("down")));
    advance(seconds(90)).await;
    let old = Told::full("one", "fwd=stale; ttl=-30").warning("stale: the upstream couldn't be asked: down");
    upstream.seen();
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), old);
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), old);
    let two = line("GET", REPOSITORY, &digest("two").to_string());
    assert_eq!(upstream.seen(), ["HEAD team/app v1", &two, &two]);
    upstream.heal();
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("two", "fwd=miss; ttl=60; stored"));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_left_alone_costs_nothing_and_stale_answers_come_at_once() {
    let upstream = Upstream::new();
    let cache = upstream.cached(&layer().breaker(Some(BreakerLayer::new().jitter(0.0))));
    ask(&cache, get("v1")).await.unwrap();
    fail(&upstream, &Error::unavailable("down"));
    advance(seconds(90)).await;
    upstream.seen();
    for _ in 0..8 {
        assert_eq!(ask(&cache, get("v1")).await.unwrap().status, "fwd=stale; ttl=-30");
    }
    assert_eq!(upstream.seen(), vec!["HEAD team/app v1"; 5]);
    let told = ask(&cache, get("v1")).await.unwrap();
    let alone = "the upstream is left alone for 1 s, since it failed: down";
    assert_eq!(told.warnings, [format!("stale: the upstream couldn't be asked: {alone}")]);
    upstream.heal();
    assert_eq!(ask(&cache, get("v1")).await.unwrap().status, "fwd=stale; ttl=-30");
    assert_eq!(upstream.seen(), NOTHING);
    advance(seconds(1)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
}
