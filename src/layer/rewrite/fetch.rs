use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, Uri, header};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::body::Body;
use crate::error::{BoxError, Error, ErrorCode, ErrorKind, RetryAfter};
use crate::http::uri::resolve;
use crate::operation::BlobPart;
use crate::spec::range::{ByteRange, ContentRange};

/// How many redirects are followed.
const MAX_HOPS: usize = 5;

/// How long a frame may take to come.
const IDLE: Duration = Duration::from_secs(60);

/// What layers that are kept elsewhere are fetched with: anonymous, and without any header of the client's.
#[derive(Clone)]
pub(super) struct Http(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Error>);

/// What came of a request for a part.
#[derive(Debug)]
pub(super) enum Fetched {
    /// All of it, whatever was asked for.
    Whole(Body),
    Part(BlobPart),
}

impl Http {
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error: Into<BoxError>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(service.map_err(|error| Error::from(error.into()))))
    }

    /// All `size` bytes at `uri`, to be verified by the caller.
    pub(super) async fn whole(&self, uri: Uri, size: u64) -> Result<Body, Error> {
        let (host, response) = self.get(uri, None).await?;
        match response.status() {
            StatusCode::OK => whole(&host, response, size),
            status => Err(failed(&host, status, response.headers())),
        }
    }

    /// The part `range` of the `size` bytes at `uri`, or all of them where parts aren't given.
    pub(super) async fn part(&self, uri: Uri, range: ByteRange, size: u64) -> Result<Fetched, Error> {
        let (host, response) = self.get(uri, Some(range)).await?;
        match response.status() {
            StatusCode::OK => whole(&host, response, size).map(Fetched::Whole),
            StatusCode::PARTIAL_CONTENT => {
                let found =
                    response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                match found.and_then(|text| text.parse().ok()) {
                    Some(ContentRange::Part(found, total))
                        if found == range && total.is_none_or(|total| total == size) => {}
                    _ => {
                        return Err(Error::bad_gateway(format!(
                            "{host} answered with another part of a layer"
                        )));
                    }
                }
                let body = response.into_body().limited(range.length(), "part of a layer");
                Ok(Fetched::Part(BlobPart::new(range, body.idle_timeout(IDLE))))
            }
            status => Err(failed(&host, status, response.headers())),
        }
    }

    /// Follows redirects, and answers with the host that it ended at.
    async fn get(
        &self,
        mut uri: Uri,
        range: Option<ByteRange>,
    ) -> Result<(String, http::Response<Body>), Error> {
        for _ in 0..=MAX_HOPS {
            let host = uri.host().unwrap_or_default().to_owned();
            let mut request = http::Request::get(uri.clone()).header(header::ACCEPT_ENCODING, "identity");
            if let Some(range) = range {
                request = request.header(header::RANGE, format!("bytes={range}"));
            }
            let request = request.body(Body::empty());
            let request = request.map_err(|error| Error::internal("a layer request").with_source(error))?;
            let response = self.0.clone().oneshot(request).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((host, response));
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let target = location.map(|location| resolve(&uri, location)).transpose()?;
            let is_secure = uri.scheme_str() == Some("https");
            uri = match target {
                Some(target) if target.scheme_str() == Some("https") => target,
                Some(target) if target.scheme_str() == Some("http") && !is_secure => target,
                Some(_) => return Err(Error::bad_gateway(format!("{host} redirects away from https"))),
                None => return Err(Error::bad_gateway(format!("{host} redirects to nowhere"))),
            };
        }
        Err(Error::bad_gateway(format!("a layer is behind more than {MAX_HOPS} redirects")))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

fn whole(host: &str, response: http::Response<Body>, size: u64) -> Result<Body, Error> {
    let is_encoded =
        response.headers().get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity");
    if is_encoded {
        return Err(Error::bad_gateway(format!("{host} answered with a layer in another encoding")));
    }
    let body = response.into_body().idle_timeout(IDLE);
    match body.size() {
        Some(found) if found != size => {
            Err(Error::corrupt(format!("the layer at {host} has {found} bytes, not {size}")))
        }
        _ => Ok(body),
    }
}

fn failed(host: &str, status: StatusCode, headers: &HeaderMap) -> Error {
    let message = format!("{host} answered with status {status} when asked for a layer");
    let error = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
        }
        _ if status.is_server_error() => Error::unavailable(message),
        _ => Error::bad_gateway(message),
    };
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    match retry_after.and_then(retry_after_of) {
        Some(retry_after) => error.with_retry_after(retry_after),
        None => error,
    }
}

fn retry_after_of(text: &str) -> Option<RetryAfter> {
    match text.trim().parse() {
        Ok(seconds) => Some(RetryAfter::Delay(Duration::from_secs(seconds))),
        Err(_) => httpdate::parse_http_date(text.trim()).ok().map(|at: SystemTime| RetryAfter::At(at)),
    }
}
