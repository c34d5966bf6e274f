use std::fmt;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Uri;

use super::inflate::{self, Limits};
use crate::error::{Error, ErrorCode};
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// How the tar of an image layer is packed
/// ([image-spec, Layer](https://github.com/opencontainers/image-spec/blob/main/layer.md)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerKind {
    /// A plain tar.
    Tar,
    /// A tar packed with gzip.
    Gzip,
    /// A tar packed with zstd. OCI manifests only: Docker's have no type for it.
    Zstd,
}

impl LayerKind {
    /// What `content` is by its first bytes; a plain tar when they are neither gzip's nor zstd's.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        match content {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Tar,
        }
    }

    /// The word for it: `tar`, `tar+gzip`, `tar+zstd`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "tar+gzip",
            Self::Zstd => "tar+zstd",
        }
    }

    /// The type of such a layer in a manifest of the Docker or the OCI family; `None` for zstd in Docker's.
    #[must_use]
    pub fn media_type(self, docker: bool) -> Option<MediaType> {
        match (self, docker) {
            (Self::Tar, false) => Some(MediaType::OCI_LAYER),
            (Self::Gzip, false) => Some(MediaType::OCI_LAYER_GZIP),
            (Self::Zstd, false) => Some(MediaType::OCI_LAYER_ZSTD),
            (Self::Tar, true) => Some(MediaType::DOCKER_LAYER),
            (Self::Gzip, true) => Some(MediaType::DOCKER_LAYER_GZIP),
            (Self::Zstd, true) => None,
        }
    }
}

/// How a client gets a layer that is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HttpMode {
    /// Through us: fetched, checked on its way, and passed on.
    #[default]
    Stream,
    /// From there itself: the client is told where. Its runtime checks the digest; we can't.
    Redirect,
}

/// Where the bytes of an injected layer are.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerSource {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which must not change while a plan refers to it.
    File(Arc<Path>),
    /// At an http or https address.
    Http {
        /// The address.
        uri: Uri,
        /// How clients get it.
        mode: HttpMode,
    },
}

impl fmt::Debug for LayerSource {
    /// Without the query of an address: signatures of signed addresses are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Http { uri, mode } => {
                write!(f, "Http({}{}, {mode:?})", uri.host().unwrap_or_default(), uri.path())
            }
        }
    }
}

/// An image layer that is put on top of images.
///
/// Constructors that see the content inflate it and take digests and size from it: that keeps a core busy for as long
/// as it takes (some 250 MB of tar in a second), so in a server it belongs on a thread of its own, as with tokio's
/// `spawn_blocking`. Content comes from untrusted requests, so it is bounded by [`Limits`].
///
/// ```
/// use tower_oci::layer::rewrite::{InjectedLayer, LayerKind, Limits};
///
/// let tar = vec![0_u8; 1024]; // an archive without files
/// let layer = InjectedLayer::from_tar(tar.into())?;
/// assert_eq!(layer.kind(), LayerKind::Gzip);
///
/// // What somebody else packed is checked against what they said of it.
/// let blob = layer.bytes().unwrap().clone();
/// let same = InjectedLayer::from_blob(blob, LayerKind::Gzip, &Limits::default())?
///     .expecting(Some(layer.digest()), Some(layer.diff_id()), Some(layer.size()))?;
/// assert_eq!(same, layer);
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedLayer {
    kind: LayerKind,
    digest: Digest,
    size: u64,
    diff_id: Digest,
    platforms: Vec<Platform>,
    source: LayerSource,
}

impl InjectedLayer {
    /// A layer of the uncompressed archive `tar`, which is packed with gzip, once and here: its digest is then part
    /// of plans, and never computed anew, since another build of the packer may pack otherwise.
    ///
    /// # Errors
    ///
    /// When packing fails, which for memory it doesn't.
    pub fn from_tar(tar: Bytes) -> Result<Self, Error> {
        let diff_id = Digest::sha256(&tar);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(&tar).and_then(|()| encoder.finish());
        let packed = packed.map_err(|error| Error::internal("a layer was not packed").with_source(error))?;
        let size = packed.len() as u64;
        Ok(Self {
            kind: LayerKind::Gzip,
            digest: Digest::sha256(&packed),
            size,
            diff_id,
            platforms: Vec::new(),
            source: LayerSource::Bytes(packed.into()),
        })
    }

    /// A layer of content that is packed already, or a plain tar. It is inflated whole, for its diff_id.
    ///
    /// # Errors
    ///
    /// `MANIFEST_INVALID` when the content isn't of that kind, is cut off, or has something behind its end; `413`
    /// when it goes over a limit.
    pub fn from_blob(content: Bytes, kind: LayerKind, limits: &Limits) -> Result<Self, Error> {
        let found = inflate::measure(content.as_ref(), content.len() as u64, kind, limits)?;
        Ok(Self::measured(kind, found, LayerSource::Bytes(content)))
    }

    /// A layer of the content of a file, which stays there. It is read once here, and again whenever it is served.
    ///
    /// # Errors
    ///
    /// As for [`from_blob`](Self::from_blob), and when the file can't be read.
    pub fn from_file(path: impl Into<PathBuf>, kind: LayerKind, limits: &Limits) -> Result<Self, Error> {
        let path = path.into();
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| {
            Error::internal(format!("the layer {} can't be read", path.display())).with_source(error)
        })?;
        let found = inflate::measure(BufReader::with_capacity(256 * 1024, file), length, kind, limits)?;
        Ok(Self::measured(kind, found, LayerSource::File(path.into())))
    }

    /// A gzip layer that is kept at an http or https address and has this digest, this diff_id and this size in
    /// bytes. Nothing is fetched here; digest and size are checked whenever it is streamed.
    ///
    /// # Errors
    ///
    /// `MANIFEST_INVALID` when `uri` isn't an absolute http or https address, or has a user name in it;
    /// `SIZE_INVALID` when `size` is zero or over 2⁶³ − 1.
    pub fn from_http(
        uri: Uri,
        digest: Digest,
        diff_id: Digest,
        size: u64,
        mode: HttpMode,
    ) -> Result<Self, Error> {
        let refused = |reason| {
            let shown = format!("{}{}", uri.host().unwrap_or_default(), uri.path());
            Error::invalid(ErrorCode::ManifestInvalid, format!("the layer location `{shown}` {reason}"))
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(refused("is no http or https address"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(refused("has a user name in it"));
        }
        if size == 0 || size > Descriptor::MAX_SIZE {
            return Err(Error::invalid(
                ErrorCode::SizeInvalid,
                format!("the layer {digest} can't have {size} bytes"),
            ));
        }
        let source = LayerSource::Http { uri, mode };
        Ok(Self { kind: LayerKind::Gzip, digest, size, diff_id, platforms: Vec::new(), source })
    }

    /// A layer that was measured before, out of a record of ours. Its digest is checked, its diff_id is taken as it
    /// is: nothing is inflated.
    ///
    /// # Errors
    ///
    /// When the content has another digest: the record is damaged.
    #[cfg(feature = "wave")]
    pub(crate) fn restored(
        content: Bytes,
        kind: LayerKind,
        digest: Digest,
        diff_id: Digest,
    ) -> Result<Self, Error> {
        if !digest.matches(&content) {
            return Err(Error::internal(format!("the record of the layer {digest} is damaged")));
        }
        let size = content.len() as u64;
        Ok(Self { kind, digest, size, diff_id, platforms: Vec::new(), source: LayerSource::Bytes(content) })
    }

    fn measured(kind: LayerKind, found: inflate::Measured, source: LayerSource) -> Self {
        let inflate::Measured { digest, size, diff_id } = found;
        Self { kind, digest, size, diff_id, platforms: Vec::new(), source }
    }

    /// The same layer, if it is what somebody said it is. What they didn't say isn't compared.
    ///
    /// # Errors
    ///
    /// `SIZE_INVALID` or `DIGEST_INVALID`, naming both values, when one of them differs. Digests are SHA-256.
    pub fn expecting(
        self,
        digest: Option<&Digest>,
        diff_id: Option<&Digest>,
        size: Option<u64>,
    ) -> Result<Self, Error> {
        if let Some(size) = size.filter(|size| *size != self.size) {
            let message = format!("the layer has {} bytes, not {size}", self.size);
            return Err(Error::invalid(ErrorCode::SizeInvalid, message));
        }
        for (what, said, found) in
            [("layer", digest, &self.digest), ("tar of the layer", diff_id, &self.diff_id)]
        {
            if let Some(said) = said.filter(|said| *said != found) {
                let message = format!("the {what} has the digest {found}, not {said}");
                return Err(Error::invalid(ErrorCode::DigestInvalid, message));
            }
        }
        Ok(self)
    }

    /// The same layer, for images of these platforms only; for all when there are none.
    #[must_use]
    pub fn for_platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.platforms = platforms.into_iter().collect();
        self.platforms.sort();
        self.platforms.dedup();
        self
    }

    /// The same layer packed in another way, for content at an http address, which hasn't been looked at. A layer
    /// whose content has been seen is what it is, and stays so.
    #[must_use]
    pub fn with_kind(mut self, kind: LayerKind) -> Self {
        if let LayerSource::Http { .. } = self.source {
            self.kind = kind;
        }
        self
    }

    /// How it is packed.
    #[must_use]
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// The digest of the content as it is served.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size of the content as it is served, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of the tar.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// The platforms whose images get it; all when empty.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Whether images for `platform` get it.
    #[must_use]
    pub fn is_for(&self, platform: &Platform) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|wanted| wanted.accepts(platform))
    }

    /// Where the content is.
    #[must_use]
    pub fn source(&self) -> &LayerSource {
        &self.source
    }

    /// The content, when it is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.source {
            LayerSource::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// What a manifest of the Docker or the OCI family says of it.
    ///
    /// # Errors
    ///
    /// `MANIFEST_INVALID` for a zstd layer in a Docker manifest.
    pub fn descriptor(&self, docker: bool) -> Result<Descriptor, Error> {
        let media_type = self.kind.media_type(docker).ok_or_else(|| {
            let message = format!(
                "the layer {} is packed with zstd, which the image's Docker manifest has no type for; pack it with gzip",
                self.digest
            );
            Error::invalid(ErrorCode::ManifestInvalid, message)
        })?;
        Ok(Descriptor::new(media_type, self.digest, self.size))
    }
}
