use std::convert::Infallible;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use tower_oci::body::Body;
use tower_oci::error::{Error, RetryAfter};
use tower_oci::layer::rewrite::{DerivedFrom, Rewrite};
use tower_oci::operation::{
    self, BoxRegistry, Conditional, GetManifest, Handlers, ListTags, Manifest, Origin, Tags,
};
use tower_oci::rt::Clock;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::wave::{Endpoints, Wave, WaveBuilder};

/// The moment at which the tests' clocks start: 2026-01-01T00:00:00Z, and a bit.
pub(crate) const START: u64 = 1_767_225_600;

/// A service with a clock that the test moves, over an image stack of functions.
pub(crate) struct Service {
    pub(crate) wave: Wave,
    pub(crate) images: BoxRegistry,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    seconds: Arc<AtomicU64>,
}

/// A look-up or a pull as the image stack below got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) what: String,
    pub(crate) origin: String,
    pub(crate) tag: Option<String>,
    pub(crate) pinned: bool,
    pub(crate) plan: Digest,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with(|wave| wave)
    }

    pub(crate) fn with(settings: impl FnOnce(WaveBuilder) -> WaveBuilder) -> Self {
        Self::at("https://wave.test:8443", settings)
    }

    pub(crate) fn at(server_url: &str, settings: impl FnOnce(WaveBuilder) -> WaveBuilder) -> Self {
        let seconds = Arc::new(AtomicU64::new(START));
        let read = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || {
            SystemTime::UNIX_EPOCH + Duration::from_millis(read.load(Ordering::Relaxed) * 1000 + 250)
        });
        let wave = settings(Wave::builder(server_url).clock(clock)).build().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let images = BoxRegistry::new(wave.images().layer(image_stack(&seen)));
        Self { wave, images, seen, seconds }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn endpoints(
        &self,
    ) -> Endpoints<
        impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + use<>,
    > {
        self.wave.endpoints(self.images.clone()).layer(tower::service_fn(
            |request: Request<Body>| async move {
                Ok(Response::new(Body::from(format!("passed on: {}", request.uri().path()))))
            },
        ))
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let (parts, body) = self.endpoints().oneshot(request).await.unwrap().into_parts();
        let body = body.read(1 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.into()).unwrap() }
    }

    pub(crate) async fn post(&self, body: impl Into<String>) -> Answer {
        self.ask(Method::POST, "/container-token", body.into()).await
    }

    /// Posts what must succeed.
    pub(crate) async fn submit(&self, body: &str) -> Submitted {
        let answer = self.post(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn assert_failure(&self, status: u16, message: &str) {
        let expected = serde_json::json!({ "message": message }).to_string();
        assert_eq!((self.status.as_u16(), self.body.as_str()), (status, expected.as_str()));
        assert_eq!(self.headers["content-type"], "application/json");
    }

    #[track_caller]
    pub(crate) fn message(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        value["message"].as_str().unwrap().to_owned()
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Submitted {
    pub(crate) container_token: String,
    pub(crate) target_image: String,
    pub(crate) expiration: String,
    pub(crate) container_image: String,
    pub(crate) target_digest: Digest,
    pub(crate) freeze: bool,
    pub(crate) succeeded: bool,
}

/// What stands below the wave layer: a rewrite that changes digests only, over registries that fail by name.
fn image_stack(seen: &Arc<Mutex<Vec<Seen>>>) -> Handlers {
    let (manifests, tags) = (Arc::clone(seen), Arc::clone(seen));
    Handlers::new()
        .on(move |request: operation::Request<GetManifest>| {
            let answer = manifest(&manifests, &request);
            async move { answer }
        })
        .on(move |request: operation::Request<ListTags>| {
            let repository = request.operation().repository.clone();
            note(&tags, format!("tags {repository}"), request.extensions());
            async move { Ok(Tags::new(repository, vec!["latest".parse()?], None)) }
        })
}

fn manifest(
    seen: &Mutex<Vec<Seen>>,
    request: &operation::Request<GetManifest>,
) -> Result<operation::Response<Conditional<Manifest>>, Error> {
    let GetManifest { repository, reference, head, .. } = request.operation();
    let method = if *head { "HEAD" } else { "GET" };
    note(seen, format!("{method} {repository} {reference}"), request.extensions());
    match repository.as_str() {
        "library/missing" => {
            return Err(Error::manifest_unknown("docker.io says: manifest unknown"));
        }
        "library/denied" => return Err(Error::denied("docker.io says: pull access denied")),
        "library/schema1" => return Err(Error::unsupported("Docker schema 1 can't be rewritten")),
        "library/narrow" => {
            let message = "no image for linux/amd64: there are linux/arm64, linux/s390x";
            return Err(Error::invalid(tower_oci::error::ErrorCode::ManifestInvalid, message));
        }
        "library/limited" => {
            let error = Error::new(
                tower_oci::error::ErrorKind::TooManyRequests,
                tower_oci::error::ErrorCode::TooManyRequests,
                "docker.io says: pull rate limit reached",
            );
            return Err(error
                .with_retry_after(RetryAfter::Delay(Duration::from_secs(77)))
                .with_status(StatusCode::TOO_MANY_REQUESTS));
        }
        "library/down" => return Err(Error::unavailable("docker.io can't be reached")),
        "library/odd" => return Err(Error::bad_gateway("docker.io answered with an HTML page")),
        "library/slow" => return Err(Error::timed_out("docker.io took too long")),
        _ => {}
    }
    let plan = *request.extensions().get::<Rewrite>().expect("a plan is attached").plan().digest();
    let source = match reference.digest() {
        Some(digest) => *digest,
        None => Digest::sha256(format!("{repository}:{reference}").as_bytes()),
    };
    let derived = Digest::sha256(format!("{source} {plan}").as_bytes());
    let manifest = Manifest::head(MediaType::OCI_MANIFEST, derived, 400);
    let mut response = operation::Response::new(Conditional::Full(manifest));
    response.extensions_mut().insert(DerivedFrom::new(source));
    Ok(response)
}

fn note(seen: &Mutex<Vec<Seen>>, what: String, extensions: &http::Extensions) {
    let rewrite = extensions.get::<Rewrite>().expect("a plan is attached");
    let origin = extensions.get::<Origin>().expect("an origin is attached");
    seen.lock().unwrap().push(Seen {
        what,
        origin: origin.0.to_string(),
        tag: rewrite.pin().and_then(|pin| pin.tag.as_ref()).map(ToString::to_string),
        pinned: rewrite.pin().is_some(),
        plan: *rewrite.plan().digest(),
    });
}

/// A tar with one file.
pub(crate) fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content).unwrap();
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn base64(content: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(content)
}

/// A layer of a request, right in every field.
pub(crate) struct Layer {
    pub(crate) blob: Bytes,
    pub(crate) digest: Digest,
    pub(crate) diff_id: Digest,
}

impl Layer {
    pub(crate) fn new() -> Self {
        let tar = tar("etc/injected", b"hello");
        let blob = Bytes::from(gzip(&tar));
        Self { digest: Digest::sha256(&blob), diff_id: Digest::sha256(&tar), blob }
    }

    pub(crate) fn data(&self) -> String {
        format!("data:{}", base64(&self.blob))
    }

    pub(crate) fn json(&self) -> String {
        format!(
            r#"{{"location":"{}","gzipDigest":"{}","gzipSize":{},"tarDigest":"{}"}}"#,
            self.data(),
            self.digest,
            self.blob.len(),
            self.diff_id
        )
    }

    /// A request with this layer in one of its forms.
    pub(crate) fn request(layer: &str) -> String {
        format!(r#"{{"containerImage":"busybox","containerConfig":{{"layers":[{layer}]}}}}"#)
    }
}
