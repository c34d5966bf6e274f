//! What stands in another registry's URLs and is carried through ours: markers of pages and identities of uploads.
//!
//! A simple one stays as it is. What has more to it becomes `~` and base64 of a *query*, never of a whole URL: the
//! path is always ours to write, so that nobody reaches another one by making up a marker.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use super::request::query::Query;
use crate::error::{Error, ErrorCode};
use crate::operation::UploadId;
use crate::spec::name::Repository;
use crate::spec::page::{Page, next_link};

/// What a packed marker starts with; no tag and no repository does.
const PACKED: char = '~';

/// The marker of the next page, from the `Link` lines of an answer.
pub(super) fn of_links(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let lines = headers.get_all(http::header::LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = lines.into_iter().find_map(next_link) else { return Ok(None) };
    let target = target.split('#').next().unwrap_or_default();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let marker = plain_last(query).unwrap_or_else(|| pack(query));
    if query.is_empty() || marker.len() > Page::MAX_MARKER || !is_harmless(query) {
        return Err(Error::bad_gateway("the link to the next page is empty, too long or malformed"));
    }
    Ok(Some(marker))
}

/// The marker in a query that has nothing but `n` and `last`.
fn plain_last(query: &str) -> Option<String> {
    let query = Query::new(Some(query));
    if !query.pairs().all(|(key, _)| key == "n" || key == "last") {
        return None;
    }
    let last = query.one("last").ok()??;
    (!last.is_empty() && !last.starts_with(PACKED)).then(|| last.into_owned())
}

/// The query that a packed marker stands for.
pub(super) fn page_query(marker: &str) -> Result<Option<String>, Error> {
    let Some(packed) = marker.strip_prefix(PACKED) else { return Ok(None) };
    let malformed = || Error::invalid(ErrorCode::Unsupported, "the marker of the page is malformed");
    unpack(packed).filter(|query| is_harmless(query)).map(Some).ok_or_else(malformed)
}

/// The identity of an upload whose `Location` an upstream named.
pub(super) fn upload_of_location(repository: &Repository, location: &str) -> Result<UploadId, Error> {
    // A location may hold secrets in its query: no message repeats it.
    let foreign = || {
        Error::bad_gateway(format!(
            "the upload has a location outside of /v2/{repository}/blobs/uploads/, which isn't supported"
        ))
    };
    let uri = Uri::try_from(location.trim()).map_err(|_| foreign())?;
    let (folder, id) = uri.path().rsplit_once('/').ok_or_else(foreign)?;
    let inside = folder
        .strip_suffix("/blobs/uploads")
        .and_then(|rest| rest.strip_suffix(repository.as_str()))
        .is_some_and(|rest| rest.ends_with("/v2/"));
    if !inside {
        return Err(foreign());
    }
    let plain: UploadId = id.parse().map_err(|_| foreign())?;
    match uri.query() {
        None if !id.starts_with(PACKED) => Ok(plain),
        Some(query) if !is_harmless(query) => Err(foreign()),
        query => pack(&format!("{id}?{}", query.unwrap_or_default())).parse().map_err(|_| foreign()),
    }
}

/// The last component and the query of the URL that an upload goes by.
pub(super) fn upload_target(upload: &UploadId) -> Result<(Cow<'_, str>, Option<String>), Error> {
    let Some(packed) = upload.as_str().strip_prefix(PACKED) else {
        return Ok((upload.as_str().into(), None));
    };
    let malformed = || Error::invalid(ErrorCode::BlobUploadInvalid, "the upload's identity is malformed");
    let target = unpack(packed).ok_or_else(malformed)?;
    let (id, query) = target.split_once('?').filter(|(_, query)| is_harmless(query)).ok_or_else(malformed)?;
    // One component without escapes, whoever made it up.
    let id: UploadId = id.parse().map_err(|_| malformed())?;
    let query = (!query.is_empty()).then(|| query.to_owned());
    Ok((id.as_str().to_owned().into(), query))
}

fn pack(text: &str) -> String {
    let mut packed = String::from(PACKED);
    BASE64_URL_SAFE_NO_PAD.encode_string(text, &mut packed);
    packed
}

fn unpack(packed: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(packed).ok()?).ok()
}

/// Whether a query has the characters of one, and no parameter that changes *what* is asked for. Anybody can make up
/// a marker; with `ns` in it, say, guards would judge one registry and the upstream would take another.
fn is_harmless(query: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]|{}".contains(&b);
    let telling = |pair: &str| {
        let key = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
        ["ns", "digest", "digest-algorithm", "mount", "from", "tag"].contains(&key.as_ref())
    };
    // Some servers take `;` for `&`.
    query.bytes().all(allowed) && !query.split(['&', ';']).any(telling)
}
