//! Manifests by tag and by digest: what they cost, when they are asked for again, and what is told when they can't be.

use futures_util::future::join_all;

use crate::registry::*;

#[tokio::test(start_paused = true)]
async fn a_cold_tag_costs_a_head_and_a_get_and_a_warm_one_nothing() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("one", "fwd=miss; ttl=60"));
    assert_eq!(upstream.seen(), ["HEAD team/app v1"]);
    assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    let one = digest("one").to_string();
    assert_eq!(upstream.seen(), [line("GET", REPOSITORY, &one)]);
    tokio::time::advance(seconds(59)).await;
    for _ in 0..2 {
        assert_eq!(ask(&cache, get("v1")).await.unwrap(), Told::full("one", "hit; ttl=1"));
        assert_eq!(ask(&cache, head("v1")).await.unwrap(), Told::head("one", "hit; ttl=1"));
        assert_eq!(ask(&cache, get(&one)).await.unwrap(), Told::full("one", "hit"));
        assert_eq!(ask(&cache, head(&one)).await.unwrap(), Told::head("one", "hit"));
    }
    assert_eq!(upstream.seen(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn sixty_four_identical_misses_cost_one_request() {
    let upstream = Upstream::new();
    let cache = upstream.plainly_cached();
    for (request, told) in [(get as fn(&str) -> _, Told::full as fn(&str, &str) -> _), (head, Told::head)] {
        for reference in ["v1".to_owned(), digest("one").to_string()] {
            let cache = upstream.plainly_cached();
            let all = join_all((0..64).map(|_| ask(&cache, request(&reference)))).await;
            let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
            let ttl = if reference == "v1" { "; ttl=60" } else { "" };
            let stored = if request(&reference).operation().head { "" } else { "; stored" };
            assert_eq!(all[0], told("one", &format!("fwd=miss{ttl}{stored}")));
            assert!(all[1..].iter().all(|other| *other == told("one", &format!("fwd=miss{ttl}; collapsed"))));
            assert_eq!(upstream.seen().len(), 1);
        }
    }
    drop(cache);
}
