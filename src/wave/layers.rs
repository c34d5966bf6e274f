//! The layers of a container-token request: decoded and checked in full, or as far as can be said without fetching.

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use http::Uri;

use super::limits::Limits;
use super::request::{ContainerLayer, invalid, layer_field};
use super::settings::HttpLayers;
use crate::error::Error;
use crate::layer::rewrite::{HttpMode, InjectedLayer, LayerKind};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::name::shortened;

/// The layer number `index` of a request.
///
/// What is in the request is inflated, which keeps a core busy.
pub(super) fn check(
    index: usize,
    layer: &ContainerLayer<'_>,
    limits: &Limits,
    http: HttpLayers,
) -> Result<InjectedLayer, Error> {
    let field = |name| layer_field(index, name);
    let location =
        layer.location.as_deref().ok_or_else(|| invalid(format!("`{}` is missing", field(".location"))))?;
    let characters = location.chars().count();
    if characters > limits.max_location {
        let (name, max) = (field(".location"), limits.max_location);
        return Err(invalid(format!("`{name}` has {characters} characters, more than {max}")));
    }
    let digest = digest(&field(".gzipDigest"), layer.gzip_digest.as_deref())?;
    let diff_id = self::digest(&field(".tarDigest"), layer.tar_digest.as_deref())?;
    if layer.gzip_size == Some(0) {
        return Err(invalid(format!("`{}` is 0", field(".gzipSize"))));
    }
    if let Some(data) = location.strip_prefix("data:") {
        let content = decode(&field(".location"), data)?;
        let kind = LayerKind::of(&content);
        if kind == LayerKind::Tar {
            return Err(invalid(format!("`{}` is neither gzip nor zstd", field(".location"))));
        }
        let checked = InjectedLayer::from_blob(content.into(), kind, &limits.layer)
            .and_then(|found| found.expecting(digest.as_ref(), diff_id.as_ref(), layer.gzip_size));
        // All of it is wrong with the request, a bomb included.
        return checked.map_err(|error| {
            error.context(format_args!("`{}`", field(""))).with_status(http::StatusCode::BAD_REQUEST)
        });
    }
    let uri = uri(&field(".location"), location, limits.max_text)?;
    let mode = match http {
        HttpLayers::Refuse => {
            let name = field(".location");
            return Err(invalid(format!("`{name}`: this service takes no layers from http addresses")));
        }
        HttpLayers::Stream => HttpMode::Stream,
        HttpLayers::Redirect => HttpMode::Redirect,
    };
    let missing =
        |name| invalid(format!("`{}` is missing, which a layer at an http address needs", field(name)));
    let digest = digest.ok_or_else(|| missing(".gzipDigest"))?;
    let diff_id = diff_id.ok_or_else(|| missing(".tarDigest"))?;
    let size = layer.gzip_size.ok_or_else(|| missing(".gzipSize"))?;
    InjectedLayer::from_http(uri, digest, diff_id, size, mode)
        .map_err(|error| error.context(format_args!("`{}`", field(""))))
}

/// The digest of a member: SHA-256, as the API has it.
fn digest(name: &str, text: Option<&str>) -> Result<Option<Digest>, Error> {
    let Some(text) = text else { return Ok(None) };
    let digest: Digest = text.parse().map_err(|error| invalid(format!("`{name}`: {error}")))?;
    if digest.algorithm() != Algorithm::Sha256 {
        return Err(invalid(format!("`{name}` is no sha256 digest: `{digest}`")));
    }
    Ok(Some(digest))
}

/// What stands behind `data:`: base64, alone or behind a media type and `;base64,`.
fn decode(name: &str, data: &str) -> Result<Vec<u8>, Error> {
    // No base64 text has a comma.
    let encoded = match data.split_once(',') {
        None => data,
        Some((header, encoded)) if header.ends_with(";base64") && header.len() <= MAX_DATA_HEADER => encoded,
        Some((header, _)) => {
            let header = shortened(header);
            return Err(invalid(format!("`{name}` is no base64 data: `data:{header},`")));
        }
    };
    base64(name, encoded)
}

/// The bytes of a base64 text that is written as they would be encoded: padded, without white space.
pub(super) fn base64(name: &str, encoded: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(encoded).map_err(|error| {
        let reason = match error {
            DecodeError::InvalidByte(place, _) => format!("the character at {place} doesn't belong there"),
            DecodeError::InvalidLastSymbol { .. } => "it ends in bits that mean nothing".to_owned(),
            _ => "its length or its padding is wrong".to_owned(),
        };
        invalid(format!("`{name}` is no valid base64: {reason}"))
    })
}

/// The UTF-8 text that is in a base64 text.
pub(super) fn base64_text(name: &str, encoded: &str) -> Result<String, Error> {
    String::from_utf8(base64(name, encoded)?).map_err(|_| invalid(format!("`{name}` is no text in UTF-8")))
}

fn uri(name: &str, location: &str, max: usize) -> Result<Uri, Error> {
    // An address may be signed: it isn't shown with its query.
    let shown = || shortened(location.split(['?', '#']).next().unwrap_or_default());
    if location.len() > max {
        let length = location.len();
        return Err(invalid(format!(
            "`{name}` is an address of {length} bytes, more than {max}: `{}`",
            shown()
        )));
    }
    match location.parse::<Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) => Ok(uri),
        _ => Err(invalid(format!("`{name}` is neither `data:` nor an http address: `{}`", shown()))),
    }
}

/// The longest media type with its parameters in front of base64 data.
const MAX_DATA_HEADER: usize = 256;
