//! Each switch, as a client sees it, and what our own client makes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request as HttpRequest, StatusCode, header};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::body::Body;
use crate::client::RetryPolicy;
use crate::client::transport::HttpService;
use crate::error::RetryAfter;
use crate::operation::{GetBlob, GetManifest, ListReferrers, Registry as _, Request};
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::testing::image::{File, Image};
use crate::testing::{Hosts, ServeOptions};

const REPOSITORY: &str = "demo/hello";

fn image() -> Built {
    Image::new().layer([File::new("etc/motd", "hello\n")]).build().unwrap()
}

/// The registry in memory, with an image under three tags.
fn filled(builder: RegistryBuilder) -> Faulty<OciService<Memory>> {
    let memory = Memory::builder().catalog(true).build();
    for tag in ["v1", "v2", "v3"] {
        image().push(&memory, &REPOSITORY.parse().unwrap(), &tag.parse().unwrap()).unwrap();
    }
    builder.memory(memory).service()
}

type Answer = (StatusCode, HeaderMap, Bytes);

async fn ask(registry: &Faulty<OciService<Memory>>, method: Method, path: &str, range: &str) -> Answer {
    let mut request = HttpRequest::builder().method(method).uri(format!("/v2/{REPOSITORY}/{path}"));
    if !range.is_empty() {
        request = request.header(header::RANGE, range);
    }
    let response = registry.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.read(1 << 20).await.unwrap())
}

async fn get(builder: RegistryBuilder, path: &str) -> Answer {
    ask(&filled(builder), Method::GET, path, "").await
}

fn tags(answer: &Answer) -> String {
    let list: serde_json::Value = serde_json::from_slice(&answer.2).unwrap();
    list["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn link(answer: &Answer) -> Option<&str> {
    answer.1.get(header::LINK).map(|link| link.to_str().unwrap())
}

#[tokio::test]
async fn one_line_starts_a_registry_and_one_more_fills_it() {
    let registry = Registry::start().unwrap();
    let digest = registry.push(REPOSITORY, "v1", &image()).unwrap();
    let manifest = registry.upstream().build().unwrap();
    let request = Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), "v1".parse().unwrap()));
    assert_eq!(manifest.send(request).await.unwrap().into_reply().full().unwrap().digest, digest);
    assert_eq!(registry.recorder().take(), ["GET /v2/demo/hello/manifests/v1"]);
    assert_eq!(registry.url("/v2/"), format!("http://{}/v2/", registry.host()));
    assert_eq!(registry.memory().usage().repositories, 1);
    let odd = registry.push("Demo", "v1", &image()).unwrap_err();
    assert!(odd.to_string().contains("`Demo`"), "{odd}");
    registry.stop().await;
}

#[tokio::test]
async fn it_can_stand_at_another_address() {
    let address = "127.0.0.2:0".parse().unwrap();
    let registry = Registry::builder().options(ServeOptions::new().address(address)).start().unwrap();
    assert!(registry.host().as_str().starts_with("127.0.0.2:"), "{registry:?}");
}

#[tokio::test]
async fn what_heals_is_as_poor_as_before() {
    let registry = Registry::builder().without_digests().start().unwrap();
    registry.push(REPOSITORY, "v1", &image()).unwrap();
    let upstream = registry.upstream().retry(RetryPolicy::never()).build().unwrap();
    let pull = || {
        let request = Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), "v1".parse().unwrap()));
        upstream.send(request)
    };
    registry.inject(When::any(), Fault::Status(StatusCode::BAD_GATEWAY));
    assert_eq!(pull().await.unwrap_err().status(), 502);
    registry.heal();
    assert_eq!(pull().await.unwrap().into_reply().full().unwrap().digest, *image().digest());
    let response = registry
        .faulty
        .clone()
        .oneshot(HttpRequest::get(format!("/v2/{REPOSITORY}/manifests/v1")).body(Body::empty()).unwrap());
    assert!(!response.await.unwrap().headers().contains_key("docker-content-digest"));
}

#[tokio::test]
async fn lists_are_as_poor_as_they_are_told_to_be() {
    let pages = Registry::builder().page_size(2);
    let first = get(pages.clone(), "tags/list?n=100").await;
    let next = "</v2/demo/hello/tags/list?n=2&last=v2>; rel=\"next\"";
    assert_eq!((tags(&first).as_str(), link(&first)), ("v1 v2", Some(next)));
    let second = get(pages.clone(), "tags/list?n=2&last=v2").await;
    assert_eq!((tags(&second).as_str(), link(&second)), ("v3", None));
    let first = get(pages.without_links(), "tags/list").await;
    assert_eq!((tags(&first).as_str(), link(&first)), ("v1 v2", None));
    let whole = get(Registry::builder().without_paging(), "tags/list?n=1&last=v2").await;
    assert_eq!((tags(&whole).as_str(), link(&whole)), ("v1 v2 v3", None));
}

#[tokio::test]
async fn heads_digests_and_ranges_are_missing_where_told() {
    let blob = format!("blobs/{}", image().blobs()[1].0.digest());
    let size = image().blobs()[1].1.len();
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED] {
        let registry = filled(Registry::builder().without_head(status));
        for path in ["manifests/v1", blob.as_str()] {
            assert_eq!(ask(&registry, Method::HEAD, path, "").await.0, status);
            assert_eq!(ask(&registry, Method::GET, path, "").await.0, StatusCode::OK);
        }
    }
    for (builder, is_there) in [(Registry::builder(), true), (Registry::builder().without_digests(), false)] {
        for path in ["manifests/v1", blob.as_str()] {
            let (status, headers, _) = get(builder.clone(), path).await;
            let found = (status, headers.contains_key("docker-content-digest"));
            assert_eq!(found, (StatusCode::OK, is_there), "{path}");
        }
    }
    let (status, _, part) = ask(&filled(Registry::builder()), Method::GET, &blob, "bytes=1-3").await;
    assert_eq!((status, part.len()), (StatusCode::PARTIAL_CONTENT, 3));
    let registry = filled(Registry::builder().without_ranges());
    let (status, headers, whole) = ask(&registry, Method::GET, &blob, "bytes=1-3").await;
    assert_eq!((status, whole.len()), (StatusCode::OK, size));
    assert!(!headers.contains_key(header::CONTENT_RANGE));
}

#[tokio::test]
async fn blobs_come_in_one_piece_where_chunks_are_refused() {
    let registry = filled(Registry::builder().without_chunks());
    let (status, headers, _) = ask(&registry, Method::POST, "blobs/uploads/", "").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let location = headers[header::LOCATION].to_str().unwrap().to_owned();
    let send = |method: Method, uri: String| {
        let request = HttpRequest::builder().method(method).uri(uri).body(Body::from("hello")).unwrap();
        registry.clone().oneshot(request)
    };
    let chunk = send(Method::PATCH, location.clone()).await.unwrap();
    assert_eq!(chunk.status(), StatusCode::METHOD_NOT_ALLOWED);
    let join = if location.contains('?') { '&' } else { '?' };
    let finish = format!("{location}{join}digest={}", Digest::sha256(b"hello"));
    assert_eq!(send(Method::PUT, finish).await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_rate_limit_tells_when_to_come_again_or_does_not() {
    let seconds = RetryAfter::Delay(Duration::from_secs(7));
    for (retry_after, told) in [(Some(seconds), Some("7")), (None, None)] {
        let registry = filled(Registry::builder().rate_limited(When::any().skip(1), retry_after));
        assert_eq!(ask(&registry, Method::GET, "tags/list", "").await.0, StatusCode::OK);
        for _ in 0..2 {
            let (status, headers, _) = ask(&registry, Method::GET, "tags/list", "").await;
            let found = headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!((status, found), (StatusCode::TOO_MANY_REQUESTS, told));
        }
    }
}

/// Our client, and the registry in memory that it goes to.
fn client(builder: RegistryBuilder) -> (Upstream, Faulty<OciService<Memory>>) {
    let registry = filled(builder);
    let hosts = Hosts::new().on("registry.example", registry.clone());
    let upstream = Upstream::builder("registry.example".parse().unwrap()).http(HttpService::new(hosts));
    (upstream.retry(RetryPolicy::new().random(|| 0.5)).build().unwrap(), registry)
}

fn manifest(reference: &str) -> Request<GetManifest> {
    Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), reference.parse().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn our_client_waits_for_a_slow_registry_and_a_limited_one() {
    let (upstream, _) = client(Registry::builder().slow(Duration::from_secs(20)));
    let started = Instant::now();
    upstream.send(manifest("v1")).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(20));

    let limit = When::any().every(2);
    let seconds = RetryAfter::Delay(Duration::from_secs(7));
    let (upstream, registry) = client(Registry::builder().rate_limited(limit, Some(seconds)));
    let started = Instant::now();
    for _ in 0..2 {
        upstream.send(manifest("v1")).await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::from_secs(7));
    assert_eq!(registry.recorder().lines(), ["GET /v2/demo/hello/manifests/v1"; 3]);
}

#[tokio::test(start_paused = true)]
async fn our_client_asks_with_get_where_head_is_refused() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED] {
        let (upstream, registry) = client(Registry::builder().without_head(status));
        let mut operation = GetManifest::new(REPOSITORY.parse().unwrap(), "v1".parse().unwrap());
        operation.head = true;
        let reply = upstream.send(Request::new(operation)).await.unwrap().into_reply().full().unwrap();
        assert_eq!(reply.digest, *image().digest());
        let line = |method: &str| format!("{method} /v2/demo/hello/manifests/v1");
        assert_eq!(registry.recorder().take(), [line("HEAD"), line("GET")], "{status}");

        let digest = *image().blobs()[1].0.digest();
        let mut operation = GetBlob::new(REPOSITORY.parse().unwrap(), digest);
        operation.head = true;
        let reply = upstream.send(Request::new(operation)).await.unwrap().into_reply();
        assert_eq!(reply.size, Some(image().blobs()[1].1.len() as u64));
        let line = |method: &str| format!("{method} /v2/demo/hello/blobs/{digest}");
        assert_eq!(registry.recorder().take(), [line("HEAD"), line("GET")], "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn our_client_reads_the_tag_where_there_are_no_referrers() {
    let memory = Memory::new();
    let repository = REPOSITORY.parse().unwrap();
    let subject = image().push(&memory, &repository, &"v1".parse().unwrap()).unwrap();
    let entry = image().descriptor().with_member("artifactType", Raw::of("a/sbom"));
    let mut index = Object::new();
    index.set("schemaVersion", Raw::of(&2));
    index.set("mediaType", Raw::of(&MediaType::OCI_INDEX));
    index.set("manifests", Raw::list([&entry.object().to_raw()]));
    let tag = format!("sha256-{}", subject.hex()).parse().unwrap();
    let index = index.to_raw().bytes().clone();
    memory.push_manifest(&repository, &tag, MediaType::OCI_INDEX, index).unwrap();

    let registry = Registry::builder().memory(memory).without_referrers().service();
    let hosts = Hosts::new().on("registry.example", registry.clone());
    let upstream = Upstream::builder("registry.example".parse().unwrap()).http(HttpService::new(hosts));
    let list = Request::new(ListReferrers::new(repository, subject));
    let found = upstream.build().unwrap().send(list).await.unwrap().into_reply();
    assert_eq!(found.manifests.len(), 1);
    let lines = [
        format!("GET /v2/demo/hello/referrers/{subject}"),
        format!("GET /v2/demo/hello/manifests/sha256-{}", subject.hex()),
    ];
    assert_eq!(registry.recorder().lines(), lines);
}
