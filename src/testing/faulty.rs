use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{StatusCode, Uri, request};
use http_body::Body as HttpBody;
use tower::ServiceExt as _;
use tower_service::Service;

use super::damage::{Damage, Damaged};
use super::fault::Fault;
use super::recorder::Recorder;
use super::when::When;
use crate::body::Body;
use crate::error::{BoxError, Error, RetryAfter};
use crate::operation::BoxFuture;
use crate::spec::digest::Digest;

/// The largest body that is compressed or otherwise read in whole, in bytes.
const MAX_READ: usize = 64 << 20;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An HTTP service that records each request, and then fails as it was told to, or passes it on. See
/// [the module](crate::testing) for an example.
///
/// Clones share the faults and the record. An error of the inner service stands for a connection that fails, and is
/// passed on.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    faults: Arc<Mutex<Vec<(When, Fault)>>>,
    recorder: Recorder,
}

impl<S> Faulty<S> {
    /// A service without faults around `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Arc::default(), recorder: Recorder::new() }
    }

    /// Fails in this way from now on, whenever `when` says so. What was told first is done first.
    pub fn inject(&self, when: When, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((when, fault));
    }

    /// Fails no more.
    pub fn heal(&self) {
        self.replace(Vec::new());
    }

    /// Fails in these ways from now on, and in no others.
    pub(super) fn replace(&self, faults: Vec<(When, Fault)>) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// What has arrived.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn faults_for(&self, parts: &request::Parts) -> Vec<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let applying =
            faults.iter_mut().filter_map(|(when, fault)| when.applies(parts).then(|| fault.clone()));
        applying.collect()
    }
}

impl<S> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

impl<S, B, C> Service<http::Request<B>> for Faulty<S>
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        self.recorder.record(&parts);
        let faults = self.faults_for(&parts);
        let inner = self.inner.clone();
        Box::pin(async move {
            for fault in &faults {
                if let Some(answer) = instead(fault, &parts).await {
                    return answer;
                }
                before(fault, &mut parts);
            }
            let request = http::Request::from_parts(parts, Body::new(body));
            let response = inner.oneshot(request).await.map_err(|error| Error::from(error.into()))?;
            let mut response = response.map(Body::new);
            for fault in &faults {
                response = after(fault, response).await?;
            }
            Ok(response)
        })
    }
}

/// What is answered without asking the inner service.
async fn instead(fault: &Fault, parts: &request::Parts) -> Option<Result<http::Response<Body>, Error>> {
    let mut headers = Vec::new();
    let (status, body) = match fault {
        Fault::Close => return Some(Err(Error::unavailable("the connection was closed before any answer"))),
        Fault::Hang => std::future::pending().await,
        Fault::Delay(delay) => {
            tokio::time::sleep(*delay).await;
            return None;
        }
        Fault::Status(status) => (*status, spec_error("UNSUPPORTED", "told to fail")),
        Fault::TooManyRequests(retry_after) => {
            headers.extend(retry_after.and_then(written).map(|value| (header::RETRY_AFTER, value)));
            (StatusCode::TOO_MANY_REQUESTS, spec_error("TOOMANYREQUESTS", "slow down"))
        }
        Fault::Realm(realm) => {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"testing\"");
            headers.push((header::WWW_AUTHENTICATE, value(&challenge)));
            (StatusCode::UNAUTHORIZED, spec_error("UNAUTHORIZED", "authentication required"))
        }
        Fault::RedirectOrigin(origin) => {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            headers.push((header::LOCATION, value(&format!("{}{target}", origin.trim_end_matches('/')))));
            (StatusCode::TEMPORARY_REDIRECT, Bytes::new())
        }
        Fault::RedirectLoop => {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            headers.push((header::LOCATION, value(target)));
            (StatusCode::TEMPORARY_REDIRECT, Bytes::new())
        }
        Fault::Html => {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")));
            let page = "<!doctype html><title>Sign in</title><p>This network wants you to sign in.</p>";
            (StatusCode::OK, Bytes::from_static(page.as_bytes()))
        }
        Fault::ExpiredAsForbidden => {
            let message = "Your authorization token has expired. Reauthenticate and try again.";
            (StatusCode::FORBIDDEN, spec_error("DENIED", message))
        }
        Fault::NoSuchApi => (StatusCode::NOT_FOUND, Bytes::from_static(b"404 page not found\n")),
        Fault::Answer(status, given, body) => {
            headers.clone_from(given);
            (*status, body.clone())
        }
        _ => return None,
    };
    let is_head = parts.method == http::Method::HEAD;
    let mut response = http::Response::new(Body::from(if is_head { Bytes::new() } else { body }));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    Some(Ok(response))
}

fn before(fault: &Fault, parts: &mut request::Parts) {
    match fault {
        Fault::RangeIgnored => {
            parts.headers.remove(header::RANGE);
        }
        Fault::PagingIgnored => requery(parts, |name| !matches!(name, "n" | "last"), None),
        Fault::PageCap(cap) => {
            let query = parts.uri.query().unwrap_or_default();
            let asked = query.split('&').find_map(|pair| pair.strip_prefix("n=")?.parse().ok());
            let n = asked.map_or(*cap, |asked: u64| asked.min(*cap));
            requery(parts, |name| name != "n", Some(format!("n={n}")));
        }
        _ => {}
    }
}

/// Leaves out parameters, and adds one.
fn requery(parts: &mut request::Parts, keep: impl Fn(&str) -> bool, more: Option<String>) {
    let query = parts.uri.query().unwrap_or_default();
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && keep(&name(pair))).map(str::to_owned);
    let query = kept.chain(more).collect::<Vec<_>>().join("&");
    let path = parts.uri.path().to_owned();
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(uri) {
        parts.uri = uri;
    }
}

async fn after(fault: &Fault, response: http::Response<Body>) -> Result<http::Response<Body>, Error> {
    let (mut parts, mut body) = response.into_parts();
    let headers = &mut parts.headers;
    match fault {
        Fault::ContentRange(range) => {
            headers.insert(header::CONTENT_RANGE, value(range));
        }
        Fault::NoContentLength => {
            headers.remove(header::CONTENT_LENGTH);
            body = Damaged::apply(body, Damage::Unsized);
        }
        Fault::NoDigest => {
            headers.remove(DIGEST);
        }
        Fault::WrongDigest => {
            headers.insert(DIGEST, value(&Digest::sha256(b"something else").to_string()));
        }
        Fault::PagingIgnored | Fault::NoLink => {
            headers.remove(header::LINK);
        }
        Fault::Header(name, value) => {
            headers.insert(name, value.clone());
        }
        Fault::NoHeader(name) => {
            headers.remove(name);
        }
        Fault::FlippedByte(at) => body = Damaged::apply(body, Damage::Flip(*at)),
        Fault::Changed => {
            headers.insert(header::ETAG, HeaderValue::from_static("\"changed\""));
            body = Damaged::apply(body, Damage::Invert);
        }
        Fault::CutOff(at) => body = Damaged::apply(body, Damage::CutOff(*at)),
        Fault::EndsEarly(at) => {
            headers.remove(header::CONTENT_LENGTH);
            body = Damaged::apply(body, Damage::EndsEarly(*at));
        }
        Fault::Stall(at) => body = Damaged::apply(body, Damage::Stall(*at)),
        Fault::Trickle(bytes, every) => body = Damaged::apply(body, Damage::Trickle(*bytes, *every)),
        Fault::Gzip => {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let written = std::io::Write::write_all(&mut encoder, &body.read(MAX_READ).await?);
            let compressed = written.and_then(|()| encoder.finish());
            let failed = |error| Error::internal("gzip failed in memory").with_source(error);
            body = compressed.map_err(failed)?.into();
        }
        _ => {}
    }
    Ok(http::Response::from_parts(parts, body))
}

fn spec_error(code: &str, message: &str) -> Bytes {
    format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#).into()
}

fn written(retry_after: RetryAfter) -> Option<HeaderValue> {
    let text = match retry_after {
        RetryAfter::Delay(delay) => delay.as_secs().to_string(),
        // Dates before 1970 or after 9999 have no form.
        RetryAfter::At(at) => {
            at.duration_since(SystemTime::UNIX_EPOCH).ok().filter(|at| at.as_secs() < 253_402_300_800)?;
            httpdate::fmt_http_date(at)
        }
    };
    Some(value(&text))
}

/// `text` as a header's value; what can't be one is left out.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
