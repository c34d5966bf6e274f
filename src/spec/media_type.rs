//! Media types of manifests, configs and image layers
//! ([image-spec, Media Types](https://github.com/opencontainers/image-spec/blob/main/media-types.md)), of both
//! families: OCI and Docker schema 2.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorCode};

/// A media type without parameters, as `type/subtype` in RFC 6838's characters, at most 255 of them.
///
/// Well-known ones are constants. Comparison is exact: registries and clients write them in lower case.
///
/// ```
/// use tower_oci::spec::media_type::MediaType;
///
/// let parsed: MediaType = "application/vnd.oci.image.index.v1+json; charset=utf-8".parse()?;
/// assert_eq!(parsed, MediaType::OCI_INDEX);
/// assert!(parsed.is_index());
/// # Ok::<_, tower_oci::spec::media_type::InvalidMediaType>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Cow<'static, str>);

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*
        }

        fn known(text: &str) -> Option<MediaType> {
            match text {
                $($text => Some(MediaType::$name),)*
                _ => None,
            }
        }
    };
}

known! {
    /// An OCI image manifest.
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    /// An OCI image config.
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer, a plain tar.
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer, gzip.
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer, zstd.
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// OCI's empty JSON object, the config of artifacts without one.
    OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    /// A Docker schema 2 manifest.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker manifest list.
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A Docker image config.
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
    /// A Docker layer, gzip.
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A Docker layer, a plain tar.
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
    /// A Docker foreign layer, fetched from its `urls`.
    DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// A Docker schema 1 manifest, signed. Refused: it can't be rewritten.
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// A Docker schema 1 manifest, unsigned.
    DOCKER_SCHEMA1_UNSIGNED = "application/vnd.docker.distribution.manifest.v1+json";
    /// Plain bytes.
    OCTET_STREAM = "application/octet-stream";
    /// Plain JSON.
    JSON = "application/json";
}

impl MediaType {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an index of either family.
    #[must_use]
    pub fn is_index(&self) -> bool {
        *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST
    }

    /// Whether it is an image manifest of either family.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Whether it is Docker's schema 1, signed or not.
    #[must_use]
    pub fn is_schema1(&self) -> bool {
        *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_UNSIGNED
    }

    /// Whether it is a layer that may not be distributed, and so may lie elsewhere
    /// ([image-spec, Non-Distributable Layers](https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers)).
    #[must_use]
    pub fn is_foreign_layer(&self) -> bool {
        *self == Self::DOCKER_FOREIGN_LAYER
            || self.as_str().starts_with("application/vnd.oci.image.layer.nondistributable.")
    }

    /// Whether it is an image config of either family.
    #[must_use]
    pub fn is_image_config(&self) -> bool {
        *self == Self::OCI_CONFIG || *self == Self::DOCKER_CONFIG
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    /// Parameters are cut off, as the specification asks of whoever reads a `Content-Type`.
    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let bare = text.split(';').next().unwrap_or_default().trim();
        if let Some(known) = known(bare) {
            return Ok(known);
        }
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*%'`|~".contains(&b))
        };
        match bare.split_once('/') {
            Some((kind, subtype)) if bare.len() <= 255 && part(kind) && part(subtype) => {
                Ok(Self(Cow::Owned(bare.to_ascii_lowercase())))
            }
            _ => Err(InvalidMediaType { text: super::name::shortened(text) }),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaType({})", self.0)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no media type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid media type `{text}`")]
pub struct InvalidMediaType {
    text: String,
}

impl From<InvalidMediaType> for Error {
    fn from(error: InvalidMediaType) -> Self {
        Self::invalid(ErrorCode::ManifestInvalid, error.to_string())
    }
}

/// The value of `Accept` with which an upstream is asked for a manifest: all that we understand, and then anything,
/// so that the answer never depends on what the client sent.
pub const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_ignored() {
        let parsed: MediaType = " application/vnd.OCI.image.manifest.v1+json ;x=y".parse().unwrap();
        assert_eq!(parsed, MediaType::OCI_MANIFEST);
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for bad in ["", "json", "a/", "/b", "a/b/c", "a b/c", "a/\r\nx: y", &format!("a/{}", "b".repeat(300))]
        {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
    }
}
