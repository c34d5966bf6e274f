use bytes::Bytes;

use super::descriptor::Descriptor;
use crate::spec::digest::Digest;
use crate::spec::json::{Document, InvalidDocument, Object, Raw};
use crate::spec::media_type::MediaType;

/// A manifest in the distribution specification's sense: what the manifests endpoint serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manifest {
    /// A list of manifests, of either family.
    Index(Index),
    /// A config and image layers, of either family. The config may be anything: see
    /// [`ImageManifest::is_image`].
    Image(ImageManifest),
    /// A document of another kind, kept as it is.
    Other(MediaType, Document),
}

impl Manifest {
    /// Reads a manifest that was served as `content_type`.
    ///
    /// What it is follows from the body's `mediaType`, else from its shape; a `content_type` that says something
    /// else about a manifest is an error, since somebody downstream might believe the other.
    ///
    /// # Errors
    ///
    /// When it is malformed, contradicts its content type, has both `manifests` and `layers`
    /// ([CVE-2021-41190](https://github.com/advisories/GHSA-77vh-xpmg-72qh)), or is a schema 1 manifest.
    pub fn parse(content_type: Option<&MediaType>, bytes: Bytes) -> Result<Self, InvalidDocument> {
        let document = Document::parse(bytes)?;
        let object = document.object();
        let declared = unambiguous(content_type, object)?;
        let is_schema1 = declared.as_ref().or(content_type).is_some_and(MediaType::is_schema1);
        if is_schema1 || object.read_member::<u64>("schemaVersion").ok().flatten() == Some(1) {
            return Err(InvalidDocument::new(
                "Docker schema 1 manifests are not supported; pull and push the image anew",
            ));
        }
        let has = |key: &str| object.get(key).is_some();
        let served = content_type.filter(|t| t.is_index() || t.is_manifest());
        let media_type = match declared.as_ref().or(served) {
            Some(known) => known.clone(),
            None if has("manifests") => MediaType::OCI_INDEX,
            None if has("layers") && has("config") => docker_or_oci(object)?,
            None => content_type.cloned().unwrap_or(MediaType::JSON),
        };
        if media_type.is_index() {
            return Index::new(media_type, document).map(Self::Index);
        }
        if media_type.is_manifest() {
            return ImageManifest::new(media_type, document).map(Self::Image);
        }
        Ok(Self::Other(media_type, document))
    }

    /// Whether nobody can take what was served as `content_type` for something else than another does, whatever it is.
    ///
    /// # Errors
    ///
    /// When it is no document, repeats a key, contradicts its content type, or has both `manifests` and `layers`.
    pub(crate) fn check_unambiguous(content_type: &MediaType, bytes: Bytes) -> Result<(), InvalidDocument> {
        unambiguous(Some(content_type), Document::parse(bytes)?.object()).map(drop)
    }

    /// The media type that it is served with.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Image(image) => &image.media_type,
            Self::Other(media_type, _) => media_type,
        }
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        match self {
            Self::Index(index) => &index.document,
            Self::Image(image) => &image.document,
            Self::Other(_, document) => document,
        }
    }

    /// What it refers to with `subject`, if it does.
    ///
    /// # Errors
    ///
    /// When the member is malformed.
    pub fn subject(&self) -> Result<Option<Descriptor>, InvalidDocument> {
        self.document().object().get("subject").map(Descriptor::read).transpose()
    }

    /// What a referrers list says of its type: its `artifactType`, else for an image manifest the config's type.
    ///
    /// # Errors
    ///
    /// When the member is malformed.
    pub fn artifact_type(&self) -> Result<Option<String>, InvalidDocument> {
        let own: Option<String> = self.document().object().read_member("artifactType")?;
        match (own.filter(|own| !own.is_empty()), self) {
            (Some(own), _) => Ok(Some(own)),
            (None, Self::Image(image)) => Ok(Some(image.config.media_type().as_str().to_owned())),
            (None, _) => Ok(None),
        }
    }

    /// All content that it refers to: manifests of an index; config and layers of an image manifest.
    #[must_use]
    pub fn references(&self) -> Vec<&Descriptor> {
        match self {
            Self::Index(index) => index.manifests.iter().collect(),
            Self::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Self::Other(..) => Vec::new(),
        }
    }
}

/// The media type that a manifest declares, if it is not two things at once.
fn unambiguous(
    content_type: Option<&MediaType>,
    object: &Object,
) -> Result<Option<MediaType>, InvalidDocument> {
    let declared: Option<MediaType> = object.read_member("mediaType")?;
    if let (Some(declared), Some(content_type)) = (&declared, content_type)
        && declared != content_type
        && *content_type != MediaType::JSON
        && *content_type != MediaType::OCTET_STREAM
    {
        return Err(InvalidDocument::new(format_args!(
            "its mediaType is `{declared}`, but it was served as `{content_type}`"
        )));
    }
    let has = |key: &str| object.get(key).is_some();
    if has("manifests") && (has("layers") || has("config")) {
        return Err(InvalidDocument::new(
            "it has both the members of an index and those of an image manifest",
        ));
    }
    Ok(declared)
}

/// An image index or a manifest list
/// ([image-spec, Image Index](https://github.com/opencontainers/image-spec/blob/main/image-index.md)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    media_type: MediaType,
    document: Document,
    manifests: Vec<Descriptor>,
}

impl Index {
    fn new(media_type: MediaType, document: Document) -> Result<Self, InvalidDocument> {
        let manifests = descriptors(document.object(), "manifests")?;
        Ok(Self { media_type, document, manifests })
    }

    /// The media type that it is served with.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The entries, in order: manifests, and maybe further indexes.
    #[must_use]
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
    }
}

/// An image manifest
/// ([image-spec, Image Manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md)), or Docker's
/// schema 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    media_type: MediaType,
    document: Document,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl ImageManifest {
    fn new(media_type: MediaType, document: Document) -> Result<Self, InvalidDocument> {
        let config =
            document.object().get("config").ok_or_else(|| InvalidDocument::new("it has no `config`"))?;
        let config = Descriptor::read(config).map_err(|error| InvalidDocument::member("config", error))?;
        let layers = descriptors(document.object(), "layers")?;
        Ok(Self { media_type, document, config, layers })
    }

    /// The media type that it is served with.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The config.
    #[must_use]
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// The image layers, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// Whether it is an image that a runtime could start, and no artifact: its config is an image config.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.config.media_type().is_image_config()
    }

    /// Whether it is of the Docker family, so that injected layers have Docker's types.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        self.media_type == MediaType::DOCKER_MANIFEST
    }

    /// The digest of the config.
    #[must_use]
    pub fn config_digest(&self) -> &Digest {
        self.config.digest()
    }
}

fn descriptors(object: &Object, key: &'static str) -> Result<Vec<Descriptor>, InvalidDocument> {
    let items = object.array(key)?.ok_or_else(|| InvalidDocument::new(format_args!("it has no `{key}`")))?;
    items
        .iter()
        .map(|raw: &Raw| Descriptor::read(raw).map_err(|error| InvalidDocument::member(key, error)))
        .collect()
}

/// The type of a manifest that doesn't say: the family of its config.
fn docker_or_oci(object: &Object) -> Result<MediaType, InvalidDocument> {
    let config = object.object("config")?;
    let media_type = config.map(|config| config.read_member::<MediaType>("mediaType")).transpose()?.flatten();
    Ok(if media_type == Some(MediaType::DOCKER_CONFIG) {
        MediaType::DOCKER_MANIFEST
    } else {
        MediaType::OCI_MANIFEST
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
