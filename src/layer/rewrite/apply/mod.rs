//! Pure functions from source documents and a plan to derived documents.
//!
//! No I/O, no clock, no randomness: the same documents and the same [`Plan`] give the same bytes on
//! every node and after every restart. What a plan doesn't touch keeps its order and its bytes; a document that isn't
//! touched at all is `None`, and is served as it was.
//!
//! ```
//! use bytes::Bytes;
//! use tower_oci::layer::rewrite::{Plan, apply};
//! use tower_oci::spec::image::Config;
//!
//! let source = Config::parse(Bytes::from_static(
//!     br#"{"os":"linux","architecture":"amd64","config":{"Env":["A=1"],"Cmd":["sh"]}}"#,
//! ))?;
//! let plan = Plan::builder().env("A=2").env("B=3").build()?;
//! let derived = apply::config(&source, &plan)?.unwrap();
//! assert_eq!(
//!     &derived.bytes()[..],
//!     br#"{"os":"linux","architecture":"amd64","config":{"Env":["A=2","B=3"],"Cmd":["sh"]}}"#,
//! );
//! assert_eq!(apply::config(&source, &Plan::default())?, None);
//! # Ok::<_, tower_oci::error::Error>(())
//! ```

mod config;
mod index;
mod manifest;

use std::fmt;

pub use self::config::config;
pub(super) use self::index::still_holds;
pub use self::index::{Choice, Outcome, index, missing_platform, select};
pub use self::manifest::manifest;
use super::plan::Plan;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::image::{Config, ImageManifest};
use crate::spec::json::{Document, InvalidDocument, MAX_DOCUMENT};

/// What a plan makes of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The derived manifest.
    pub manifest: Document,
    /// Its digest, by the algorithm of the source's.
    pub manifest_digest: Digest,
    /// The derived config and its digest; none when the plan changes the manifest alone.
    pub config: Option<(Document, Digest)>,
}

/// What `plan` makes of the image with this manifest, whose digest is `source_digest`, and this config. `None` when it
/// changes nothing about it.
///
/// ```
/// use bytes::Bytes;
/// use tower_oci::layer::rewrite::{Plan, apply};
/// use tower_oci::spec::digest::Digest;
/// use tower_oci::spec::image::{Config, Manifest};
///
/// let config = Bytes::from_static(br#"{"os":"linux","architecture":"amd64"}"#);
/// let manifest = format!(
///     r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":37}},"layers":[]}}"#,
///     Digest::sha256(&config),
/// );
/// let digest = Digest::sha256(manifest.as_bytes());
/// let Manifest::Image(manifest) = Manifest::parse(None, manifest.into())? else { unreachable!() };
/// let plan = Plan::builder().working_dir("/work").build()?;
///
/// let image = apply::image(&manifest, &digest, &Config::parse(config)?, &plan)?.unwrap();
/// let (config, config_digest) = image.config.unwrap();
/// assert!(config_digest.matches(config.bytes()));
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
///
/// # Errors
///
/// As for [`config`] and [`manifest`].
pub fn image(
    source: &ImageManifest,
    source_digest: &Digest,
    source_config: &Config,
    plan: &Plan,
) -> Result<Option<Image>, Error> {
    let config = config(source_config, plan)?.map(|config| {
        let digest = config.digest(source.config_digest().algorithm());
        (config, digest)
    });
    let derived = config.as_ref().map(|(config, digest)| (config, *digest));
    let manifest = manifest(source, source_digest, source_config.platform(), derived, plan)?;
    Ok(manifest.map(|manifest| {
        let manifest_digest = manifest.digest(source_digest.algorithm());
        Image { manifest, manifest_digest, config }
    }))
}

/// The source's own document makes no sense: an upstream's fault, not the caller's.
fn invalid_source(what: impl fmt::Display, error: InvalidDocument) -> Error {
    let message = format!("the {what} of the image can't be rewritten: {error}");
    Error::new(ErrorKind::BadGateway, ErrorCode::ManifestInvalid, message)
}

/// A derived document has to be one that clients and registries take.
fn checked(what: &str, document: Document) -> Result<Document, Error> {
    let length = document.bytes().len();
    if length > MAX_DOCUMENT {
        let message = format!("the derived {what} would have {length} bytes, more than {MAX_DOCUMENT}");
        return Err(Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message));
    }
    Ok(document)
}

#[cfg(test)]
mod tests;
