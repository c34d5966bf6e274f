//! Lists of tags and referrers: kept where the embedder says so.

use futures_util::future::join_all;
use tokio::time::advance;
use tower_oci::error::Error;
use tower_oci::operation::{ListReferrers, ListTags, PutManifest, Registry as _, Request};
use tower_oci::spec::page::Page;

use crate::registry::*;

fn page(n: u64) -> Request<ListTags> {
    let mut request = tags();
    request.operation_mut().page = Page::new(Some(n), None);
    request
}

fn filtered(artifact_type: &str) -> Request<ListReferrers> {
    let mut request = referrers(digest("one"));
    request.operation_mut().artifact_type = Some(artifact_type.to_owned());
    request
}

#[tokio::test(start_paused = true)]
async fn lists_pass_by_default() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    for _ in 0..2 {
        assert_eq!(list(&cache, tags()).await.unwrap(), "fwd=bypass");
        assert_eq!(list(&cache, referrers(digest("one"))).await.unwrap(), "fwd=bypass");
    }
    let referrers = line("REFERRERS", REPOSITORY, &digest("one").to_string());
    assert_eq!(upstream.seen(), ["TAGS team/app", &referrers, "TAGS team/app", &referrers]);
}

#[tokio::test(start_paused = true)]
async fn each_list_is_kept_for_a_while_for_each_reader() {
    let upstream = Upstream::new();
    let cache = upstream.cached(&layer().lists_for(seconds(10)));
    for status in ["fwd=miss; stored", "hit; ttl=10"] {
        assert_eq!(list(&cache, tags()).await.unwrap(), status);
        assert_eq!(list(&cache, page(2)).await.unwrap(), status);
        assert_eq!(list(&cache, by("ann", tags())).await.unwrap(), status);
        assert_eq!(list(&cache, referrers(digest("one"))).await.unwrap(), status);
        assert_eq!(list(&cache, filtered("a/b")).await.unwrap(), status);
        assert_eq!(list(&cache, referrers(digest("two"))).await.unwrap(), status);
    }
    assert_eq!(
        upstream.seen(),
        [
            "TAGS team/app".to_owned(),
            "TAGS team/app 2".to_owned(),
            "TAGS team/app ann".to_owned(),
            line("REFERRERS", REPOSITORY, &digest("one").to_string()),
            line("REFERRERS", REPOSITORY, &digest("one").to_string()) + " a/b",
            line("REFERRERS", REPOSITORY, &digest("two").to_string()),
        ]
    );
    advance(seconds(10)).await;
    let all = join_all((0..64).map(|_| list(&cache, tags()))).await;
    let mut all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.remove(0), "fwd=miss; stored");
    assert_eq!(all, vec!["fwd=miss; collapsed"; 63]);
    assert_eq!(upstream.seen(), ["TAGS team/app"]);
}

#[tokio::test(start_paused = true)]
async fn lists_are_forgotten_with_a_write_and_with_a_refusal() {
    let upstream = Upstream::new();
    let cache = upstream.cached(&layer().lists_for(seconds(1000)));
    list(&cache, tags()).await.unwrap();
    let (repository, reference) = (REPOSITORY.parse().unwrap(), "v2".parse().unwrap());
    let put = PutManifest::new(repository, reference, TYPE, manifest("two"));
    cache.send(Request::new(put)).await.unwrap();
    let response = cache.send(tags()).await.unwrap();
    assert_eq!(response.reply().tags, ["v1".parse().unwrap(), "v2".parse().unwrap()]);
    assert_eq!(list(&cache, tags()).await.unwrap(), "hit; ttl=1000");
    assert_eq!(upstream.seen(), ["TAGS team/app", "PUT team/app v2", "TAGS team/app"]);
    // The reader is turned away elsewhere in the repository, or was let in too long ago.
    upstream.refuse(|_| Some(Error::denied("no")));
    ask(&cache, get("v1")).await.unwrap_err();
    assert_eq!(list(&cache, tags()).await.unwrap_err().to_string(), "no");
    upstream.heal();
    list(&cache, tags()).await.unwrap();
    advance(seconds(300)).await;
    upstream.seen();
    list(&cache, tags()).await.unwrap();
    assert_eq!(upstream.seen(), ["TAGS team/app"]);
}
