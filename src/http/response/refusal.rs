use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::encode::{empty, value};
use super::facts::warning;
use crate::body::Body;
use crate::error::{Error, RetryAfter};
use crate::http::request::Route;
use crate::spec::json::Raw;
use crate::spec::range::ContentRange;

/// The body of an error: [distribution-spec, Error Codes](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
#[derive(Serialize)]
struct Errors<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'a str,
}

/// The answer to a request that means no operation.
pub(in crate::http) fn refuse(method: &Method, path: &str, error: &Error) -> http::Response<Body> {
    let allow = Route::parse(path).map(|route| HeaderValue::from_static(route.methods()));
    failure(error, method == Method::HEAD, allow)
}

/// The answer that tells of `error`.
///
/// After a `HEAD` there is no body, so the message stands in a `Warning`, which clients show to people.
pub(crate) fn failure(error: &Error, head: bool, allow: Option<HeaderValue>) -> http::Response<Body> {
    let code = error.code().as_str();
    let text = Raw::of(&Errors { errors: [Entry { code, message: error.message() }] });
    let text: Bytes = text.bytes().clone();
    let mut response = empty(error.status());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(retry_after) = error.retry_after().and_then(retry_after) {
        headers.insert(RETRY_AFTER, retry_after);
    }
    if let Some(challenge) = error.challenge().and_then(|text| value(text.to_owned())) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(size) = error.content_size() {
        headers
            .extend(value(ContentRange::Unsatisfied(size).to_string()).map(|value| (CONTENT_RANGE, value)));
    }
    if error.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, allow.unwrap_or(HeaderValue::from_static("")));
    }
    if head {
        headers.extend(warning(&format!("{code}: {}", error.message())).map(|value| (WARNING, value)));
    } else {
        *response.body_mut() = Body::from(text);
    }
    response
}

/// Whole seconds, rounded up, or a date.
fn retry_after(retry_after: RetryAfter) -> Option<HeaderValue> {
    /// The first second of the year 10000, which the format has no room for.
    const END: u64 = 253_402_300_800;
    match retry_after {
        RetryAfter::Delay(delay) => {
            let up = u64::from(delay.subsec_nanos() > 0);
            Some(HeaderValue::from(delay.as_secs().saturating_add(up)))
        }
        RetryAfter::At(at) => {
            let representable = at.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() < END);
            representable.then(|| value(date(at))).flatten()
        }
    }
}

fn date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}
