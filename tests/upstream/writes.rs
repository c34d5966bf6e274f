//! Writes that are passed on: what the upstream is asked, as exact sequences, and what our client gets.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request};
use tower::ServiceExt as _;
use tower_oci::body::Body;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream, UpstreamBuilder};
use tower_oci::error::Error;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::operation::{BoxFuture, Registry};
use tower_oci::spec::digest::Digest;
use tower_oci::testing::{Faulty, Hosts};

mod content;
mod introductions;
mod operations;
mod routed;
mod sessions;

const HOST: &str = "registry.example";
const KEY: &str = "0123456789abcdef0123456789abcdef";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry in memory at [`HOST`].
#[derive(Clone)]
struct Home {
    memory: Memory,
    faulty: Faulty<OciService<Memory>>,
    hosts: Hosts,
}

impl Home {
    fn new() -> Self {
        Self::of(Memory::new())
    }

    fn of(memory: Memory) -> Self {
        let faulty = Faulty::new(OciService::new(memory.clone()));
        let hosts = Hosts::new().on(HOST, faulty.clone());
        Self { memory, faulty, hosts }
    }

    /// An instance of the proxy, with the key that all have.
    fn upstream(&self) -> UpstreamBuilder {
        upstream(&self.hosts)
    }

    fn client(&self) -> Client {
        Client::new(self.upstream().build().unwrap())
    }

    /// What was asked since the last time, with identities of uploads as `<id>`.
    fn seen(&self) -> Vec<String> {
        self.seen_with(&[])
    }

    fn seen_with(&self, headers: &[&str]) -> Vec<String> {
        let recorder = self.faulty.recorder();
        let lines = recorder.lines_with(headers);
        recorder.take();
        lines.iter().map(|line| named(line)).collect()
    }
}

fn upstream(hosts: &Hosts) -> UpstreamBuilder {
    Upstream::builder(HOST.parse().unwrap())
        .http(HttpService::new(hosts.clone()))
        .retry(RetryPolicy::new().random(|| 0.5))
        .writes(true)
        .upload_key(KEY)
}

/// A line without what differs from run to run.
fn named(line: &str) -> String {
    match line.split_once("/blobs/uploads/") {
        Some((start, rest)) if !rest.is_empty() && !rest.starts_with(['?', ' ']) => {
            let after = rest.find(['?', ' ']).map_or("", |at| &rest[at..]);
            format!("{start}/blobs/uploads/<id>{after}")
        }
        _ => line.to_owned(),
    }
}

/// A client of a proxy.
#[derive(Clone)]
struct Client(Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, http::Response<Body>> + Send + Sync>);

/// What it gets.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    fn new(registry: impl Registry) -> Self {
        let service = OciService::new(registry);
        Self(Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move { service.oneshot(request).await.unwrap_or_else(|never| match never {}) })
        }))
    }

    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = (self.0)(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.read(16 << 20).await.unwrap();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn open(&self, repository: &str) -> String {
        let got = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(got.status, 202, "{got:?}");
        got.location().to_owned()
    }

    async fn push_blob(&self, repository: &str, content: &'static str) -> Digest {
        let digest = Digest::sha256(content.as_bytes());
        let location = self.open(repository).await;
        let got = self.send("PUT", &format!("{location}?digest={digest}"), &[], streamed(content)).await;
        assert_eq!(got.status, 201, "{got:?}");
        digest
    }
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header("location").unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status, code and message of an error.
    fn error(&self) -> (u16, String, String) {
        let text = self.text();
        let inner = text.strip_prefix(r#"{"errors":[{"code":""#).and_then(|text| text.strip_suffix("\"}]}"));
        let inner = inner.unwrap_or_else(|| panic!("{self:?}"));
        let (code, message) = inner.split_once(r#"","message":""#).unwrap();
        (self.status, code.to_owned(), message.to_owned())
    }
}

fn refused(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

/// A body in frames of three bytes whose length isn't known.
fn streamed(content: &'static str) -> Body {
    let frames: Vec<_> =
        content.as_bytes().chunks(3).map(|frame| Ok::<_, Error>(Bytes::from_static(frame))).collect();
    Body::from_stream(stream::iter(frames))
}

fn manifest(more: &str) -> String {
    let descriptor = |kind: &str, content: &str| {
        let digest = Digest::sha256(content.as_bytes());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, content.len())
    };
    let config = descriptor("application/vnd.oci.image.config.v1+json", "{}");
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", "a layer of the image");
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]{more}}}"#)
}

/// A body that gives nothing for ever, after these bytes.
fn stalled(content: &'static str) -> Body {
    let first = Ok::<_, Error>(Bytes::from_static(content.as_bytes()));
    Body::from_stream(stream::iter([first]).chain(stream::pending()))
}
