use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode, Uri};

use super::encode::{
    OCTET_STREAM, content, content_type, identify, not_modified, same_digest, set_digest, value,
    without_content,
};
use super::multipart::Multipart;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::Asked;
use crate::operation::{Blob, BlobContent, BlobPart};
use crate::spec::digest::Digest;
use crate::spec::range::{ByteRange, ContentRange, Satisfied};

/// Answers with a blob: whole, in parts, from elsewhere, or not at all.
pub(super) fn encode(asked: &Asked, blob: Blob) -> Result<http::Response<Body>, Error> {
    let Blob { digest, size, media_type, content: found } = blob;
    same_digest(asked, &digest)?;
    let kind = media_type.as_ref().map_or(OCTET_STREAM, content_type);
    match found {
        BlobContent::NotModified => not_modified(asked, &digest),
        BlobContent::Redirect(to) => redirect(&digest, &to),
        _ if asked.conditions().has(&digest) => not_modified(asked, &digest),
        BlobContent::Whole(_) if asked.is_head() => {
            // A length that isn't known must not look like one of zero.
            let body = if size.is_some() { Body::empty() } else { unknown_length() };
            Ok(whole(asked, &digest, size, kind, body))
        }
        BlobContent::Whole(body) => {
            let size = agreed(&digest, size, body.size())?;
            match in_memory_range(asked, &digest, &body) {
                Some(satisfied) => ranges(asked, &digest, kind, body, satisfied),
                None => Ok(whole(asked, &digest, size, kind, body)),
            }
        }
        BlobContent::Part(part) => {
            check_part(asked, &digest, size, &part)?;
            Ok(one_part(asked, &digest, size, kind, part))
        }
        BlobContent::Parts(parts) => {
            parts.iter().try_for_each(|part| check_part(asked, &digest, size, part))?;
            Ok(several_parts(asked, &digest, size, kind, parts))
        }
    }
}

fn unknown_length() -> Body {
    Body::from_stream(futures_util::stream::empty::<Result<Bytes, Error>>())
}

fn whole(
    asked: &Asked,
    digest: &Digest,
    size: Option<u64>,
    kind: HeaderValue,
    body: Body,
) -> http::Response<Body> {
    let mut response = content(StatusCode::OK, body);
    let headers = response.headers_mut();
    identify(headers, asked, digest);
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(size) = size {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

/// What a range means in a blob that is all there, whose leaf has left the cutting to us.
fn in_memory_range(asked: &Asked, digest: &Digest, body: &Body) -> Option<Satisfied> {
    let size = body.as_bytes()?.len() as u64;
    let range = asked.range().filter(|_| asked.conditions().allow_range(digest))?;
    Some(range.resolve(size)).filter(|satisfied| *satisfied != Satisfied::Whole)
}

fn ranges(
    asked: &Asked,
    digest: &Digest,
    kind: HeaderValue,
    body: Body,
    satisfied: Satisfied,
) -> Result<http::Response<Body>, Error> {
    let bytes = body.as_bytes().cloned().unwrap_or_default();
    let size = bytes.len() as u64;
    let part = |range: ByteRange| BlobPart::new(range, Body::from(range.slice(&bytes).unwrap_or_default()));
    match satisfied {
        Satisfied::One(range) => Ok(one_part(asked, digest, Some(size), kind, part(range))),
        Satisfied::Several(ranges) => {
            let parts = ranges.into_iter().map(part).collect();
            Ok(several_parts(asked, digest, Some(size), kind, parts))
        }
        Satisfied::Whole => Ok(whole(asked, digest, Some(size), kind, body)),
        Satisfied::None => {
            let message = format!("no part of what was asked for lies within the {size} bytes of {digest}");
            Err(Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid, message)
                .with_content_size(size))
        }
    }
}

fn one_part(
    asked: &Asked,
    digest: &Digest,
    size: Option<u64>,
    kind: HeaderValue,
    part: BlobPart,
) -> http::Response<Body> {
    let length = part.range.length();
    let range = ContentRange::Part(part.range, size);
    let mut response = whole(asked, digest, Some(length), kind, part.body);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().extend(value(range.to_string()).map(|value| (CONTENT_RANGE, value)));
    response
}

fn several_parts(
    asked: &Asked,
    digest: &Digest,
    size: Option<u64>,
    kind: HeaderValue,
    parts: Vec<BlobPart>,
) -> http::Response<Body> {
    let multipart = Multipart::new(digest, size, &kind, parts);
    let (kind, length) = (multipart.content_type(), multipart.length());
    let mut response = whole(asked, digest, length, kind, Body::new(multipart));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response
}

fn redirect(digest: &Digest, to: &Uri) -> Result<http::Response<Body>, Error> {
    if to.scheme().is_none() || to.authority().is_none() {
        return Err(Error::internal(format!("{digest} was redirected to a relative URL")));
    }
    let mut response = without_content(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.extend(value(to.to_string()).map(|value| (LOCATION, value)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_digest(headers, digest);
    Ok(response)
}

/// A part is for who asked for one, lies within the whole, and is as long as it says.
fn check_part(asked: &Asked, digest: &Digest, size: Option<u64>, part: &BlobPart) -> Result<(), Error> {
    if asked.range().is_none() || size.is_some_and(|size| part.range.last() >= size) {
        let message = format!("{digest} was answered with the part {}, which makes no sense", part.range);
        return Err(Error::internal(message));
    }
    agreed(digest, Some(part.range.length()), part.body.size()).map(drop)
}

/// The size of a content, which nobody may have two of.
fn agreed(digest: &Digest, size: Option<u64>, body: Option<u64>) -> Result<Option<u64>, Error> {
    match (size, body) {
        (Some(size), Some(body)) if size != body => {
            Err(Error::corrupt(format!("of {digest} {size} bytes were to come, but {body} are there")))
        }
        (size, body) => Ok(size.or(body)),
    }
}
