use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::spec::digest::Digest;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const DOCKER_DISTRIBUTION_API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(crate) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
pub(crate) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// What the headers start with that tell of a rate limit.
pub(crate) const RATE_LIMIT_PREFIX: &str = "ratelimit-";

/// The text of a header that stands in one line; none when it stands in several or isn't readable.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The lines of a header, joined by commas as
/// [RFC 9110, 5.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.2) has it; unreadable lines are left out.
pub(crate) fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut joined = Cow::Borrowed(lines.next()?);
    for line in lines {
        let text = joined.to_mut();
        text.push_str(", ");
        text.push_str(line);
    }
    Some(joined)
}

/// The number in a `Content-Length`, where it is one.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let text = single(headers, &http::header::CONTENT_LENGTH)?.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The digest that a registry tells, if it is one that we know.
pub(crate) fn told_digest(headers: &HeaderMap) -> Option<Digest> {
    single(headers, &DOCKER_CONTENT_DIGEST)?.trim().parse().ok()
}

/// Whether a `Content-Encoding` says that the content isn't what its digest is of.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let identity = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value.split(',').map(str::trim).all(|v| v.is_empty() || v.eq_ignore_ascii_case("identity"))
        })
    };
    !headers.get_all(http::header::CONTENT_ENCODING).iter().all(identity)
}
