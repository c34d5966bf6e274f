use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE};
use http::{Extensions, HeaderMap, StatusCode, Uri};

use super::{facts, failure, lists, multipart};
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::Asked;
use crate::http::headers::{
    OCI_CHUNK_MIN_LENGTH, OCI_SUBJECT, OCI_TAG, content_length, is_encoded, joined, single, told_digest,
};
use crate::http::marker::upload_of_location;
use crate::operation::{
    Blob, BlobContent, BlobCreated, BlobPart, Conditional, Deleted, EntityTags, Manifest, ManifestCreated,
    OperationKind, Pong, Reply, Response, UploadStarted, UploadState,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::Manifest as Document;
use crate::spec::json::MAX_DOCUMENT;
use crate::spec::media_type::MediaType;
use crate::spec::range::{ByteRange, ContentRange, RangeSpec, Ranges};

/// The most bytes of several parts of a blob that are taken in one answer: 8 MiB. They are read before they are
/// handed on.
const MAX_PARTS: usize = 8 * 1024 * 1024;

/// What a registry's HTTP response means.
///
/// One exchange, as it is: redirects, authentication and retries are for whoever sends the requests. A manifest is
/// read in full and checked against its digest: the one that it was asked for by, and the one in
/// `Docker-Content-Digest`. A blob is handed on *unverified*; its size and range agree with what was asked for and
/// with the headers. Warnings and rate limits become the extensions [`Warnings`](crate::operation::Warnings) and
/// [`RateLimit`](crate::operation::RateLimit).
///
/// A manifest's `HEAD` by tag needs `Docker-Content-Digest` and `Content-Length`; where a registry leaves them out,
/// this is an error, and a `GET` is the way to know. The type of a blob isn't taken over: what stores say of it
/// differs between `HEAD` and `GET`.
///
/// # Errors
///
/// Any other status than success: 404 `NotFound` with the code that fits the operation, 401 `Unauthorized` without any
/// challenge, 403 `Denied`, 429 `TooManyRequests`, 503 `Unavailable`, 504 `TimedOut`, 500 and 502 `BadGateway`, each with
/// `Retry-After` and with the registry's own words in the message. `Corrupt` when content and digest don't agree,
/// `BadGateway` for answers that make no sense: HTML for a manifest, a content coding that nobody asked for, a range
/// other than the one asked for, a document over its limit, and a manifest that one reader may take for an index and
/// another for an image ([CVE-2021-41190](https://github.com/advisories/GHSA-77vh-xpmg-72qh)).
pub async fn decode(asked: &Asked, response: http::Response<Body>) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    let (status, headers) = (parts.status, &parts.headers);
    if status.is_client_error() || status.is_server_error() {
        return Err(failure::decode(asked, status, headers, body).await);
    }
    let reply = decode_reply(asked, status, headers, body).await?;
    let mut extensions = Extensions::new();
    facts::decode(headers, &mut extensions);
    Ok(Response::from_parts(reply, extensions))
}

async fn decode_reply(
    asked: &Asked,
    status: StatusCode,
    headers: &HeaderMap,
    body: Body,
) -> Result<Reply, Error> {
    use OperationKind as Kind;
    Ok(match (asked.kind(), status.as_u16()) {
        (Kind::Ping, 200) => Pong::new().into(),
        (Kind::GetManifest, 200) => Conditional::Full(manifest(asked, headers, body).await?).into(),
        (Kind::GetManifest, 304) => {
            Conditional::<Manifest>::NotModified(not_modified(asked, headers)?).into()
        }
        (Kind::GetBlob, 200) => whole_blob(asked, headers, body)?.into(),
        (Kind::GetBlob, 206) => partial_blob(asked, headers, body).await?.into(),
        (Kind::GetBlob, 304) => {
            let mut blob = Blob::head(not_modified(asked, headers)?, None);
            blob.content = BlobContent::NotModified;
            blob.into()
        }
        (Kind::GetBlob, 301 | 302 | 303 | 307 | 308) => {
            let mut blob = Blob::head(wanted(asked)?, None);
            blob.content = BlobContent::Redirect(redirect(headers)?);
            blob.into()
        }
        (Kind::PutManifest, 200..=202) => put_manifest(asked, headers)?.into(),
        (Kind::StartUpload, 201) => UploadStarted::Created(blob_created(asked, headers)?).into(),
        (Kind::StartUpload, 202) => UploadStarted::Open(upload(asked, headers)?).into(),
        (Kind::FinishUpload, 200 | 201 | 204) => blob_created(asked, headers)?.into(),
        (Kind::UploadChunk | Kind::UploadStatus, 200..=204) => upload(asked, headers)?.into(),
        (Kind::DeleteManifest | Kind::DeleteBlob | Kind::CancelUpload, 200..=204) => Deleted::new().into(),
        (Kind::ListTags, 200) => lists::read_tags(asked, headers, document(headers, body).await?)?.into(),
        (Kind::ListReferrers, 200) => lists::read_referrers(headers, document(headers, body).await?)?.into(),
        (Kind::ListRepositories, 200) => {
            lists::read_repositories(asked, headers, document(headers, body).await?)?.into()
        }
        (_, status) => {
            return Err(Error::bad_gateway(format!(
                "the registry answered with {status}, which makes no sense here"
            )));
        }
    })
}

async fn manifest(asked: &Asked, headers: &HeaderMap, body: Body) -> Result<Manifest, Error> {
    plain(headers)?;
    let media_type = match single(headers, &CONTENT_TYPE).map(str::parse::<MediaType>) {
        Some(Ok(media_type)) if is_html(&media_type) => {
            return Err(Error::bad_gateway("the registry answered with an HTML page in place of a manifest"));
        }
        Some(Ok(media_type)) => media_type,
        // What has no type is plain bytes (RFC 9110, 8.3); whoever reads the document sees what it is.
        _ => MediaType::OCTET_STREAM,
    };
    let told = told_digest(headers);
    if asked.is_head() {
        let digest = match (asked.digest(), told) {
            (Some(wanted), told) => {
                contradiction(wanted, told)?;
                *wanted
            }
            (None, Some(told)) => told,
            (None, None) => return Err(Error::bad_gateway("the registry told no digest of the manifest")),
        };
        let size = content_length(headers)
            .ok_or_else(|| Error::bad_gateway("the registry told no size of the manifest"))?;
        return Ok(Manifest::head(media_type, digest, size));
    }
    let content = document(headers, body).await?;
    if content.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Error::bad_gateway("the registry answered with something else than a manifest"));
    }
    let algorithm = told.map_or(Algorithm::Sha256, |told| told.algorithm());
    let digest = asked.digest().copied().or(told).unwrap_or_else(|| Digest::of(algorithm, &content));
    for expected in [Some(digest), told.filter(|told| *told != digest)].into_iter().flatten() {
        let found = Digest::of(expected.algorithm(), &content);
        if found != expected {
            return Err(Error::corrupt(format!("the content of the manifest {expected} is {found}")));
        }
    }
    Document::check_unambiguous(&media_type, content.clone()).map_err(|reason| {
        let message =
            format!("the registry answered with the manifest {digest}, which can be mistaken: {reason}");
        Error::new(ErrorKind::BadGateway, ErrorCode::ManifestInvalid, message)
    })?;
    Ok(Manifest::new(media_type, digest, content))
}

/// A document of at most [`MAX_DOCUMENT`] bytes.
async fn document(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    plain(headers)?;
    let size = content_length(headers);
    let too_large =
        || Error::bad_gateway(format!("the registry's document is larger than {MAX_DOCUMENT} bytes"));
    if size.is_some_and(|size| size > MAX_DOCUMENT as u64) {
        return Err(too_large());
    }
    let content = body.read(MAX_DOCUMENT).await.map_err(|error| match error.kind() {
        ErrorKind::TooLarge => too_large(),
        ErrorKind::Internal => Error::bad_gateway("the registry's document broke off").with_source(error),
        _ => error,
    })?;
    if size.is_some_and(|size| size != content.len() as u64) {
        return Err(Error::bad_gateway("the registry's document isn't as long as it says"));
    }
    Ok(content)
}

fn whole_blob(asked: &Asked, headers: &HeaderMap, body: Body) -> Result<Blob, Error> {
    let digest = wanted(asked)?;
    plain(headers)?;
    contradiction(&digest, told_digest(headers))?;
    let length = content_length(headers);
    if asked.is_head() {
        return Ok(Blob::head(digest, length));
    }
    agree(length, body.size())?;
    Ok(Blob::whole(digest, length, body))
}

async fn partial_blob(asked: &Asked, headers: &HeaderMap, body: Body) -> Result<Blob, Error> {
    let digest = wanted(asked)?;
    plain(headers)?;
    contradiction(&digest, told_digest(headers))?;
    let senseless = || Error::bad_gateway("the registry answered with another range than was asked for");
    let ranges = asked.range().filter(|_| !asked.is_head()).ok_or_else(senseless)?;
    if let Some(boundary) = single(headers, &CONTENT_TYPE).and_then(multipart::boundary) {
        let content = body.read(MAX_PARTS).await.map_err(|error| match error.kind() {
            ErrorKind::TooLarge => {
                Error::bad_gateway(format!("the parts of the blob have more than {MAX_PARTS} bytes"))
            }
            _ => error,
        })?;
        let (parts, size) = multipart::parse(&boundary, &content).ok_or_else(senseless)?;
        if !parts.iter().all(|part| is_asked_for(ranges, part.range, size)) {
            return Err(senseless());
        }
        return Ok(Blob { digest, size, media_type: None, content: BlobContent::Parts(parts) });
    }
    let range = single(headers, &CONTENT_RANGE).and_then(|range| range.parse().ok());
    let Some(ContentRange::Part(range, size)) = range else { return Err(senseless()) };
    if !is_asked_for(ranges, range, size) {
        return Err(senseless());
    }
    agree(content_length(headers), Some(range.length()))?;
    agree(body.size(), Some(range.length()))?;
    Ok(Blob { digest, size, media_type: None, content: BlobContent::Part(BlobPart::new(range, body)) })
}

/// Whether a part is what one of the ranges means.
fn is_asked_for(ranges: &Ranges, part: ByteRange, size: Option<u64>) -> bool {
    ranges.as_slice().iter().any(|range| match size {
        Some(size) => range.resolve(size) == Some(part),
        // Without the size of the whole, the end can't be known.
        None => match *range {
            RangeSpec::From(first) => part.first() == first,
            RangeSpec::Span(first, last) => part.first() == first && part.last() <= last,
            RangeSpec::Suffix(length) => part.length() <= length,
        },
    })
}

fn redirect(headers: &HeaderMap) -> Result<Uri, Error> {
    let target = single(headers, &LOCATION).and_then(|location| location.trim().parse::<Uri>().ok());
    target
        .filter(|uri| uri.scheme().is_some() && uri.authority().is_some())
        .ok_or_else(|| Error::bad_gateway("the registry's redirect leads to no absolute URL"))
}

/// The digest of what the caller has already.
fn not_modified(asked: &Asked, headers: &HeaderMap) -> Result<Digest, Error> {
    let condition = asked.conditions().if_none_match.as_ref();
    let Some(condition) = condition else {
        return Err(Error::bad_gateway("the registry answered an unconditional request with 304"));
    };
    let etag = || single(headers, &ETAG)?.trim().trim_start_matches("W/").trim_matches('"').parse().ok();
    let only = || match condition {
        EntityTags::Digests(digests) => match digests.as_slice() {
            [digest] => Some(*digest),
            _ => None,
        },
        EntityTags::Any => None,
    };
    let told = told_digest(headers).or_else(etag);
    match asked.digest().copied().or(told).or_else(only) {
        Some(digest) if condition.matches(&digest) => Ok(digest),
        _ => Err(Error::bad_gateway("the registry didn't say what hasn't changed")),
    }
}

fn put_manifest(asked: &Asked, headers: &HeaderMap) -> Result<ManifestCreated, Error> {
    let digest = wanted(asked)?;
    contradiction(&digest, told_digest(headers))?;
    let tags = joined(headers, &OCI_TAG).unwrap_or_default();
    let tags = tags.split(',').map(str::trim).filter_map(|tag| tag.parse().ok()).collect();
    let subject = single(headers, &OCI_SUBJECT).and_then(|subject| subject.trim().parse().ok());
    Ok(ManifestCreated { digest, tags, subject })
}

fn blob_created(asked: &Asked, headers: &HeaderMap) -> Result<BlobCreated, Error> {
    let digest = wanted(asked)?;
    contradiction(&digest, told_digest(headers))?;
    Ok(BlobCreated::new(digest))
}

fn upload(asked: &Asked, headers: &HeaderMap) -> Result<UploadState, Error> {
    let repository = asked.repository().ok_or_else(|| Error::internal("an upload has no repository"))?;
    let upload = match (single(headers, &LOCATION), asked.upload()) {
        (Some(location), _) => upload_of_location(repository, location)?,
        (None, Some(upload)) => upload.clone(),
        (None, None) => return Err(Error::bad_gateway("the registry told no location of the upload")),
    };
    let range = single(headers, &RANGE).and_then(|range| range.trim().parse::<ByteRange>().ok());
    let received = match (range.map(ByteRange::last), asked.received()) {
        // `0-0` may mean nothing or one byte; the chunk that was sent tells.
        (None | Some(0), received) => received.filter(|received| *received == 1).unwrap_or(0),
        (Some(last), _) => last.saturating_add(1),
    };
    let min_chunk = single(headers, &OCI_CHUNK_MIN_LENGTH).and_then(|length| length.trim().parse().ok());
    Ok(UploadState { upload, received, min_chunk })
}

fn wanted(asked: &Asked) -> Result<Digest, Error> {
    asked
        .digest()
        .copied()
        .ok_or_else(|| Error::bad_gateway("the registry made something that nobody has named"))
}

/// Two digests by one algorithm that aren't the same. By another one they can't be compared.
fn contradiction(wanted: &Digest, told: Option<Digest>) -> Result<(), Error> {
    match told {
        Some(told) if told.algorithm() == wanted.algorithm() && told != *wanted => {
            Err(Error::corrupt(format!("the registry answered with {told} in place of {wanted}")))
        }
        _ => Ok(()),
    }
}

fn agree(announced: Option<u64>, found: Option<u64>) -> Result<(), Error> {
    match (announced, found) {
        (Some(announced), Some(found)) if announced != found => Err(Error::bad_gateway(format!(
            "the registry announced {announced} bytes where {found} are to come"
        ))),
        _ => Ok(()),
    }
}

/// A digest is of the content itself, and no coding was asked for.
fn plain(headers: &HeaderMap) -> Result<(), Error> {
    if is_encoded(headers) {
        return Err(Error::bad_gateway("the registry answered with a content coding that nobody asked for"));
    }
    Ok(())
}

fn is_html(media_type: &MediaType) -> bool {
    matches!(media_type.as_str(), "text/html" | "application/xhtml+xml")
}
