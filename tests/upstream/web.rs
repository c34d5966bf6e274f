//! The registries of a test: a service that answers by a script, and writes down what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::service_fn;
use tower_oci::body::Body;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream, UpstreamBuilder};
use tower_oci::error::Error;
use tower_oci::operation::{Blob, Conditional, GetBlob, GetManifest, Manifest, Registry as _, Request};
use tower_oci::spec::digest::Digest;

pub(crate) const HOST: &str = "registry.example";
pub(crate) const REPOSITORY: &str = "team/app";
pub(crate) const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const BLOB: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

pub(crate) fn manifest_digest() -> Digest {
    Digest::sha256(MANIFEST.as_bytes())
}

pub(crate) fn blob_digest() -> Digest {
    Digest::sha256(BLOB.as_bytes())
}

/// One request as a script sees it.
pub(crate) struct Call {
    /// Method and URI: `GET https://registry.example/v2/`.
    pub(crate) line: String,
    /// How often the same line was asked before.
    pub(crate) nth: usize,
    pub(crate) headers: HeaderMap,
}

impl Call {
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.header(header::AUTHORIZATION)
    }
}

/// What a script answers.
pub(crate) enum Answer {
    Response(http::Response<Body>),
    Failure(Error),
    Never,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        Self::Response(response)
    }

    /// 200 with a whole content and its length.
    pub(crate) fn content(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let length = content.len();
        Self::status(200).body(streamed(content)).header("content-length", &length.to_string())
    }

    pub(crate) fn json(status: u16, text: &str) -> Self {
        let length = text.len().to_string();
        let answer = Self::status(status).body(Body::from(text.to_owned()));
        answer.header("content-type", "application/json").header("content-length", &length)
    }

    pub(crate) fn manifest() -> Self {
        let digest = manifest_digest().to_string();
        Self::content(MANIFEST).header("content-type", MANIFEST_TYPE).header("docker-content-digest", &digest)
    }

    pub(crate) fn manifest_head() -> Self {
        Self::manifest().body(Body::empty())
    }

    pub(crate) fn token(token: &str, expires_in: u32) -> Self {
        Self::json(200, &format!(r#"{{"token":"{token}","expires_in":{expires_in}}}"#))
    }

    /// 401 with a challenge.
    pub(crate) fn challenge(challenge: &str) -> Self {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Self::json(401, body).header("www-authenticate", challenge)
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::status(307).header("location", location)
    }

    /// A part of a content.
    pub(crate) fn part(content: &str, first: usize, last: usize) -> Self {
        let size = content.len();
        let part = Bytes::from(content[first..=last].to_owned());
        Self::content(part).to(206).header("content-range", &format!("bytes {first}-{last}/{size}"))
    }

    pub(crate) fn to(mut self, status: u16) -> Self {
        *self.response().status_mut() = StatusCode::from_u16(status).unwrap();
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        *self.response().body_mut() = body;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.response().headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.response().headers_mut().remove(name).unwrap();
        self
    }

    fn response(&mut self) -> &mut http::Response<Body> {
        match self {
            Self::Response(response) => response,
            _ => panic!("no response"),
        }
    }
}

/// A body in frames of seven bytes, as from a connection.
pub(crate) fn streamed(content: impl Into<Bytes>) -> Body {
    let content = content.into();
    let frames: Vec<_> =
        content.chunks(7).map(|frame| Ok::<_, Error>(Bytes::copy_from_slice(frame))).collect();
    Body::from_stream(stream::iter(frames))
}

/// The first bytes of a content, and then an error, as from a connection that breaks.
pub(crate) fn cut(content: &str, after: usize) -> Body {
    let error = Error::unavailable("the connection broke");
    let first = Bytes::from(content[..after].to_owned());
    Body::from_stream(stream::iter([Ok(first), Err(error)]))
}

/// The first bytes of a content, and then nothing for ever.
pub(crate) fn stalled(content: &str, after: usize) -> Body {
    let first = Ok::<_, Error>(Bytes::from(content[..after].to_owned()));
    Body::from_stream(stream::iter([first]).chain(stream::pending()))
}

type Script = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// All registries and token services of a test.
#[derive(Clone)]
pub(crate) struct Web {
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Web {
    pub(crate) fn new(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), seen: Arc::default(), counts: Arc::default() }
    }

    /// What was asked since the last time: `<method> <uri> [<Authorization>] [<Range>]`, with `~` in front of what went
    /// through the service for strangers.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The upstream [`HOST`], without jitter.
    pub(crate) fn upstream(&self) -> UpstreamBuilder {
        self.upstream_at(HOST)
    }

    pub(crate) fn upstream_at(&self, host: &str) -> UpstreamBuilder {
        Upstream::builder(host.parse().unwrap())
            .http(self.service(""))
            .http_elsewhere(self.service("~"))
            .retry(RetryPolicy::new().random(|| 0.5))
    }

    pub(crate) fn service(&self, mark: &'static str) -> HttpService {
        let web = self.clone();
        HttpService::new(service_fn(move |request: http::Request<Body>| {
            let web = web.clone();
            async move { web.answer(mark, request).await }
        }))
    }

    async fn answer(&self, mark: &str, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let line = format!("{} {}", parts.method, parts.uri);
        let mut seen = format!("{mark}{line}");
        for name in [header::AUTHORIZATION, header::COOKIE, header::RANGE] {
            for value in parts.headers.get_all(name) {
                seen.push_str(&format!(" [{}]", value.to_str().unwrap()));
            }
        }
        let body = body.collect().await.unwrap().to_bytes();
        if !body.is_empty() {
            seen.push_str(&format!(" {}", std::str::from_utf8(&body).unwrap()));
        }
        self.seen.lock().unwrap().push(seen);
        let nth = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(line.clone()).or_default();
            *count += 1;
            *count - 1
        };
        match (self.script)(&Call { line, nth, headers: parts.headers }) {
            // The transport's idle time-out.
            Answer::Response(response) => Ok(response.map(|body| body.idle_timeout(Duration::from_secs(60)))),
            Answer::Failure(error) => Err(error),
            Answer::Never => std::future::pending().await,
        }
    }
}

/// A registry that has [`MANIFEST`] and [`BLOB`] and asks nobody for anything.
pub(crate) fn open_registry(call: &Call) -> Answer {
    let (method, uri) = call.line.split_once(' ').unwrap();
    let path = uri.strip_prefix("https://registry.example/v2/").unwrap_or_default();
    let manifest = [format!("team/app/manifests/{}", manifest_digest()), "team/app/manifests/v1".to_owned()];
    match (method, path) {
        ("GET", "") => Answer::json(200, "{}"),
        ("GET", path) if manifest.iter().any(|known| known == path) => Answer::manifest(),
        ("HEAD", path) if manifest.iter().any(|known| known == path) => Answer::manifest_head(),
        ("GET", path) if path == format!("team/app/blobs/{}", blob_digest()) => Answer::content(BLOB),
        ("HEAD", path) if path == format!("team/app/blobs/{}", blob_digest()) => {
            Answer::content(BLOB).body(Body::empty())
        }
        _ => {
            Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#)
        }
    }
}

pub(crate) fn manifest_request(reference: &str) -> GetManifest {
    GetManifest::new(REPOSITORY.parse().unwrap(), reference.parse().unwrap())
}

pub(crate) async fn pull(upstream: &Upstream, reference: &str) -> Result<Manifest, Error> {
    manifest_of(upstream, manifest_request(reference)).await
}

pub(crate) async fn head(upstream: &Upstream, reference: &str) -> Result<Manifest, Error> {
    let head = GetManifest::head(REPOSITORY.parse().unwrap(), reference.parse().unwrap());
    manifest_of(upstream, head).await
}

async fn manifest_of(upstream: &Upstream, operation: GetManifest) -> Result<Manifest, Error> {
    match upstream.send(Request::new(operation)).await?.into_reply() {
        Conditional::Full(manifest) => Ok(manifest),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn get_blob(upstream: &Upstream) -> Result<Blob, Error> {
    let operation = GetBlob::new(REPOSITORY.parse().unwrap(), blob_digest());
    Ok(upstream.send(Request::new(operation)).await?.into_reply())
}

/// The bytes of a blob that a client gets, and how its body ends.
pub(crate) async fn drained(upstream: &Upstream) -> (String, Result<(), Error>) {
    drain(get_blob(upstream).await.unwrap().into_whole().unwrap()).await
}

pub(crate) async fn drain(mut body: Body) -> (String, Result<(), Error>) {
    let mut all = String::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => all.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap()),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

/// What a client is told: status, code, message.
pub(crate) fn told<T>(result: Result<T, Error>) -> (u16, &'static str, String) {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => (error.status().as_u16(), error.code().as_str(), error.to_string()),
    }
}

/// What a client is told, to compare with.
pub(crate) fn error(status: u16, code: &'static str, message: &str) -> (u16, &'static str, String) {
    (status, code, message.to_owned())
}

/// The line of a request for the tag `v1`.
pub(crate) const GET_V1: &str = "GET https://registry.example/v2/team/app/manifests/v1";
pub(crate) const HEAD_V1: &str = "HEAD https://registry.example/v2/team/app/manifests/v1";

pub(crate) fn get_blob_line() -> String {
    format!("GET https://registry.example/v2/team/app/blobs/{}", blob_digest())
}
