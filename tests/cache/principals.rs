//! Two principals: what one may read and the other may not stays that way, whatever is kept.

use tokio::time::advance;
use tower_oci::error::{Error, ErrorKind};
use tower_oci::operation::GetManifest;
use tower_oci::operation::Request;

use crate::registry::*;

const NOTHING: [&str; 0] = [];

fn requests() -> Vec<Request<GetManifest>> {
    let one = digest("one").to_string();
    vec![
        get("v1"),
        head("v1"),
        get(&one),
        head(&one),
        unless(digest("one"), get("v1")),
        unless(digest("one"), get(&one)),
    ]
}

/// Bob may not read here.
fn without_bob() -> Upstream {
    let upstream = Upstream::new();
    upstream.refuse(|line| line.ends_with("bob").then(|| Error::denied("not for you")));
    upstream
}

#[tokio::test(start_paused = true)]
async fn what_one_may_read_stays_hidden_from_the_other() {
    // The same requests and the same answers, whether it is kept for somebody else or not at all.
    let mut all = Vec::new();
    for is_kept in [true, false] {
        let upstream = without_bob();
        let cache = upstream.plainly_cached();
        if is_kept {
            for request in requests() {
                ask(&cache, by("ann", request)).await.unwrap();
            }
        }
        upstream.seen();
        let mut told = Vec::new();
        for request in requests() {
            let error = ask(&cache, by("bob", request)).await.unwrap_err();
            told.push((error.kind(), error.status(), error.to_string(), upstream.seen()));
        }
        all.push(told);
        if is_kept {
            for request in requests() {
                assert!(ask(&cache, by("ann", request)).await.unwrap().status.starts_with("hit"));
            }
            assert_eq!(upstream.seen(), NOTHING);
        }
    }
    assert_eq!(all[0], all[1]);
    let one = digest("one").to_string();
    let lines: Vec<_> = all[0].iter().flat_map(|(.., seen)| seen.clone()).collect();
    let by_bob = |method: &str, reference: &str| line(method, REPOSITORY, reference) + " bob";
    let (get, head) = (by_bob("GET", &one), by_bob("HEAD", &one));
    let (tag, tag_head) = (by_bob("GET", "v1"), by_bob("HEAD", "v1"));
    assert_eq!(lines, [&*tag, &*tag_head, &*get, &*head, &*tag, &*get]);
    assert!(all[0].iter().all(|(kind, ..)| *kind == ErrorKind::Denied));
}

#[tokio::test(start_paused = true)]
async fn each_reader_is_let_in_by_the_upstream_and_then_shares_what_is_kept() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    let one = digest("one").to_string();
    ask(&cache, by("ann", get("v1"))).await.unwrap();
    assert_eq!(upstream.seen(), ["GET team/app v1 ann"]);
    assert_eq!(ask(&cache, by("bob", get(&one))).await.unwrap(), Told::full("one", "fwd=miss; stored"));
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &one) + " bob"]);
    // Bob reads the repository now: what a tag means there was asked on behalf of Ann.
    assert_eq!(ask(&cache, by("bob", get("v1"))).await.unwrap(), Told::full("one", "hit; ttl=60"));
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(upstream.seen(), ["GET team/app v1"]);
}

#[tokio::test(start_paused = true)]
async fn two_readers_never_share_a_question() {
    let upstream = without_bob();
    let cache = upstream.plainly_cached();
    let (ann, bob) = tokio::join!(ask(&cache, by("ann", get("v1"))), ask(&cache, by("bob", get("v1"))));
    assert_eq!(ann.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(bob.unwrap_err().to_string(), "not for you");
    assert_eq!(upstream.seen(), ["GET team/app v1 ann", "GET team/app v1 bob"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_withdrawn_costs_the_same_whether_it_is_kept_or_not() {
    let upstream = Upstream::new();
    let cache = upstream.cached(&layer().fresh_for(seconds(10_000)));
    upstream.tag("v2", "two");
    ask(&cache, by("bob", get("v1"))).await.unwrap();
    upstream.refuse(|line| line.ends_with("bob").then(|| Error::denied("not any more")));
    advance(seconds(299)).await;
    assert_eq!(ask(&cache, by("bob", get("v1"))).await.unwrap(), Told::full("one", "hit; ttl=9701"));
    upstream.seen();
    // One more chance for each of them: after a refusal the reader is a stranger.
    for (tag, method) in [("v1", "HEAD"), ("v2", "GET")] {
        advance(seconds(1)).await;
        assert_eq!(ask(&cache, by("bob", get(tag))).await.unwrap_err().to_string(), "not any more");
        assert_eq!(upstream.seen(), [format!("{method} team/app {tag} bob")]);
    }
    upstream.heal();
    ask(&cache, by("bob", get("v1"))).await.unwrap();
    upstream.refuse(|line| line.ends_with("bob").then(|| Error::denied("not any more")));
    upstream.seen();
    advance(seconds(300)).await;
    assert_eq!(ask(&cache, by("bob", get("v2"))).await.unwrap_err().to_string(), "not any more");
    assert_eq!(upstream.seen(), ["HEAD team/app v2 bob"], "as for what is kept");
    // Nor is it served as stale.
    upstream.refuse(|_| Some(Error::unavailable("down")));
    assert_eq!(ask(&cache, by("bob", get("v1"))).await.unwrap_err().to_string(), "down");
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_for_a_stranger_is_not_taken_from_the_others() {
    let upstream = Upstream::new();
    upstream.refuse(|line| line.ends_with("bob").then(|| Error::manifest_unknown("no such manifest")));
    let cache = upstream.plainly_cached();
    let one = digest("one").to_string();
    ask(&cache, by("ann", get("v1"))).await.unwrap();
    for request in [get("v1"), get(&one)] {
        ask(&cache, by("bob", request)).await.unwrap_err();
    }
    upstream.seen();
    assert_eq!(ask(&cache, by("ann", get("v1"))).await.unwrap(), Told::full("one", "hit; ttl=60"));
    assert_eq!(ask(&cache, by("ann", get(&one))).await.unwrap(), Told::full("one", "hit"));
    assert_eq!(upstream.seen(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn upstreams_are_kept_apart() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    for host in ["quay.io", "ghcr.io"] {
        assert_eq!(ask(&cache, at(host, get("v1"))).await.unwrap().status, "fwd=miss; ttl=60; stored");
        assert_eq!(ask(&cache, at(host, get("v1"))).await.unwrap().status, "hit; ttl=60");
        assert_eq!(upstream.seen(), [format!("GET team/app v1 at {host}")]);
    }
}
