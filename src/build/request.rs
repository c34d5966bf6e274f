use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::container_file::base_images;
use crate::operation::Credential;
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::{Host, ImageName, Repository};
use crate::spec::platform::Platform;

/// One image to be built.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildRequest {
    /// The container file and what lies beside it.
    pub context: Arc<BuildContext>,
    /// The platforms to build for: one makes an image, several make an index. The engine's own when empty.
    pub platforms: Vec<Platform>,
    /// The repository and the tag that the result is pushed to.
    pub target: ImageName,
    /// A repository that build steps are kept in, and taken from.
    pub cache: Option<ImageName>,
    /// What the engine may read and write with, beside what everybody may.
    pub access: Vec<RegistryAccess>,
    /// The registries that are spoken to over plain http.
    pub insecure: Vec<Host>,
}

/// A credential for a registry, or for a part of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryAccess {
    /// The registry.
    pub registry: Host,
    /// The repository it is for, with those below it; the whole registry when absent.
    pub repository: Option<Repository>,
    /// What opens it.
    pub credential: Credential,
}

/// A container file and the files of its context. Its `Debug` names them alone: what is in them is somebody's.
#[derive(Clone, PartialEq, Eq)]
pub struct BuildContext {
    container_file: String,
    files: BTreeMap<String, Bytes>,
}

impl BuildRequest {
    /// An image of `context` for the engine's own platform, pushed to `target`.
    #[must_use]
    pub fn new(context: impl Into<Arc<BuildContext>>, target: ImageName) -> Self {
        Self {
            context: context.into(),
            platforms: Vec::new(),
            target,
            cache: None,
            access: Vec::new(),
            insecure: Vec::new(),
        }
    }
}

impl RegistryAccess {
    /// A credential for a registry, or for a repository of it.
    #[must_use]
    pub fn new(registry: Host, repository: Option<Repository>, credential: Credential) -> Self {
        Self { registry, repository, credential }
    }
}

impl BuildContext {
    /// A container file without a file beside it.
    #[must_use]
    pub fn new(container_file: impl Into<String>) -> Self {
        Self { container_file: container_file.into(), files: BTreeMap::new() }
    }

    /// With a file beside it. `name` is one path component: it is the crate's own, never a client's.
    #[must_use]
    pub fn file(mut self, name: &'static str, content: impl Into<Bytes>) -> Self {
        self.files.insert(name.to_owned(), content.into());
        self
    }

    /// The same with a file that another context has.
    #[cfg(feature = "wave")]
    pub(crate) fn with_file(mut self, name: &str, content: Bytes) -> Self {
        self.files.insert(name.to_owned(), content);
        self
    }

    /// What was recorded of a context: names are those that [`BuildContext::file`] took.
    pub(super) fn recorded(container_file: String, files: BTreeMap<String, Bytes>) -> Self {
        Self { container_file, files }
    }

    /// The container file.
    #[must_use]
    pub fn container_file(&self) -> &str {
        &self.container_file
    }

    /// The files beside it, by their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(name, content)| (name.as_str(), content))
    }

    /// The images that its stages begin with or copy from, each once, in order: what credentials may be needed for. Those
    /// that only the engine can know, because an argument is part of their name, are left out.
    ///
    /// ```
    /// use tower_oci::build::BuildContext;
    ///
    /// let context = BuildContext::new("FROM busybox AS one\nFROM quay.io/a/b:1\nCOPY --from=one /x /x\n");
    /// let images: Vec<_> = context.base_images().iter().map(ToString::to_string).collect();
    /// assert_eq!(images, ["docker.io/library/busybox", "quay.io/a/b:1"]);
    /// ```
    #[must_use]
    pub fn base_images(&self) -> Vec<ImageName> {
        base_images(&self.container_file)
    }

    /// A name for all of it: equal contexts have equal names, in every process.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        };
        add(self.container_file.as_bytes());
        for (name, content) in &self.files {
            add(name.as_bytes());
            add(content);
        }
        hasher.finish()
    }
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildContext")
            .field("digest", &self.digest())
            .field("files", &self.files.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
