//! One exchange of the server edge.

use std::any::TypeId;
use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::{HeaderValue, Method, Version};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, LengthLimitError};
use tower::ServiceExt as _;

use super::asked::Asked;
use super::{request, response};
use crate::body::Body;
use crate::error::{BoxError, Error, ErrorCode, ErrorKind};
use crate::operation::{Namespace, Registry, Request, UserAgent};

/// How many bytes of a body whose length isn't known are read for a client that speaks HTTP/1.0: 8 MiB.
pub const HTTP10_BUFFER: usize = 8 * 1024 * 1024;

/// Whether a path is at or below `/v2`.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads the request, asks the registry, writes the response.
pub(super) async fn answer<R, B>(registry: R, request: http::Request<B>) -> http::Response<Body>
where
    R: Registry,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let request = match request::decode(&parts, request_body(body)).await {
        Ok(request) => request,
        Err(error) => return response::refuse(&parts.method, parts.uri.path(), &error),
    };
    let (operation, found) = request.into_parts();
    let asked = Asked::of(&operation).with_namespace(found.get::<Namespace>().cloned());
    let mut extensions = std::mem::take(&mut parts.extensions);
    extensions.extend(found);
    if let Some(agent) = parts.headers.get(USER_AGENT) {
        extensions.insert(UserAgent::new(agent.clone()));
    }
    let result = registry.oneshot(Request::from_parts(operation, extensions)).await.map_err(Into::into);
    let response = response::encode(&asked, result);
    if parts.method == Method::HEAD {
        return without_body(response);
    }
    match parts.version {
        Version::HTTP_09 | Version::HTTP_10 => with_length(&asked, response).await,
        _ => response,
    }
}

/// After a `HEAD` the length alone is told; without one, the body is empty already and of unknown length.
fn without_body(response: http::Response<Body>) -> http::Response<Body> {
    if response.headers().contains_key(CONTENT_LENGTH) { response.map(|_| Body::empty()) } else { response }
}

/// An HTTP/1.0 body without a length ends when the connection does, and nobody can tell whether it was all.
async fn with_length(asked: &Asked, response: http::Response<Body>) -> http::Response<Body> {
    if response.headers().contains_key(CONTENT_LENGTH) || response.body().size().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    match body.read(HTTP10_BUFFER).await {
        Ok(content) => {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
            http::Response::from_parts(parts, Body::from(content))
        }
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            let message = "content of unknown length is too large for HTTP/1.0; ask with HTTP/1.1";
            response::encode(asked, Err(Error::bad_gateway(message)))
        }
        Err(error) => response::encode(asked, Err(error)),
    }
}

/// The body of a request, whose failures are the client's.
fn request_body<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if TypeId::of::<B>() == TypeId::of::<Body>() {
        return Body::new(body);
    }
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(body.map_err(|error| request_error(error.into())))
}

fn request_error(error: BoxError) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return *ours,
        Err(other) => other,
    };
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(one) = cause {
        if one.is::<LengthLimitError>() {
            let message = "the request's body is larger than this service takes";
            return Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message).with_source(error);
        }
        cause = one.source();
    }
    Error::invalid(ErrorCode::SizeInvalid, "the request's body broke off").with_source(error)
}
