use std::fmt::{self, Write as _};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusal::failure;
use super::{blob, facts, lists};
use crate::body::Body;
use crate::error::Error;
use crate::http::Asked;
use crate::http::headers::{
    DOCKER_CONTENT_DIGEST, DOCKER_DISTRIBUTION_API_VERSION, DOCKER_UPLOAD_UUID, OCI_CHUNK_MIN_LENGTH,
    OCI_SUBJECT, OCI_TAG,
};
use crate::operation::{
    Conditional, Manifest, ManifestCreated, OperationKind, Reply, Response, UploadId, UploadStarted,
    UploadState,
};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::spec::name::Repository;

/// What has a digest never changes. Who may see it is for this registry to say, so shared caches keep nothing.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Plain bytes.
pub(super) const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What may be different next time is asked for again, with `If-None-Match`.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The HTTP response that answers what was asked.
///
/// Conditions are applied here once more, so that a leaf which ignores them is conditional too: `304` when the caller
/// has the content, and ranges of a blob that is in memory. Locations and links are relative, in the names that the
/// caller used. `Content-Encoding: identity` on manifests and blobs makes compressing middleware let them be.
///
/// `Cache-Control`: what was asked for by digest is immutable, but private, since shared caches can't know who may
/// see it; tags and lists are to be revalidated; errors and redirects (whose targets expire) aren't stored.
///
/// A reply that belongs to another operation, or contradicts itself, is answered with `500` or `502`.
pub fn encode(asked: &Asked, result: Result<Response, Error>) -> http::Response<Body> {
    let answer = result.and_then(|response| {
        let (reply, extensions) = response.into_parts();
        let mut answer = encode_reply(asked, reply)?;
        facts::encode(&extensions, answer.headers_mut());
        Ok(answer)
    });
    answer.unwrap_or_else(|error| {
        let mut response = failure(&error, asked.is_head(), Some(asked.allow()));
        if let (Some(repository), Some(upload), Some(received)) =
            (asked.repository(), asked.upload(), error.content_size())
        {
            // What a chunk lies outside of is what has come of its upload.
            response.headers_mut().remove(CONTENT_RANGE);
            session(response.headers_mut(), repository, upload, received);
        }
        response
    })
}

fn encode_reply(asked: &Asked, reply: Reply) -> Result<http::Response<Body>, Error> {
    use OperationKind as Kind;
    match (asked.kind(), reply) {
        (Kind::Ping, Reply::Pong(_)) => Ok(json(MediaType::JSON, Bytes::from_static(b"{}"))),
        (Kind::GetManifest, Reply::Manifest(manifest)) => get_manifest(asked, manifest),
        (Kind::GetBlob, Reply::Blob(blob)) => blob::encode(asked, blob),
        (Kind::PutManifest, Reply::ManifestCreated(created)) => put_manifest(repository(asked)?, &created),
        (Kind::StartUpload, Reply::UploadStarted(UploadStarted::Created(created)))
        | (Kind::FinishUpload, Reply::BlobCreated(created)) => {
            blob_created(repository(asked)?, &created.digest)
        }
        (Kind::StartUpload, Reply::UploadStarted(UploadStarted::Open(state)))
        | (Kind::UploadChunk, Reply::Upload(state)) => {
            upload(repository(asked)?, &state, StatusCode::ACCEPTED)
        }
        (Kind::UploadStatus, Reply::Upload(state)) => {
            upload(repository(asked)?, &state, StatusCode::NO_CONTENT)
        }
        (Kind::DeleteManifest | Kind::DeleteBlob, Reply::Deleted(_)) => {
            Ok(without_content(StatusCode::ACCEPTED))
        }
        (Kind::CancelUpload, Reply::Deleted(_)) => Ok(empty(StatusCode::NO_CONTENT)),
        (Kind::ListTags, Reply::Tags(tags)) => lists::tags(repository(asked)?, asked, &tags),
        (Kind::ListReferrers, Reply::Referrers(referrers)) => {
            lists::referrers(repository(asked)?, asked, referrers)
        }
        (Kind::ListRepositories, Reply::Repositories(repositories)) => {
            lists::repositories(asked, &repositories)
        }
        (kind, _) => {
            Err(Error::internal(format!("{} was answered with the reply to something else", kind.as_str())))
        }
    }
}

fn repository(asked: &Asked) -> Result<&Repository, Error> {
    asked.repository().ok_or_else(|| Error::internal("the operation has no repository"))
}

fn get_manifest(asked: &Asked, reply: Conditional<Manifest>) -> Result<http::Response<Body>, Error> {
    let manifest = match reply {
        Conditional::Full(manifest) if !asked.conditions().has(&manifest.digest) => manifest,
        Conditional::Full(manifest) => return not_modified(asked, &manifest.digest),
        Conditional::NotModified(digest) => return not_modified(asked, &digest),
    };
    same_digest(asked, &manifest.digest)?;
    let size = manifest.content.as_ref().map_or(manifest.size, |content| content.len() as u64);
    let body = if asked.is_head() { Body::empty() } else { Body::from(manifest.content()?.clone()) };
    let mut response = content(StatusCode::OK, body);
    let headers = response.headers_mut();
    identify(headers, asked, &manifest.digest);
    headers.insert(CONTENT_TYPE, content_type(&manifest.media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}

pub(super) fn not_modified(asked: &Asked, digest: &Digest) -> Result<http::Response<Body>, Error> {
    if asked.conditions().if_none_match.is_none() {
        return Err(Error::internal(format!(
            "{digest} was answered as not modified to an unconditional request"
        )));
    }
    let mut response = empty(StatusCode::NOT_MODIFIED);
    identify(response.headers_mut(), asked, digest);
    Ok(response)
}

fn put_manifest(repository: &Repository, created: &ManifestCreated) -> Result<http::Response<Body>, Error> {
    let mut response = without_content(StatusCode::CREATED);
    let headers = response.headers_mut();
    location(headers, format_args!("/v2/{repository}/manifests/{}", created.digest));
    set_digest(headers, &created.digest);
    if !created.tags.is_empty() {
        let tags: Vec<_> = created.tags.iter().map(|tag| tag.as_str()).collect();
        headers.extend(value(tags.join(", ")).map(|value| (OCI_TAG, value)));
    }
    if let Some(subject) = &created.subject {
        headers.extend(value(subject.to_string()).map(|value| (OCI_SUBJECT, value)));
    }
    Ok(response)
}

fn blob_created(repository: &Repository, digest: &Digest) -> Result<http::Response<Body>, Error> {
    let mut response = without_content(StatusCode::CREATED);
    location(response.headers_mut(), format_args!("/v2/{repository}/blobs/{digest}"));
    set_digest(response.headers_mut(), digest);
    Ok(response)
}

fn upload(
    repository: &Repository,
    state: &UploadState,
    status: StatusCode,
) -> Result<http::Response<Body>, Error> {
    let mut response = if status == StatusCode::NO_CONTENT { empty(status) } else { without_content(status) };
    let headers = response.headers_mut();
    session(headers, repository, &state.upload, state.received);
    headers.extend(value(state.upload.to_string()).map(|value| (DOCKER_UPLOAD_UUID, value)));
    if let Some(min_chunk) = state.min_chunk {
        headers.insert(OCI_CHUNK_MIN_LENGTH, HeaderValue::from(min_chunk));
    }
    Ok(response)
}

/// Where an upload goes on.
fn session(headers: &mut HeaderMap, repository: &Repository, upload: &UploadId, received: u64) {
    location(headers, format_args!("/v2/{repository}/blobs/uploads/{upload}"));
    // There is no way to write that nothing has come; `0-0` is what Docker's registry says.
    headers.extend(value(format!("0-{}", received.saturating_sub(1))).map(|value| (RANGE, value)));
}

pub(super) fn same_digest(asked: &Asked, digest: &Digest) -> Result<(), Error> {
    match asked.digest() {
        // The same content may go by the digest of another algorithm.
        Some(wanted) if wanted.algorithm() == digest.algorithm() && wanted != digest => {
            Err(Error::internal(format!("{wanted} was answered with {digest}")))
        }
        _ => Ok(()),
    }
}

/// A response with a head alone.
pub(super) fn empty(status: StatusCode) -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(DOCKER_DISTRIBUTION_API_VERSION, HeaderValue::from_static("registry/2.0"));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A response whose content is empty.
pub(super) fn without_content(status: StatusCode) -> http::Response<Body> {
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A response whose content is to arrive as it is.
pub(super) fn content(status: StatusCode, body: Body) -> http::Response<Body> {
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    *response.body_mut() = body;
    response
}

/// A document that is written here.
pub(super) fn json(media_type: MediaType, text: Bytes) -> http::Response<Body> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(&media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, REVALIDATE);
    *response.body_mut() = Body::from(text);
    response
}

/// What names a content and says how long it stays the same.
pub(super) fn identify(headers: &mut HeaderMap, asked: &Asked, digest: &Digest) {
    let by_digest = asked.digest().is_some();
    headers.insert(CACHE_CONTROL, if by_digest { IMMUTABLE } else { REVALIDATE });
    // One text for both headers: the one without quotes is a slice of the other.
    let mut text = String::with_capacity(2 + 7 + digest.algorithm().size() * 2);
    let _ = write!(text, "\"{digest}\"");
    let quoted = Bytes::from(text);
    let bare = quoted.slice(1..quoted.len() - 1);
    headers.extend(HeaderValue::from_maybe_shared(quoted).ok().map(|value| (ETAG, value)));
    headers.extend(HeaderValue::from_maybe_shared(bare).ok().map(|value| (DOCKER_CONTENT_DIGEST, value)));
}

pub(super) fn set_digest(headers: &mut HeaderMap, digest: &Digest) {
    headers.extend(value(digest.to_string()).map(|value| (DOCKER_CONTENT_DIGEST, value)));
}

fn location(headers: &mut HeaderMap, path: fmt::Arguments<'_>) {
    headers.extend(
        value(path.to_string()).map(|value: HeaderValue| -> (HeaderName, HeaderValue) { (LOCATION, value) }),
    );
}

/// The value with this text, without another copy of it.
pub(super) fn value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// The types that nearly every answer has cost nothing.
pub(super) fn content_type(media_type: &MediaType) -> HeaderValue {
    for known in [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/json",
    ] {
        if media_type.as_str() == known {
            return HeaderValue::from_static(known);
        }
    }
    HeaderValue::from_str(media_type.as_str()).unwrap_or(OCTET_STREAM)
}
