//! A registry in memory behind both layers, and requests to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_oci::body::Body;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::auth::{Auth, AuthHttp, Authenticate, Passwords, Tokens};
use tower_oci::layer::authorize::{Authorize, AuthorizeLayer, Rules, Who};
use tower_oci::operation::Access;
use tower_oci::rt::Clock;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;

/// May pull, push and delete in `team`.
pub(crate) const WRITER: (&str, &str) = ("ann", "correct horse");
/// May pull from `team`, and list repositories.
pub(crate) const READER: (&str, &str) = ("bob", "trombone");
/// Has a name, and may do no more than anybody.
pub(crate) const STRANGER: (&str, &str) = ("carl", "hunter22");

pub(crate) const KEY: &str = "a key of 32 bytes for all tests..";
pub(crate) const MANIFEST: &str = r#"{"schemaVersion":2,"manifests":[]}"#;
pub(crate) const BLOB: &str = "blob";

pub(crate) type Edge = AuthHttp<OciService<Authenticate<Authorize<Memory>>>>;

/// The whole stack, and its clock.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) service: Edge,
    now: Arc<AtomicU64>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

pub(crate) fn passwords() -> Passwords {
    let users = [WRITER, READER, STRANGER].into_iter();
    users.fold(Passwords::new(), |users, (name, password)| users.user(name, password))
}

pub(crate) fn tokens() -> Tokens {
    Tokens::new("https://registry.example/token").key(KEY)
}

impl App {
    pub(crate) fn basic(anonymous: bool) -> Self {
        Self::new(None, anonymous)
    }

    pub(crate) fn bearer(anonymous: bool) -> Self {
        Self::new(Some(tokens()), anonymous)
    }

    pub(crate) fn new(tokens: Option<Tokens>, anonymous: bool) -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000));
        let mut auth = Auth::builder(passwords()).realm("the back room").anonymous(anonymous);
        if let Some(tokens) = tokens {
            let now = Arc::clone(&now);
            auth = auth.tokens(tokens.clock(Clock::from_fn(move || {
                SystemTime::UNIX_EPOCH + Duration::from_secs(now.load(Ordering::SeqCst))
            })));
        }
        Self { service: stack(&auth.build().unwrap()), now }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sends a request without a body; `authorization` is a whole header value.
    pub(crate) async fn ask(&self, method: &str, path: &str, authorization: Option<&str>) -> Answer {
        self.send(method, path, authorization, Body::empty()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if method == "PUT" && path.contains("/manifests/") {
            request = request.header(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json");
        }
        if method == "POST" && !path.starts_with("/v2") {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        read(self.service.clone().oneshot(request.body(body).unwrap()).await.unwrap()).await
    }

    /// A bearer token for these scopes, as a header's value.
    pub(crate) async fn token(&self, who: Option<(&str, &str)>, scopes: &[&str]) -> String {
        let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let path = format!("/token?service=registry.example{scopes}");
        let answer = self.ask("GET", &path, who.map(basic).as_deref()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        format!("Bearer {}", answer.json()["token"].as_str().unwrap())
    }
}

/// What `team/app` and `public/app` hold is the same; `secret/app` is there too.
pub(crate) fn stack(auth: &Auth) -> Edge {
    let memory = Memory::builder().catalog(true).build();
    for name in ["team/app", "public/app", "secret/app"] {
        let name = name.parse().unwrap();
        memory.push_blob(&name, MediaType::OCI_CONFIG, BLOB).unwrap();
        memory.push_manifest(&name, &"v1".parse().unwrap(), MediaType::OCI_INDEX, MANIFEST).unwrap();
    }
    let team = || "team/*".parse().unwrap();
    let rules = Rules::new()
        .allow(Who::Everybody, Access::Pull, "public/*".parse().unwrap())
        .allow(WRITER.0, Access::Push, team())
        .allow(WRITER.0, Access::Delete, team())
        .allow(READER.0, Access::Pull, team())
        .allow_catalog(READER.0);
    let registry =
        ServiceBuilder::new().layer(auth.layer()).layer(AuthorizeLayer::new(rules)).service(memory);
    auth.http_layer().layer(OciService::new(registry))
}

impl Answer {
    pub(crate) fn challenge(&self) -> Option<&str> {
        let mut values = self.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "one challenge");
        value
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// `<code>: <message>` of the body.
    pub(crate) fn error(&self) -> String {
        let error = &self.json()["errors"][0];
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body: Bytes = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub(crate) fn basic((name, password): (&str, &str)) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// Every endpoint, with the access that it takes, in one repository where it is in one.
pub(crate) fn every(repository: &str) -> Vec<(&'static str, String, Access)> {
    let digest = Digest::sha256(BLOB.as_bytes());
    let path = |rest: &str| format!("/v2/{repository}/{rest}");
    vec![
        ("GET", "/v2/".to_owned(), Access::Ping),
        ("HEAD", "/v2/".to_owned(), Access::Ping),
        ("GET", "/v2/_catalog".to_owned(), Access::Catalog),
        ("GET", path("manifests/v1"), Access::Pull),
        ("HEAD", path("manifests/v1"), Access::Pull),
        ("GET", path(&format!("blobs/{digest}")), Access::Pull),
        ("HEAD", path(&format!("blobs/{digest}")), Access::Pull),
        ("GET", path("tags/list"), Access::Pull),
        ("GET", path(&format!("referrers/{digest}")), Access::Pull),
        ("PUT", path("manifests/v2"), Access::Push),
        ("POST", path("blobs/uploads/"), Access::Push),
        ("PATCH", path("blobs/uploads/1f"), Access::Push),
        ("PUT", path(&format!("blobs/uploads/1f?digest={digest}")), Access::Push),
        ("GET", path("blobs/uploads/1f"), Access::Push),
        ("DELETE", path("blobs/uploads/1f"), Access::Push),
        ("DELETE", path(&format!("blobs/{digest}")), Access::Delete),
        ("DELETE", path("manifests/v1"), Access::Delete),
    ]
}

/// The body that belongs to a request of [`every`].
pub(crate) fn body(method: &str, path: &str) -> Body {
    if method == "PUT" && path.contains("/manifests/") { Body::from(MANIFEST) } else { Body::empty() }
}
