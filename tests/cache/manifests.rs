//! Manifests by tag and by digest: what they cost, and when they are asked for again.

use futures_util::future::join_all;
use tokio::time::{advance, timeout};
use tower::{Layer as _, service_fn};
use tower_oci::error::{Error, ErrorKind};
use tower_oci::operation::{
    Conditional, DeleteManifest, GetManifest, Manifest, Operation, PutManifest, Registry as _, Request,
    Response,
};
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::store::blobs::{BlobStore as _, MemoryBlobs};

use crate::registry::*;

const NOTHING: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn a_cold_tag_costs_a_head_and_a_get_and_a_warm_one_nothing() {
    let upstream = Upstream::new();
    let layer = layer();
    let cache = upstream.cached(&layer);
    assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("one", "fwd=miss; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    let one = digest("one").to_string();
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &one)]);
    advance(seconds(59)).await;
    for _ in 0..2 {
        assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "hit; ttl=1"));
        assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("one", "hit; ttl=1"));
        assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "hit"));
        assert_eq!(ask(&cache, head(&one)).await.unwrap(), Told::head("one", "hit"));
    }
    assert_eq!(upstream.seen(), NOTHING);
    let figures = layer.figures();
    assert_eq!((figures.hits, figures.misses, figures.collapsed, figures.stale), (8, 2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_old_tag_costs_one_head_while_it_means_the_same() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(upstream.seen(), ["GET team/app v1"]);
    advance(seconds(60)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "hit; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
    upstream.tag("v1", "two");
    advance(seconds(60)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("two", "fwd=stale; ttl=60; stored"));
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("two", "hit; ttl=60"));
    let two = digest("two").to_string();
    assert_eq!(upstream.seen(), ["HEAD team/app v1".to_owned(), line("GET", REPOSITORY, &two)]);
    // What the tag meant before is there as long as somebody names it.
    let one = digest("one").to_string();
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "hit"));
    assert_eq!(upstream.seen(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn how_long_a_tag_is_fresh_is_set_by_pattern() {
    let upstream = Upstream::new();
    let layer = layer().fresh_tags("v*".parse().unwrap(), seconds(200)).fresh_for(seconds(0));
    let cache = upstream.cached(&layer);
    upstream.tag("latest", "two");
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=200; stored"));
    assert_eq!(ask(&cache, get("latest")).await.unwrap(), Told::full("two", "fwd=miss; ttl=0; stored"));
    advance(seconds(199)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "hit; ttl=1"));
    assert_eq!(ask(&cache, get("latest")).await.unwrap(), Told::full("two", "fwd=stale; ttl=0"));
    assert_eq!(upstream.seen(), ["GET team/app v1", "GET team/app latest", "HEAD team/app latest"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_let_in_long_ago_costs_a_head_whatever_is_kept() {
    let upstream = Upstream::new();
    let layer = layer().fresh_for(seconds(3600));
    let cache = upstream.cached(&layer);
    upstream.tag("v2", "two");
    ask(&cache, get("v1")).await.unwrap();
    upstream.seen();
    advance(seconds(300)).await;
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=3600"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
    advance(seconds(300)).await;
    let one = digest("one").to_string();
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "fwd=stale"));
    assert_eq!(upstream.seen(), [line("HEAD", REPOSITORY, &one)]);
    advance(seconds(300)).await;
    assert_eq!(ask(&cache, get("v2")).await.unwrap(), Told::full("two", "fwd=miss; ttl=3600; stored"));
    let two = digest("two").to_string();
    assert_eq!(upstream.seen(), ["HEAD team/app v2".to_owned(), line("GET", REPOSITORY, &two)]);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_identical_misses_cost_one_request() {
    for head_only in [false, true] {
        for reference in ["v1".to_owned(), digest("one").to_string()] {
            let upstream = Upstream::new();
            let cache = upstream.plainly_cached();
            let request = || if head_only { head(&reference) } else { get(&reference) };
            let told = |status: String| match head_only {
                true => Told::head("one", &status),
                false => Told::full("one", &status),
            };
            let all = join_all((0..64).map(|_| ask(&cache, request()))).await;
            let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
            let ttl = if reference == "v1" { "; ttl=60" } else { "" };
            let stored = if head_only { "" } else { "; stored" };
            assert_eq!(all[0], told(format!("fwd=miss{ttl}{stored}")));
            let shared = told(format!("fwd=miss{ttl}; collapsed"));
            assert!(all[1..].iter().all(|other| *other == shared), "{:?}", all[1]);
            let method = if head_only { "HEAD" } else { "GET" };
            assert_eq!(upstream.seen(), [line(method, REPOSITORY, &reference)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sixty_four_who_ask_for_an_old_tag_cost_one_head() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    ask(&cache, get("v1")).await.unwrap();
    upstream.tag("v1", "two");
    upstream.seen();
    advance(seconds(60)).await;
    let all = join_all((0..64).map(|_| ask(&cache, get("v1")))).await;
    assert!(all.into_iter().all(|told| told.unwrap().digest == digest("two")));
    let two = digest("two").to_string();
    assert_eq!(upstream.seen(), ["HEAD team/app v1".to_owned(), line("GET", REPOSITORY, &two)]);
}

#[tokio::test(start_paused = true)]
async fn a_question_survives_the_first_who_had_it() {
    let upstream = Upstream::new();
    let tasks = Tasks::new();
    let cache = upstream.cached(&layer().tasks(tasks.clone()));
    upstream.delay(seconds(2));
    let first = timeout(seconds(1), ask(&cache, get("v1")));
    let second = async {
        tokio::task::yield_now().await;
        ask(&cache, get("v1")).await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err());
    assert_eq!(second, Told::full("one", "fwd=miss; ttl=60; collapsed"));
    assert_eq!(upstream.seen(), ["GET team/app v1"]);
    // And when all have left, what they asked for is there for the next one.
    upstream.tag("v2", "two");
    assert!(timeout(seconds(1), ask(&cache, get("v2"))).await.is_err());
    assert!(tasks.shutdown(seconds(5)).await);
    assert_eq!(ask(&cache, get("v2")).await.unwrap(), Told::full("two", "hit; ttl=60"));
    assert_eq!(upstream.seen(), ["GET team/app v2"]);
}

#[tokio::test(start_paused = true)]
async fn conditions_are_answered_from_what_is_kept_and_never_handed_on() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    let (one, two) = (digest("one"), digest("two"));
    let cold = ask(&cache, unless(one, get("v1"))).await.unwrap();
    assert_eq!(cold, Told::not_modified("one", "fwd=miss; ttl=60; stored"));
    let warm = ask(&cache, unless(one, get("v1"))).await.unwrap();
    assert_eq!(warm, Told::not_modified("one", "hit; ttl=60"));
    let warm = ask(&cache, unless(one, head(&one.to_string()))).await.unwrap();
    assert_eq!(warm, Told::not_modified("one", "hit"));
    assert_eq!(ask(&cache, unless(two, get("v1"))).await.unwrap(), Told::full("one", "hit; ttl=60"));
    assert_eq!(upstream.seen(), ["GET team/app v1"]);
    // Whoever has already what a tag means now need not wait for its content.
    upstream.tag("v1", "two");
    advance(seconds(60)).await;
    let changed = ask(&cache, unless(two, get("v1"))).await.unwrap();
    assert_eq!(changed, Told::not_modified("two", "fwd=stale; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_so_for_ten_seconds() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    for _ in 0..3 {
        for request in [get("v2"), head("v2")] {
            let error = ask(&cache, request).await.unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "there is no v2"));
        }
    }
    assert_eq!(upstream.seen(), ["GET team/app v2"]);
    // Somebody else asks for himself.
    ask(&cache, by("ann", get("v2"))).await.unwrap_err();
    assert_eq!(upstream.seen(), ["GET team/app v2 ann"]);
    advance(seconds(10)).await;
    upstream.tag("v2", "two");
    assert_eq!(ask(&cache, head("v2")).await.unwrap(), Told::head("two", "fwd=miss; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v2"]);
}

#[tokio::test(start_paused = true)]
async fn what_memory_has_lost_comes_from_the_store() {
    let upstream = Upstream::new();
    let store = MemoryBlobs::with_capacity(1 << 20);
    let cache = upstream.cached(&tower_oci::layer::cache::CacheLayer::new(store.clone()).documents(0));
    let one = digest("one").to_string();
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "fwd=miss; stored"));
    settle().await;
    assert_eq!(store.stat(digest("one")).await.unwrap(), Some(manifest("one").len() as u64));
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "hit"));
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &one)]);
    // What the store has lost as well is fetched again; a HEAD never needs it.
    assert!(store.remove(digest("one")).await.unwrap());
    assert_eq!(ask(&cache, head(&one)).await.unwrap(), Told::head("one", "hit"));
    assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "fwd=miss; stored"));
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &one)]);
}

#[tokio::test(start_paused = true)]
async fn writes_that_come_this_way_are_seen_at_once() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    ask(&cache, get("v1")).await.unwrap();
    ask(&cache, get("v2")).await.unwrap_err();
    for tag in ["v1", "v2"] {
        let (repository, reference) = (REPOSITORY.parse().unwrap(), tag.parse().unwrap());
        let put = PutManifest::new(repository, reference, TYPE, manifest("two"));
        cache.send(Request::new(put)).await.unwrap();
    }
    upstream.seen();
    assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("two", "fwd=miss; ttl=60"));
    assert_eq!(ask(&cache, get("v2")).await.unwrap(), Told::full("two", "fwd=miss; ttl=60; stored"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1", "GET team/app v2"]);
    // With a manifest its tags go.
    let delete = DeleteManifest::new(REPOSITORY.parse().unwrap(), digest("two").into());
    cache.send(Request::new(delete)).await.unwrap();
    upstream.untag("v1");
    upstream.seen();
    for reference in ["v1".to_owned(), digest("two").to_string()] {
        assert_eq!(ask(&cache, head(&reference)).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(upstream.seen(), [line("HEAD", REPOSITORY, &reference)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_write_says_nothing_of_the_time_after() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    upstream.delay(seconds(5));
    let before = ask(&cache, get("v1"));
    let write = async {
        tokio::time::sleep(seconds(1)).await;
        upstream.delay(seconds(0));
        let (repository, reference) = (REPOSITORY.parse().unwrap(), "v1".parse().unwrap());
        let put = PutManifest::new(repository, reference, TYPE, manifest("two"));
        cache.send(Request::new(put)).await.unwrap();
        upstream.tag("v1", "one");
        // Asked after the write: it doesn't wait for the earlier answer.
        let after = timeout(seconds(1), ask(&cache, get("v1"))).await.unwrap().unwrap();
        upstream.tag("v1", "two");
        after
    };
    let (before, after) = tokio::join!(before, write);
    // The upstream answers late by what it has then: here the second one, which isn't kept for it.
    assert_eq!(before.unwrap().digest, digest("two"));
    assert_eq!(after, Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "hit; ttl=56"));
}

#[tokio::test(start_paused = true)]
async fn what_another_repository_brought_is_not_served_before_the_upstream_says_so() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    let one = digest("one").to_string();
    ask(&cache, get(&one)).await.unwrap();
    upstream.tag("v2", "two");
    // The reader is let in there as well.
    ask(&cache, of("team/other", get("v2"))).await.unwrap();
    upstream.seen();
    let other = || of("team/other", get(&one));
    assert_eq!(ask(&cache, other()).await.unwrap(), Told::full("one", "fwd=miss; stored"));
    assert_eq!(ask(&cache, other()).await.unwrap(), Told::full("one", "hit"));
    assert_eq!(upstream.seen(), [line("GET", "team/other", &one)]);
    // A `HEAD` is enough of a confirmation.
    let third = |head_only| of("team/third", if head_only { head(&one) } else { get(&one) });
    assert_eq!(ask(&cache, third(true)).await.unwrap(), Told::head("one", "fwd=miss"));
    assert_eq!(ask(&cache, third(false)).await.unwrap(), Told::full("one", "hit"));
    assert_eq!(upstream.seen(), [line("HEAD", "team/third", &one)]);
}

/// A repository that says that its indexes are manifests of images is believed only where the content agrees.
#[tokio::test(start_paused = true)]
async fn a_type_that_is_only_said_is_not_put_on_content_from_elsewhere() {
    let leaf = service_fn(|request: Request| async move {
        let Operation::GetManifest(GetManifest { repository, head, .. }) = request.into_operation() else {
            return Err(Error::unsupported("only manifests"));
        };
        let (content, digest) = (manifest("one"), digest("one"));
        let media_type = if repository.as_str() == "evil" { MediaType::OCI_MANIFEST } else { TYPE };
        let manifest = match head {
            true => Manifest::head(media_type, digest, content.len() as u64),
            false => Manifest::new(media_type, digest, content),
        };
        Ok(Response::new(Conditional::Full(manifest).into()))
    });
    let cache = layer().layer(leaf);
    let one = digest("one").to_string();
    let media_type = async |repository: &str, request: Request<GetManifest>| {
        let response = cache.send(of(repository, request)).await?;
        Ok::<_, Error>(response.into_reply().full()?.media_type)
    };
    assert_eq!(media_type("good", get(&one)).await.unwrap(), TYPE);
    assert_eq!(media_type("evil", head(&one)).await.unwrap(), MediaType::OCI_MANIFEST);
    let error = media_type("evil", get(&one)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadGateway);
    assert_eq!(media_type("good", get(&one)).await.unwrap(), TYPE);
}

#[tokio::test(start_paused = true)]
async fn wrong_content_is_neither_served_nor_kept() {
    let leaf = service_fn(|request: Request| async move {
        let Operation::GetManifest(asked) = request.into_operation() else {
            return Err(Error::unsupported("only manifests"));
        };
        let digest = asked.reference.digest().copied().unwrap_or(digest("one"));
        let manifest = Manifest::new(TYPE, digest, manifest("two"));
        Ok(Response::new(Conditional::Full(manifest).into()))
    });
    let store = MemoryBlobs::with_capacity(1 << 20);
    let cache = tower_oci::layer::cache::CacheLayer::new(store.clone()).layer(leaf);
    for reference in ["v1".to_owned(), digest("one").to_string()] {
        for _ in 0..2 {
            let error = ask(&cache, get(&reference)).await.unwrap_err();
            assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Corrupt, 502));
        }
    }
    settle().await;
    assert_eq!(store.list(None, 10).await.unwrap(), []);
    let right: Digest = digest("two");
    assert_eq!(ask(&cache, get(&right.to_string())).await.unwrap(), Told::full("two", "fwd=miss; stored"));
}

#[tokio::test(start_paused = true)]
async fn without_a_task_a_request_passes() {
    let upstream = Upstream::new();
    let layer = layer().tasks(Tasks::with_cap(0)).lists_for(seconds(10));
    let cache = upstream.cached(&layer);
    for request in [get("v1"), head("v1"), get("v1")] {
        assert_eq!(ask(&cache, request).await.unwrap().status, "fwd=bypass");
    }
    assert_eq!(list(&cache, tags()).await.unwrap(), "fwd=bypass");
    assert_eq!(upstream.seen().len(), 4);
    assert_eq!(layer.figures().passed, 4);
}
