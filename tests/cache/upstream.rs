//! The cache over the client that goes to real registries, and every fault of theirs that concerns manifests.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::advance;
use tower::Layer as _;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream};
use tower_oci::error::RetryAfter;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::cache::{Cache, CacheLayer};
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, MemoryBlobs};
use tower_oci::testing::{Fault, Faulty, Hosts, Kind, When};

use crate::registry::{REPOSITORY, TYPE, Told, ask, digest, get, head, line, manifest, seconds, settle};

/// A registry with the tag `v1`, which fails as it is told, and a cache over it.
struct Network {
    faulty: Faulty<OciService<Memory>>,
    store: MemoryBlobs,
    cache: Cache,
}

impl Network {
    fn new() -> Self {
        let memory = Memory::builder().sparse_indexes(true).build();
        push(&memory, "one");
        let faulty = Faulty::new(OciService::new(memory));
        let network = Hosts::new().on("registry.example", faulty.clone());
        let upstream = Upstream::builder("registry.example".parse().unwrap())
            .http(HttpService::new(network))
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        let store = MemoryBlobs::with_capacity(1 << 20);
        let cache = CacheLayer::new(store.clone()).breaker(None).layer(upstream);
        Self { faulty, store, cache }
    }

    fn fails(&self, fault: Fault) {
        self.faulty.inject(When::any(), fault);
    }

    /// What arrived since the last time, as [`line`] has it.
    fn seen(&self) -> Vec<String> {
        let lines = self.faulty.recorder().take();
        let told = |text: String| text.replace("/v2/team/app/manifests/", "team/app ");
        lines
            .into_iter()
            .map(told)
            .map(|text| match text.split_once(" sha256:") {
                Some((start, hex)) => format!("{start} {}", &hex[..6]),
                None => text,
            })
            .collect()
    }
}

/// A manifest that the registry takes: an index without entries.
fn push(memory: &Memory, name: &str) {
    let (repository, reference) = (REPOSITORY.parse().unwrap(), "v1".parse().unwrap());
    memory.push_manifest(&repository, &reference, TYPE, manifest(name)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_fault_that_may_pass_is_bridged_with_what_is_stale() {
    let status = |code: u16| Fault::Status(StatusCode::from_u16(code).unwrap());
    let later = RetryAfter::At(SystemTime::now() + seconds(60));
    let words = |code: u16| format!("registry.example answered with {code}: told to fail");
    let slow_down = "registry.example answered with 429: slow down".to_owned();
    for (fault, ttl, words) in [
        (Fault::Close, -30, "registry.example: the connection was closed before any answer".to_owned()),
        (Fault::Hang, -32, "it has not answered within 2 s".to_owned()),
        (status(500), -30, words(500)),
        (status(502), -30, words(502)),
        (status(503), -30, words(503)),
        (status(504), -30, words(504)),
        (Fault::TooManyRequests(Some(RetryAfter::Delay(seconds(60)))), -30, slow_down.clone()),
        (Fault::TooManyRequests(Some(later)), -30, slow_down.clone()),
        (Fault::TooManyRequests(None), -30, slow_down),
    ] {
        let network = Network::new();
        ask(&network.cache, get("v1")).await.unwrap();
        assert_eq!(network.seen(), ["GET team/app v1"]);
        network.fails(fault.clone());
        advance(seconds(90)).await;
        let told = ask(&network.cache, get("v1")).await.unwrap();
        let warning = told.warnings.first().cloned().unwrap_or_default();
        let reason = warning.strip_prefix("stale: the upstream couldn't be asked: ").unwrap().to_owned();
        assert_eq!(told, Told::full("one", &format!("fwd=stale; ttl={ttl}")).warning(&warning));
        // To a `HEAD` there are no words.
        let expected = words.split(": told").next().unwrap().split(": slow").next().unwrap();
        assert_eq!(reason, expected, "{fault:?}");
        assert_eq!(network.seen(), ["HEAD team/app v1"]);
        network.faulty.heal();
        // What hangs is waited for behind the answer.
        advance(seconds(25)).await;
        settle().await;
        assert_eq!(ask(&network.cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told() {
    for (code, told, seen) in [
        (401, 403, &["HEAD team/app v1", "GET team/app v1"][..]),
        (403, 403, &["HEAD team/app v1", "GET team/app v1"]),
        (404, 404, &["HEAD team/app v1"]),
    ] {
        let network = Network::new();
        ask(&network.cache, get("v1")).await.unwrap();
        network.seen();
        network.fails(Fault::Status(StatusCode::from_u16(code).unwrap()));
        advance(seconds(90)).await;
        let error = ask(&network.cache, get("v1")).await.unwrap_err();
        assert_eq!(error.status().as_u16(), told);
        assert_eq!(network.seen(), seen);
        network.faulty.heal();
        network.fails(Fault::Close);
        advance(seconds(10)).await;
        assert_eq!(ask(&network.cache, get("v1")).await.unwrap_err().status().as_u16(), 503, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_down_at_start_is_asked_until_it_is_there() {
    let network = Network::new();
    network.fails(Fault::Close);
    for _ in 0..2 {
        assert_eq!(ask(&network.cache, get("v1")).await.unwrap_err().status().as_u16(), 503);
    }
    network.faulty.heal();
    let told = ask(&network.cache, get("v1")).await.unwrap();
    assert_eq!(told, Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(network.seen(), vec!["GET team/app v1"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_html_is_no_manifest() {
    let network = Network::new();
    network.fails(Fault::Html);
    for request in [get("v1"), head("v1")] {
        let error = ask(&network.cache, request).await.unwrap_err();
        let message = "registry.example answered with an HTML page in place of a manifest";
        assert_eq!((error.status().as_u16(), error.to_string().as_str()), (502, message));
    }
    settle().await;
    assert_eq!(network.store.list(None, 10).await.unwrap(), []);
    network.faulty.heal();
    assert_eq!(ask(&network.cache, get("v1")).await.unwrap().digest, digest("one"));
    // And it doesn't replace one either.
    network.fails(Fault::Html);
    advance(seconds(60)).await;
    assert_eq!(ask(&network.cache, get("v1")).await.unwrap().content, Some(manifest("one")));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_header_is_found_out() {
    let network = Network::new();
    let wrong = Digest::sha256(b"something else").to_string();
    network.fails(Fault::WrongDigest);
    // Nobody can see that the answer to a `HEAD` is wrong.
    assert_eq!(ask(&network.cache, head("v1")).await.unwrap().digest.to_string(), wrong);
    assert_eq!(network.seen(), ["HEAD team/app v1"]);
    for _ in 0..2 {
        let error = ask(&network.cache, get("v1")).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code().as_str()), (502, "DIGEST_INVALID"));
    }
    // What the tag was said to mean isn't there, so that it is asked for by its name.
    assert_eq!(
        network.seen(),
        [line("GET", REPOSITORY, &wrong), line("GET", REPOSITORY, "v1"), line("GET", REPOSITORY, "v1")]
    );
    settle().await;
    assert_eq!(network.store.list(None, 10).await.unwrap(), []);
    network.faulty.heal();
    assert_eq!(ask(&network.cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_tells_no_digest_costs_a_get_more() {
    let network = Network::new();
    network.fails(Fault::NoDigest);
    assert_eq!(ask(&network.cache, get("v1")).await.unwrap(), Told::full("one", "fwd=miss; ttl=60; stored"));
    assert_eq!(network.seen(), ["GET team/app v1"]);
    advance(seconds(60)).await;
    assert_eq!(ask(&network.cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
    assert_eq!(network.seen(), ["HEAD team/app v1", "GET team/app v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_head_is_asked_with_get() {
    for code in [401, 403, 405] {
        let network = Network::new();
        let refused = Fault::Status(StatusCode::from_u16(code).unwrap());
        network.faulty.inject(When::kind(Kind::Manifest).method(Method::HEAD), refused);
        assert_eq!(ask(&network.cache, head("v1")).await.unwrap(), Told::head("one", "fwd=miss; ttl=60"));
        assert_eq!(network.seen(), ["HEAD team/app v1", "GET team/app v1"], "{code}");
        let one = digest("one").to_string();
        let told = ask(&network.cache, get("v1")).await.unwrap();
        assert_eq!(told, Told::full("one", "fwd=miss; ttl=60; stored"));
        assert_eq!(network.seen(), [line("GET", REPOSITORY, &one)]);
        // It isn't tried again.
        advance(seconds(60)).await;
        assert_eq!(ask(&network.cache, get("v1")).await.unwrap(), Told::full("one", "fwd=stale; ttl=60"));
        assert_eq!(network.seen(), ["GET team/app v1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_content_is_neither_served_nor_kept() {
    let size = manifest("one").len() as u64;
    for (fault, status) in [
        (Fault::FlippedByte(40), 502),
        (Fault::CutOff(10), 503),
        (Fault::EndsEarly(size - 1), 502),
        (Fault::Stall(10), 504),
        (Fault::Gzip, 502),
        (Fault::Changed, 502),
    ] {
        let network = Network::new();
        let one = digest("one").to_string();
        network.faulty.inject(When::kind(Kind::Manifest).times(1), fault.clone());
        let error = ask(&network.cache, get(&one)).await.unwrap_err();
        assert_eq!(error.status().as_u16(), status, "{fault:?}: {error}");
        settle().await;
        assert_eq!(network.store.list(None, 10).await.unwrap(), []);
        let content: Bytes = ask(&network.cache, get(&one)).await.unwrap().content.unwrap();
        assert_eq!(content, manifest("one"));
    }
}
