//! Another process over the same store and the same records.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::{Instant, advance};
use tower_oci::error::Error;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::operation::{GetBlob, Registry as _, Request};
use tower_oci::rt::Clock;
use tower_oci::store::MemoryRecords;
use tower_oci::store::blobs::MemoryBlobs;

use crate::registry::*;

const NOTHING: [&str; 0] = [];

/// What outlives a process.
#[derive(Clone)]
struct Kept {
    blobs: MemoryBlobs,
    records: MemoryRecords,
    clock: Clock,
}

impl Kept {
    fn new() -> Self {
        let (start, began) = (SystemTime::now(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        let records = MemoryRecords::with_capacity(1000).clock(clock.clone());
        Self { blobs: MemoryBlobs::with_capacity(1 << 20), records, clock }
    }

    fn layer(&self) -> CacheLayer {
        let layer = CacheLayer::new(self.blobs.clone()).breaker(None);
        layer.records(Arc::new(self.records.clone())).clock(self.clock.clone())
    }
}

fn blob(name: &str) -> Request<GetBlob> {
    Request::new(GetBlob::new(REPOSITORY.parse().unwrap(), digest(name)))
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pulled_before_is_served_while_the_upstream_is_down() {
    let (upstream, kept) = (Upstream::new(), Kept::new());
    upstream.tag("v0", "layer");
    let first = upstream.cached(&kept.layer());
    ask(&first, by("ann", get("v1"))).await.unwrap();
    let layer = first.send(by("ann", blob("layer"))).await.unwrap().into_reply();
    assert_eq!(layer.into_whole().unwrap().read(1000).await.unwrap(), manifest("layer"));
    settle().await;
    drop(first);

    advance(seconds(1000)).await;
    upstream.seen();
    upstream.refuse(|_| Some(Error::unavailable("down")));
    let second = upstream.cached(&kept.layer());
    let one = digest("one").to_string();
    let warning = "stale: the upstream couldn't be asked: down";
    let stale = Told::full("one", "fwd=stale; ttl=-940").warning(warning);
    assert_eq!(ask(&second, by("ann", get("v1"))).await.unwrap(), stale);
    assert_eq!(
        ask(&second, by("ann", get(&one))).await.unwrap(),
        Told::full("one", "fwd=stale").warning(warning)
    );
    let (layer, facts) = second.send(by("ann", blob("layer"))).await.unwrap().into_parts();
    assert_eq!(status(&facts), "fwd=stale");
    assert_eq!(layer.into_whole().unwrap().read(1000).await.unwrap(), manifest("layer"));
    // Nobody else.
    assert_eq!(ask(&second, by("bob", get("v1"))).await.unwrap_err().to_string(), "down");
    assert_eq!(ask(&second, by("bob", get(&one))).await.unwrap_err().to_string(), "down");
    assert_eq!(second.send(by("bob", blob("layer"))).await.unwrap_err().to_string(), "down");
    // And nothing that was not asked for in that repository.
    assert_eq!(ask(&second, of("team/b", by("ann", get(&one)))).await.unwrap_err().to_string(), "down");
    upstream.heal();
    assert_eq!(ask(&second, by("ann", get("v1"))).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_stays_so_for_as_long_as_it_would_have() {
    let (upstream, kept) = (Upstream::new(), Kept::new());
    ask(&upstream.cached(&kept.layer()), get("v1")).await.unwrap();
    settle().await;
    advance(seconds(50)).await;
    upstream.seen();
    let second = upstream.cached(&kept.layer());
    // Records are kept in whole seconds.
    let told = ask(&second, get("v1")).await.unwrap();
    assert!(["hit; ttl=9", "hit; ttl=10"].contains(&told.status.as_str()), "{}", told.status);
    assert_eq!(told.content, Some(manifest("one")));
    assert_eq!(upstream.seen(), NOTHING);
    advance(seconds(10)).await;
    assert_eq!(ask(&second, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_turned_away_is_so_for_the_next_process_as_well() {
    let (upstream, kept) = (Upstream::new(), Kept::new());
    let first = upstream.cached(&kept.layer());
    ask(&first, get("v1")).await.unwrap();
    settle().await;
    advance(seconds(300)).await;
    upstream.refuse(|_| Some(Error::denied("no")));
    ask(&first, get("v1")).await.unwrap_err();
    settle().await;
    upstream.refuse(|_| Some(Error::unavailable("down")));
    let second = upstream.cached(&kept.layer());
    assert_eq!(ask(&second, get("v1")).await.unwrap_err().to_string(), "down");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_gone_is_so_for_the_next_process_as_well() {
    let (upstream, kept) = (Upstream::new(), Kept::new());
    let first = upstream.cached(&kept.layer());
    ask(&first, get("v1")).await.unwrap();
    settle().await;
    upstream.untag("v1");
    advance(seconds(60)).await;
    ask(&first, get("v1")).await.unwrap_err();
    settle().await;
    upstream.refuse(|_| Some(Error::unavailable("down")));
    let second = upstream.cached(&kept.layer());
    assert_eq!(ask(&second, get("v1")).await.unwrap_err().to_string(), "down");
    let one = digest("one").to_string();
    assert_eq!(ask(&second, get(&one)).await.unwrap(), Told::full("one", "hit"));
}
