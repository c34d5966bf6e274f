//! The JSON of answers. What is absent is left out, never `null`.

use std::time::SystemTime;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::error::{Error, RetryAfter};

/// The answer of `/service-info`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceInfo<'a> {
    service_info: Info<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_id: Option<&'a str>,
}

impl<'a> ServiceInfo<'a> {
    pub(super) fn new(version: &'a str, commit_id: Option<&'a str>) -> Self {
        Self { service_info: Info { version, commit_id } }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    message: &'a str,
}

/// `200` with `value`.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    with_json(StatusCode::OK, value)
}

/// `204`.
pub(super) fn empty() -> Response<Body> {
    with_status(StatusCode::NO_CONTENT, Body::empty())
}

/// `405`, saying what is allowed.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let message = format!("this method is not allowed here: {allowed} is");
    let mut response = with_json(StatusCode::METHOD_NOT_ALLOWED, &Failure { message: &message });
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What the service answers when it fails.
pub(super) fn failure(error: &Error) -> Response<Body> {
    let mut response = with_json(error.status(), &Failure { message: error.message() });
    let retry_after = error.retry_after().map(|retry_after| match retry_after {
        RetryAfter::Delay(delay) => HeaderValue::from(delay.as_secs()),
        at => HeaderValue::from(at.delay_from(SystemTime::now()).as_secs()),
    });
    if let Some(value) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// `200` with `body`.
#[cfg(feature = "build")]
pub(super) fn with_body(body: Body) -> Response<Body> {
    with_status(StatusCode::OK, body)
}

fn with_json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    // Plain structs of texts always have a JSON form.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = with_status(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Answers have tokens in them, and depend on what came before.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
