//! An upstream that takes its time while there is something stale to serve.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tower_oci::error::{Error, ErrorKind};
use tower_oci::layer::cache::CacheLayer;
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::MemoryBlobs;

use crate::registry::*;
use crate::{origin, registry};

const NOTHING: [&str; 0] = [];

const SLOW: &str = "stale: the upstream couldn't be asked: it has not answered within 2 s";

fn stale(name: &str, ttl: i64) -> Told {
    Told::full(name, &format!("fwd=stale; ttl={ttl}")).warning(SLOW)
}

#[tokio::test(start_paused = true)]
async fn an_old_tag_is_served_after_two_seconds_while_the_question_goes_on() {
    let upstream = Upstream::new();
    let tasks = Tasks::new();
    let layer = layer().tasks(tasks.clone());
    let cache = upstream.cached(&layer);
    ask(&cache, get("v1")).await.unwrap();
    upstream.seen();
    upstream.tag("v1", "two");
    upstream.delay(seconds(10));
    advance(seconds(90)).await;
    let start = Instant::now();
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), stale("one", -32));
    assert_eq!((start.elapsed(), tasks.running()), (seconds(2), 1));
    // Whoever comes now waits no longer, and asks nothing.
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), stale("one", -32));
    assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told { content: None, ..stale("one", -32) });
    assert_eq!(start.elapsed(), seconds(2));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
    // The answer settles what the tag means, though nobody waits for it. Its content is asked for by the next one, and
    // what the tag meant before serves until it is there.
    advance(seconds(8)).await;
    settle().await;
    assert_eq!(tasks.running(), 0);
    assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("two", "hit; ttl=59"));
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), stale("one", -42));
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &digest("two").to_string())]);
    advance(seconds(8)).await;
    settle().await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("two", "hit; ttl=49"));
    assert_eq!(upstream.seen(), NOTHING);
    assert_eq!((layer.figures().stale, layer.figures().misses), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn two_seconds_are_for_the_whole_answer() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    ask(&cache, get("v1")).await.unwrap();
    upstream.tag("v1", "two");
    upstream.delay(Duration::from_millis(1500));
    advance(seconds(60)).await;
    let start = Instant::now();
    // It is known after one and a half that the tag means something else, which isn't there in the rest of the time.
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), stale("one", -2));
    assert_eq!(start.elapsed(), seconds(2));
}

#[tokio::test(start_paused = true)]
async fn how_long_is_a_setting_and_an_answer_in_time_counts() {
    let upstream = Upstream::new();
    upstream.tag("v2", "two");
    let patient = upstream.cached(&layer().revalidation_timeout(Duration::MAX));
    let impatient = upstream.cached(&layer().revalidation_timeout(Duration::from_millis(500)));
    for cache in [&patient, &impatient] {
        ask(cache, get("v1")).await.unwrap();
    }
    advance(seconds(90)).await;
    upstream.delay(seconds(20));
    let start = Instant::now();
    assert_eq!(ask(&patient, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    assert_eq!(start.elapsed(), seconds(20));
    let told = ask(&impatient, get("v1")).await.unwrap();
    assert_eq!(told.warnings, ["stale: the upstream couldn't be asked: it has not answered within 0.5 s"]);
    assert_eq!(start.elapsed(), Duration::from_millis(20_500));
    // Where there is nothing stale, the answer is waited for.
    assert_eq!(ask(&impatient, get("v2")).await.unwrap(), Told::full("two", "fwd=miss; ttl=60; stored"));
    assert_eq!(ask(&impatient, by("bob", get("v1"))).await.unwrap().status, "fwd=miss; ttl=60; stored");
    assert_eq!(start.elapsed(), Duration::from_millis(60_500));
    upstream.delay(Duration::from_millis(499));
    advance(seconds(60)).await;
    assert_eq!(ask(&impatient, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_refusal_holds_as_soon_as_it_is_there() {
    for (refusal, kind) in
        [(Error::denied("no"), ErrorKind::Denied), (Error::manifest_unknown("gone"), ErrorKind::NotFound)]
    {
        let upstream = Upstream::new();
        let cache = upstream.plainly_cached();
        ask(&cache, get("v1")).await.unwrap();
        let (code, words) = (refusal.code(), refusal.message().to_owned());
        upstream.refuse(move |_| Some(Error::new(kind, code, words.as_str())));
        upstream.delay(seconds(5));
        advance(seconds(60)).await;
        assert_eq!(ask(&cache, get("v1")).await.unwrap(), stale("one", -2));
        advance(seconds(3)).await;
        settle().await;
        // From now on it isn't served again, however slow or far away the upstream is.
        assert_eq!(ask(&cache, get("v1")).await.unwrap_err().kind(), kind);
        upstream.refuse(|_| Some(Error::unavailable("down")));
        advance(seconds(10)).await;
        assert_eq!(ask(&cache, get("v1")).await.unwrap_err().to_string(), "down");
        // A refusal in time is never papered over.
        upstream.heal();
        upstream.delay(seconds(1));
        advance(seconds(60)).await;
        ask(&cache, get("v1")).await.unwrap();
        let (code, words) = (refusal.code(), refusal.message().to_owned());
        upstream.refuse(move |_| Some(Error::new(kind, code, words.as_str())));
        advance(seconds(60)).await;
        assert_eq!(ask(&cache, get("v1")).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_more_tasks_may_be_started_nothing_is_detached() {
    let upstream = Upstream::new();
    let tasks = Tasks::with_cap(1);
    let cache = upstream.cached(&registry::layer().tasks(tasks.clone()));
    ask(&cache, get("v1")).await.unwrap();
    settle().await;
    upstream.seen();
    assert!(tasks.spawn(std::future::pending()));
    upstream.delay(seconds(5));
    advance(seconds(90)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=bypass"));
    assert_eq!((upstream.seen(), tasks.running()), (vec!["GET team/app v1".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_blob_whose_reader_must_be_checked_is_served_after_two_seconds() {
    let blob = origin::content(500_000);
    let digest = Digest::sha256(&blob);
    let (upstream, tasks) = (origin::Origin::new([blob.clone()]), Tasks::new());
    let layer = CacheLayer::new(MemoryBlobs::with_capacity(1 << 24)).breaker(None).tasks(tasks.clone());
    let cache = upstream.cached(&layer);
    origin::read(&cache, origin::whole(digest)).await.unwrap();
    advance(seconds(301)).await;
    upstream.seen();
    upstream.delay(seconds(10));
    let start = Instant::now();
    for request in [origin::whole(digest), origin::whole(digest)] {
        let (found, status) = origin::ask(&cache, request).await.unwrap();
        assert_eq!(status, "fwd=stale");
        assert!(origin::collect(origin::body(found)).await.unwrap() == blob);
        assert_eq!(start.elapsed(), seconds(2));
    }
    let (found, _) = origin::ask(&cache, origin::part(digest, "5-9")).await.unwrap();
    assert_eq!(origin::collect(origin::body(found)).await.unwrap(), blob.slice(5..10));
    assert_eq!(start.elapsed(), seconds(2));
    assert_eq!(upstream.seen(), [origin::get(digest)]);
    // The answer lets the reader in again, and nothing is fetched twice.
    advance(seconds(8)).await;
    origin::settle().await;
    assert_eq!((tasks.running(), layer.figures().transfers), (0, 0));
    assert_eq!(origin::ask(&cache, origin::whole(digest)).await.unwrap().1, "hit");
    // A slow refusal holds as soon as it is there.
    advance(seconds(301)).await;
    upstream.refuse(|_| Some(Error::denied("no more")));
    assert_eq!(origin::ask(&cache, origin::whole(digest)).await.unwrap().1, "fwd=stale");
    advance(seconds(8)).await;
    origin::settle().await;
    let told = origin::told(origin::ask(&cache, origin::whole(digest)).await);
    assert_eq!(told, (403, "DENIED", "no more".to_owned()));
    // And what isn't kept is waited for.
    upstream.heal();
    let other = origin::content(1000);
    let unknown = Digest::sha256(&other);
    upstream.replace(unknown, other.clone());
    let start = Instant::now();
    assert!(origin::read(&cache, origin::whole(unknown)).await.unwrap() == other);
    assert_eq!(start.elapsed(), seconds(10));
}
