use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::path::Route;
use super::query::{Query, invalid};
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::headers::{content_length, is_encoded, joined, single};
use crate::operation::{
    Accept, CancelUpload, Conditions, DeleteBlob, DeleteManifest, EntityTags, FinishUpload, GetBlob,
    GetManifest, ListReferrers, ListRepositories, ListTags, Mount, Namespace, Operation, Ping, PutManifest,
    Request, SingleUpload, StartUpload, UploadChunk, UploadStatus,
};
use crate::spec::digest::Digest;
use crate::spec::json::MAX_DOCUMENT;
use crate::spec::name::{Host, Reference, Repository, shortened, without_tokens};
use crate::spec::page::Page;
use crate::spec::range::ByteRange;

/// The operation that an HTTP request means.
///
/// Only what the operation has room for is taken over: `Authorization`, `Cookie` and every other header of the
/// client stay behind. The `ns` parameter of a read becomes the extension [`Namespace`]; on writes it is ignored. The
/// extensions of the HTTP request aren't looked at; [`OciService`](crate::http::OciService) passes them on.
///
/// A `HEAD` of a list or of `/v2/` means the same operation as the `GET`: who sends the answer leaves the body out.
///
/// The body is read here for `PUT` of a manifest only; that of an upload moves into the operation.
///
/// # Errors
///
/// `NotFound` for a path that isn't one of the API's, `Unsupported` (405) for a method that its endpoint doesn't have,
/// `TooLarge` (413) for a manifest over [`MAX_DOCUMENT`]; `Invalid` for everything malformed: names, references and
/// digests, parameters that stand twice, `n` that is no number, `ns` that is no host, a `Content-Range` that is none
/// or doesn't agree with `Content-Length`. A `Range` that can't be read is ignored, as RFC 9110 demands.
pub async fn decode(parts: &Parts, body: Body) -> Result<Request, Error> {
    let path = parts.uri.path();
    let route = Route::parse(path).ok_or_else(|| unknown(path))?;
    let query = Query::new(parts.uri.query());
    let headers = &parts.headers;
    let method = parts.method.as_str();
    let head = method == "HEAD";
    let operation: Operation = match (route, method) {
        (Route::Ping, "GET" | "HEAD") => Ping::new().into(),
        (Route::Catalog, "GET" | "HEAD") => ListRepositories { page: page(query)? }.into(),
        (Route::Tags { name }, "GET" | "HEAD") => {
            ListTags { repository: repository(name)?, page: page(query)? }.into()
        }
        (Route::Referrers { name, digest }, "GET" | "HEAD") => {
            let (repository, digest) = (repository(name)?, parse_digest(digest)?);
            let artifact_type = text(query, "artifactType", MAX_ARTIFACT_TYPE)?;
            ListReferrers { repository, digest, artifact_type, page: page(query)? }.into()
        }
        (Route::Manifest { name, reference }, "GET" | "HEAD") => GetManifest {
            repository: repository(name)?,
            reference: parse_reference(reference)?,
            head,
            conditions: Conditions { if_none_match: if_none_match(headers), ..Conditions::default() },
            accept: joined(headers, &ACCEPT).map(Accept::new).unwrap_or_default(),
        }
        .into(),
        (Route::Manifest { name, reference }, "PUT") => {
            put_manifest(name, reference, query, headers, body).await?.into()
        }
        (Route::Manifest { name, reference }, "DELETE") => {
            DeleteManifest::new(repository(name)?, parse_reference(reference)?).into()
        }
        (Route::Blob { name, digest }, "GET" | "HEAD") => get_blob(name, digest, head, headers)?.into(),
        (Route::Blob { name, digest }, "DELETE") => {
            DeleteBlob::new(repository(name)?, parse_digest(digest)?).into()
        }
        (Route::Uploads { name }, "POST") => start_upload(name, query, headers, body)?.into(),
        (Route::Upload { name, id }, "GET") => UploadStatus::new(repository(name)?, id.parse()?).into(),
        (Route::Upload { name, id }, "DELETE") => CancelUpload::new(repository(name)?, id.parse()?).into(),
        (Route::Upload { name, id }, "PATCH") => {
            let (range, length) = chunk(headers, &body)?;
            UploadChunk { repository: repository(name)?, upload: id.parse()?, range, length, body }.into()
        }
        (Route::Upload { name, id }, "PUT") => {
            let digest = query.one("digest")?.ok_or_else(|| {
                Error::invalid(ErrorCode::DigestInvalid, "the end of an upload needs the parameter `digest`")
            })?;
            let (range, length) = chunk(headers, &body)?;
            let (repository, upload, digest) = (repository(name)?, id.parse()?, digest.parse()?);
            FinishUpload { repository, upload, digest, range, length, body }.into()
        }
        (route, method) => {
            let methods = route.methods();
            let method = shortened(method);
            return Err(Error::unsupported(format!(
                "this endpoint has no method `{method}`, only {methods}"
            )));
        }
    };
    let mut request = Request::new(operation);
    if matches!(method, "GET" | "HEAD")
        && !matches!(route, Route::Upload { .. })
        && let Some(namespace) = query.one("ns")?
    {
        let host: Host = namespace
            .parse()
            .map_err(|error| Error::from(error).context("the query parameter `ns` names no registry"))?;
        request.extensions_mut().insert(Namespace::new(host));
    }
    Ok(request)
}

fn unknown(path: &str) -> Error {
    let message = format!("the registry API has no endpoint `{}`", shortened(&without_tokens(path)));
    Error::new(ErrorKind::NotFound, ErrorCode::Unsupported, message)
}

fn repository(name: &str) -> Result<Repository, Error> {
    unescaped("repository name", name, ErrorCode::NameInvalid)?;
    Ok(name.parse()?)
}

fn parse_reference(text: &str) -> Result<Reference, Error> {
    unescaped("reference", text, ErrorCode::ManifestInvalid)?;
    Ok(text.parse()?)
}

fn parse_digest(text: &str) -> Result<Digest, Error> {
    unescaped("digest", text, ErrorCode::DigestInvalid)?;
    Ok(text.parse()?)
}

/// The grammars have no `%` anyway; this says so in place of a riddle.
fn unescaped(what: &str, text: &str, code: ErrorCode) -> Result<(), Error> {
    if !text.contains('%') {
        return Ok(());
    }
    let text = shortened(&without_tokens(text));
    let message = format!("invalid {what} `{text}`: it must stand in the path without escapes");
    Err(Error::invalid(code, message))
}

fn page(query: Query<'_>) -> Result<Page, Error> {
    let n = match query.one("n")? {
        // What has more digits than a number has room for is clamped like any other that is too large.
        Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
            Some(n.parse().unwrap_or(u64::MAX))
        }
        Some(n) => return Err(invalid(format!("the query parameter `n` is no number: `{}`", shortened(&n)))),
        None => None,
    };
    Ok(Page::new(n, text(query, "last", Page::MAX_MARKER)?))
}

/// The parameter `key` of at most `max` bytes; an empty one counts as absent.
fn text(query: Query<'_>, key: &'static str, max: usize) -> Result<Option<String>, Error> {
    let value = query.one(key)?.filter(|value| !value.is_empty());
    if value.as_ref().is_some_and(|value| value.len() > max) {
        return Err(invalid(format!("the query parameter `{key}` is longer than {max} bytes")));
    }
    Ok(value.map(Into::into))
}

fn if_none_match(headers: &HeaderMap) -> Option<EntityTags> {
    let tags = EntityTags::parse(&joined(headers, &IF_NONE_MATCH)?);
    // Tags that aren't digests never match, and then there is no condition.
    (!matches!(&tags, EntityTags::Digests(digests) if digests.is_empty())).then_some(tags)
}

fn get_blob(name: &str, digest: &str, head: bool, headers: &HeaderMap) -> Result<GetBlob, Error> {
    let (repository, digest) = (repository(name)?, parse_digest(digest)?);
    let mut conditions = Conditions { if_none_match: if_none_match(headers), ..Conditions::default() };
    // RFC 9110 defines ranges for `GET` alone.
    let mut range = if head { None } else { single(headers, &RANGE).and_then(|text| text.parse().ok()) };
    if range.is_some() && headers.contains_key(IF_RANGE) {
        // A weak tag, a date or `*` allows no range (RFC 9110, 13.1.5).
        let strong = single(headers, &IF_RANGE).filter(|text| text.trim_start().starts_with('"'));
        let tags = strong.map(EntityTags::parse).filter(|tags| tags.matches(&digest));
        if tags.is_none() {
            range = None;
        }
        conditions.if_range = tags;
    }
    Ok(GetBlob { repository, digest, head, range, conditions })
}

async fn put_manifest(
    name: &str,
    reference: &str,
    query: Query<'_>,
    headers: &HeaderMap,
    body: Body,
) -> Result<PutManifest, Error> {
    let (repository, reference) = (repository(name)?, parse_reference(reference)?);
    let mut tags = Vec::new();
    for tag in query.all("tag") {
        let tag = tag?;
        if tags.len() == PutManifest::MAX_TAGS {
            let message = format!("a manifest takes {} `tag` parameters at most", PutManifest::MAX_TAGS);
            return Err(invalid(message).with_status(StatusCode::URI_TOO_LONG));
        }
        tags.push(tag.parse()?);
    }
    if !tags.is_empty() && reference.digest().is_none() {
        let message = "the parameter `tag` is for manifests that are put by digest";
        return Err(invalid(message.to_owned()));
    }
    let media_type = match headers.get(CONTENT_TYPE) {
        Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).parse()?),
        None => None,
    };
    not_encoded(headers)?;
    let max = MAX_DOCUMENT as u64;
    if announced(headers, &body).is_some_and(|length| length > max) {
        let message = format!("the manifest is larger than {max} bytes");
        return Err(Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message));
    }
    let content = body.limited(max, "manifest").read(MAX_DOCUMENT).await?;
    Ok(PutManifest { repository, reference, tags, media_type, content })
}

fn start_upload(name: &str, query: Query<'_>, headers: &HeaderMap, body: Body) -> Result<StartUpload, Error> {
    let repository = repository(name)?;
    let algorithm = query.one("digest-algorithm")?.map(|name| name.parse()).transpose()?;
    let from = query.one("from")?.map(|from| from.parse()).transpose()?;
    let mount = match query.one("mount")? {
        Some(digest) => Some(Mount { digest: digest.parse()?, from }),
        None => None,
    };
    let single = match query.one("digest")? {
        Some(digest) => {
            not_encoded(headers)?;
            let length = announced(headers, &body);
            Some(SingleUpload { digest: digest.parse()?, length, body })
        }
        None => None,
    };
    Ok(StartUpload { repository, algorithm, mount, single })
}

/// Where a chunk belongs, and how long it says that it is.
fn chunk(headers: &HeaderMap, body: &Body) -> Result<(Option<ByteRange>, Option<u64>), Error> {
    not_encoded(headers)?;
    let length = announced(headers, body);
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok((None, length)) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let range: ByteRange = text.trim().parse().map_err(|_| {
        let message = format!("the Content-Range `{}` isn't `<first>-<last>`", shortened(&text));
        Error::invalid(ErrorCode::BlobUploadInvalid, message)
    })?;
    match length {
        Some(length) if length != range.length() => {
            let message = format!("the Content-Range `{range}` isn't that of {length} bytes");
            Err(Error::invalid(ErrorCode::SizeInvalid, message))
        }
        _ => Ok((Some(range), length)),
    }
}

/// The length of a body: as its framing has it, else as it was announced.
fn announced(headers: &HeaderMap, body: &Body) -> Option<u64> {
    body.size().or_else(|| content_length(headers).filter(|_| !headers.contains_key(TRANSFER_ENCODING)))
}

/// Content is hashed as it comes, so it has to come as it is.
fn not_encoded(headers: &HeaderMap) -> Result<(), Error> {
    if !is_encoded(headers) {
        return Ok(());
    }
    let coding = joined(headers, &CONTENT_ENCODING).unwrap_or_default();
    let message = format!("content must come without the coding `{}`", shortened(&coding));
    Err(Error::unsupported(message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The longest `artifactType` in bytes, which is that of a media type.
const MAX_ARTIFACT_TYPE: usize = 255;
