use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::query::Target;
use crate::body::Body;
use crate::error::Error;
use crate::http::marker::{page_query, upload_target};
use crate::operation::{EntityTags, GetBlob, Operation, PutManifest, StartUpload, UploadId};
use crate::spec::media_type::ACCEPT_MANIFESTS;
use crate::spec::name::Repository;
use crate::spec::page::Page;
use crate::spec::range::ByteRange;

/// The HTTP request that asks a registry for `operation`.
///
/// The URI is in origin form (`/v2/…`): whoever sends it puts scheme and host in front. Credentials are added there
/// too; there are none here.
///
/// Three things don't come out of [`decode`](super::decode) as they went in: `accept`, since registries are always
/// asked with our full list; markers of pages and identities of uploads that stand for a query of this registry
/// (they start with `~`), for which that query is sent; and conditions which can't be met, which are left out with
/// the range that they are for.
///
/// # Errors
///
/// `Invalid` when a marker or an identity starts with `~` and isn't one that came out of
/// [`response::decode`](crate::http::response::decode).
pub fn encode(operation: Operation) -> Result<http::Request<Body>, Error> {
    let mut headers = HeaderMap::new();
    let (method, target, body) = match operation {
        Operation::Ping(_) => (Method::GET, Target::new("/v2/".to_owned()), Body::empty()),
        Operation::GetManifest(get) => {
            headers.insert(ACCEPT, HeaderValue::from_static(ACCEPT_MANIFESTS));
            read(&mut headers, get.conditions.if_none_match.as_ref());
            let target = manifests(&get.repository, &get.reference);
            (get_or_head(get.head), target, Body::empty())
        }
        Operation::PutManifest(put) => put_manifest(put, &mut headers),
        Operation::DeleteManifest(delete) => {
            (Method::DELETE, manifests(&delete.repository, &delete.reference), Body::empty())
        }
        Operation::GetBlob(get) => get_blob(&get, &mut headers),
        Operation::DeleteBlob(delete) => {
            let target = Target::new(format!("/v2/{}/blobs/{}", delete.repository, delete.digest));
            (Method::DELETE, target, Body::empty())
        }
        Operation::StartUpload(start) => start_upload(start, &mut headers),
        Operation::UploadChunk(chunk) => {
            content(&mut headers, chunk.range, chunk.length.or_else(|| chunk.body.size()));
            (Method::PATCH, upload(&chunk.repository, &chunk.upload)?, chunk.body)
        }
        Operation::FinishUpload(finish) => {
            let length = finish.length.or_else(|| finish.body.size());
            content(&mut headers, finish.range, length);
            let mut target = upload(&finish.repository, &finish.upload)?;
            target.push("digest", &finish.digest.to_string());
            (Method::PUT, target, finish.body)
        }
        Operation::UploadStatus(status) => {
            (Method::GET, upload(&status.repository, &status.upload)?, Body::empty())
        }
        Operation::CancelUpload(cancel) => {
            (Method::DELETE, upload(&cancel.repository, &cancel.upload)?, Body::empty())
        }
        Operation::ListTags(list) => {
            let mut target = Target::new(format!("/v2/{}/tags/list", list.repository));
            page(&mut target, &list.page)?;
            (Method::GET, target, Body::empty())
        }
        Operation::ListReferrers(list) => {
            let mut target = Target::new(format!("/v2/{}/referrers/{}", list.repository, list.digest));
            // The query of a link to a further page has the filter in it.
            if !page(&mut target, &list.page)?
                && let Some(artifact_type) = &list.artifact_type
            {
                target.push("artifactType", artifact_type);
            }
            (Method::GET, target, Body::empty())
        }
        Operation::ListRepositories(list) => {
            let mut target = Target::new("/v2/_catalog".to_owned());
            page(&mut target, &list.page)?;
            (Method::GET, target, Body::empty())
        }
    };
    let uri = Uri::try_from(target.into_string())
        .map_err(|error| Error::internal("the operation makes no valid URI").with_source(error))?;
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

fn get_or_head(head: bool) -> Method {
    if head { Method::HEAD } else { Method::GET }
}

/// What every read of content by digest or tag says.
fn read(headers: &mut HeaderMap, if_none_match: Option<&EntityTags>) {
    // A digest is of the content as it is; some proxies compress where nobody says a word.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(value) = if_none_match.and_then(entity_tags) {
        headers.insert(IF_NONE_MATCH, value);
    }
}

fn entity_tags(tags: &EntityTags) -> Option<HeaderValue> {
    match tags {
        EntityTags::Any => Some(HeaderValue::from_static("*")),
        EntityTags::Digests(digests) if digests.is_empty() => None,
        EntityTags::Digests(digests) => {
            let tags: Vec<_> = digests.iter().map(|digest| format!("\"{digest}\"")).collect();
            value(tags.join(", "))
        }
    }
}

fn manifests(repository: &Repository, reference: &impl std::fmt::Display) -> Target {
    Target::new(format!("/v2/{repository}/manifests/{reference}"))
}

fn put_manifest(put: PutManifest, headers: &mut HeaderMap) -> (Method, Target, Body) {
    let mut target = manifests(&put.repository, &put.reference);
    for tag in &put.tags {
        target.push("tag", tag.as_str());
    }
    if let Some(media_type) = &put.media_type {
        set(headers, CONTENT_TYPE, media_type.as_str().to_owned());
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(put.content.len()));
    (Method::PUT, target, Body::from(put.content))
}

fn get_blob(get: &GetBlob, headers: &mut HeaderMap) -> (Method, Target, Body) {
    read(headers, get.conditions.if_none_match.as_ref());
    // Ranges are for `GET`, and one that may not be applied isn't asked for.
    if let Some(range) = &get.range
        && !get.head
        && get.conditions.allow_range(&get.digest)
    {
        set(headers, RANGE, range.to_string());
        if get.conditions.if_range.is_some() {
            set(headers, IF_RANGE, format!("\"{}\"", get.digest));
        }
    }
    let target = Target::new(format!("/v2/{}/blobs/{}", get.repository, get.digest));
    (get_or_head(get.head), target, Body::empty())
}

fn start_upload(start: StartUpload, headers: &mut HeaderMap) -> (Method, Target, Body) {
    let mut target = Target::new(format!("/v2/{}/blobs/uploads/", start.repository));
    if let Some(algorithm) = start.algorithm {
        target.push("digest-algorithm", algorithm.as_str());
    }
    if let Some(mount) = &start.mount {
        target.push("mount", &mount.digest.to_string());
        if let Some(from) = &mount.from {
            target.push("from", from.as_str());
        }
    }
    match start.single {
        Some(single) => {
            target.push("digest", &single.digest.to_string());
            content(headers, None, single.length.or_else(|| single.body.size()));
            (Method::POST, target, single.body)
        }
        None => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            (Method::POST, target, Body::empty())
        }
    }
}

fn upload(repository: &Repository, upload: &UploadId) -> Result<Target, Error> {
    let (id, query) = upload_target(upload)?;
    let mut target = Target::new(format!("/v2/{repository}/blobs/uploads/{id}"));
    if let Some(query) = query {
        target.push_raw(&query);
    }
    Ok(target)
}

/// The headers of a chunk, or of a whole blob.
fn content(headers: &mut HeaderMap, range: Option<ByteRange>, length: Option<u64>) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(range) = range {
        set(headers, CONTENT_RANGE, range.to_string());
    }
}

/// Whether the marker was a query of its own, which is all there is then.
fn page(target: &mut Target, page: &Page) -> Result<bool, Error> {
    if let Some(query) = page.last.as_deref().map(page_query).transpose()?.flatten() {
        target.push_raw(&query);
        return Ok(true);
    }
    if let Some(n) = page.n {
        target.push("n", &n.to_string());
    }
    if let Some(last) = &page.last {
        target.push("last", last);
    }
    Ok(false)
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Some(value) = value(text) {
        headers.insert(name, value);
    }
}

fn value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}
