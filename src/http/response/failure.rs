//! What an upstream's refusal means.

use http::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER, WARNING};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::facts;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::http::Asked;
use crate::http::headers::single;
use crate::operation::OperationKind;
use crate::spec::name::shortened;
use crate::spec::range::{ByteRange, ContentRange};

/// The largest body of an error that is looked at: 64 KiB.
const MAX_ERROR: usize = 64 * 1024;

/// The body of an error; whatever else it says is left alone.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What an upstream said in the body of its answer.
#[derive(Default)]
struct Words {
    code: Option<ErrorCode>,
    text: Option<String>,
}

/// The error that an answer other than a success means.
pub(super) async fn decode(asked: &Asked, status: StatusCode, headers: &HeaderMap, body: Body) -> Error {
    let words = read_words(asked, headers, body).await;
    let mut message = format!("the registry answered with {}", status.as_u16());
    if let Some(text) = &words.text {
        message.push_str(": ");
        message.push_str(text);
    }
    let mut error = meaning(asked, status, words.code, message);
    if let Some(retry_after) = single(headers, &RETRY_AFTER).and_then(retry_after) {
        error = error.with_retry_after(retry_after);
    }
    match size(asked, headers).filter(|_| status == StatusCode::RANGE_NOT_SATISFIABLE) {
        Some(size) => error.with_content_size(size),
        None => error,
    }
}

/// The size of what a range lies outside of: a blob, or what has come of an upload.
fn size(asked: &Asked, headers: &HeaderMap) -> Option<u64> {
    if asked.upload().is_some() {
        let received: ByteRange = single(headers, &RANGE)?.trim().parse().ok()?;
        return received.last().checked_add(1).filter(|received| *received > 1);
    }
    match single(headers, &CONTENT_RANGE)?.parse().ok()? {
        ContentRange::Unsatisfied(size) => Some(size),
        ContentRange::Part(..) => None,
    }
}

fn meaning(asked: &Asked, status: StatusCode, code: Option<ErrorCode>, message: String) -> Error {
    use StatusCode as S;
    let as_asked = |kind, code| Error::new(kind, code, message.as_str());
    match status {
        S::BAD_REQUEST | S::UNPROCESSABLE_ENTITY | S::CONFLICT | S::LENGTH_REQUIRED => {
            as_asked(ErrorKind::Invalid, code.unwrap_or(invalid_code(asked)))
        }
        S::UNAUTHORIZED => as_asked(ErrorKind::Unauthorized, ErrorCode::Unauthorized),
        S::FORBIDDEN | S::PAYMENT_REQUIRED => as_asked(ErrorKind::Denied, ErrorCode::Denied),
        S::UNAVAILABLE_FOR_LEGAL_REASONS => {
            as_asked(ErrorKind::Denied, ErrorCode::Denied).with_status(status)
        }
        S::NOT_FOUND | S::GONE => as_asked(ErrorKind::NotFound, unknown_code(asked)),
        S::METHOD_NOT_ALLOWED => as_asked(ErrorKind::Unsupported, ErrorCode::Unsupported),
        S::PAYLOAD_TOO_LARGE => as_asked(ErrorKind::TooLarge, code.unwrap_or(ErrorCode::SizeInvalid)),
        S::RANGE_NOT_SATISFIABLE => as_asked(
            ErrorKind::RangeNotSatisfiable,
            match asked.kind() {
                OperationKind::GetBlob => ErrorCode::SizeInvalid,
                _ => ErrorCode::BlobUploadInvalid,
            },
        ),
        S::TOO_MANY_REQUESTS => as_asked(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests),
        S::SERVICE_UNAVAILABLE => Error::unavailable(message),
        S::REQUEST_TIMEOUT | S::GATEWAY_TIMEOUT => Error::timed_out(message),
        // 500, 502, and everything that no registry should say: as far as our client goes, a bad gateway.
        _ => Error::bad_gateway(message),
    }
}

/// The code for what isn't there. A registry's own is in the message: they differ in what they call unknown.
fn unknown_code(asked: &Asked) -> ErrorCode {
    use OperationKind as Kind;
    match asked.kind() {
        Kind::GetManifest | Kind::DeleteManifest => ErrorCode::ManifestUnknown,
        Kind::GetBlob | Kind::DeleteBlob => ErrorCode::BlobUnknown,
        Kind::UploadChunk | Kind::FinishUpload | Kind::UploadStatus | Kind::CancelUpload => {
            ErrorCode::BlobUploadUnknown
        }
        _ => ErrorCode::NameUnknown,
    }
}

fn invalid_code(asked: &Asked) -> ErrorCode {
    use OperationKind as Kind;
    match asked.kind() {
        Kind::GetManifest | Kind::PutManifest => ErrorCode::ManifestInvalid,
        Kind::StartUpload
        | Kind::UploadChunk
        | Kind::FinishUpload
        | Kind::UploadStatus
        | Kind::CancelUpload => ErrorCode::BlobUploadInvalid,
        Kind::GetBlob | Kind::ListReferrers => ErrorCode::DigestInvalid,
        // Deletes are refused so where they are switched off.
        _ => ErrorCode::Unsupported,
    }
}

/// The first error in the body, or the first line of plain text; after a `HEAD`, what our own edge puts into a
/// `Warning`. HTML says nothing to our client's user.
async fn read_words(asked: &Asked, headers: &HeaderMap, body: Body) -> Words {
    if asked.is_head() {
        let warning = headers.get_all(WARNING).iter().find_map(facts::warning_text);
        return Words { code: None, text: warning.as_deref().map(shortened) };
    }
    let Ok(content) = body.read(MAX_ERROR).await else { return Words::default() };
    if let Ok(Errors { errors }) = serde_json::from_slice(&content) {
        let Some(first) = errors.into_iter().next() else { return Words::default() };
        let text = match (first.code.as_str(), first.message.as_str()) {
            ("", "") => None,
            ("", text) | (text, "") => Some(shortened(text)),
            (code, message) => Some(format!("{}: {}", shortened(code), shortened(message))),
        };
        return Words { code: ErrorCode::from_wire(&first.code), text };
    }
    let is_text = single(headers, &CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
    let line = std::str::from_utf8(&content).ok().filter(|_| is_text).and_then(|text| text.lines().next());
    let text = line.map(str::trim).filter(|line| !line.is_empty()).map(shortened);
    Words { code: None, text }
}

/// `Retry-After` in both of its forms.
fn retry_after(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(|seconds| RetryAfter::Delay(std::time::Duration::from_secs(seconds)));
    }
    httpdate::parse_http_date(text).ok().map(RetryAfter::At)
}
