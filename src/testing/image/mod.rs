//! Small images for tests: layers made of a few files, config, manifest, index, of either family, always with the
//! same bytes.
//!
//! ```
//! # fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::hosted::Memory;
//! use tower_oci::testing::image::{File, Image, Index};
//!
//! let amd64 = Image::new().layer([File::new("etc/motd", "hello\n")]).env("GREETING=hello").cmd(["/bin/true"]);
//! let arm64 = amd64.clone().platform("linux/arm64".parse()?);
//! let index = Index::new().image(amd64.build()?).attestation().image(arm64.build()?).build();
//!
//! let registry = Memory::new();
//! let digest = index.push(&registry, &"demo/hello".parse()?, &"latest".parse()?)?;
//! assert_eq!(&digest, index.digest());
//! # Ok(()) }
//! ```

mod builder;
mod index;
mod tar;

use bytes::Bytes;

pub use self::builder::{Compression, Image};
pub use self::index::Index;
pub use self::tar::{File, tar};
use crate::error::Error;
use crate::hosted::Memory;
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::name::{Reference, Repository};
use crate::spec::platform::Platform;

/// An image, an index, or whatever else has a manifest, with all that it refers to.
#[derive(Clone, Debug)]
pub struct Built {
    media_type: MediaType,
    content: Bytes,
    digest: Digest,
    platform: Option<Platform>,
    blobs: Vec<(Descriptor, Bytes)>,
    children: Vec<Self>,
}

impl Built {
    pub(super) fn new(media_type: MediaType, content: Bytes) -> Self {
        let digest = Digest::sha256(&content);
        Self { media_type, content, digest, platform: None, blobs: Vec::new(), children: Vec::new() }
    }

    /// The type that its manifest is pushed with.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Its manifest.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The SHA-256 digest of its manifest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its config and its image layers, in this order, and their contents.
    #[must_use]
    pub fn blobs(&self) -> &[(Descriptor, Bytes)] {
        &self.blobs
    }

    /// The entries of an index.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// What an index says of it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        let descriptor = Descriptor::of(self.media_type.clone(), &self.content);
        match &self.platform {
            Some(platform) => descriptor.with_member("platform", platform_member(platform).to_raw()),
            None => descriptor,
        }
    }

    /// Puts all of it into a repository, and answers its digest.
    ///
    /// # Errors
    ///
    /// When a limit of the registry is reached.
    pub fn push(
        &self,
        registry: &Memory,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Digest, Error> {
        for (descriptor, content) in &self.blobs {
            registry.push_blob(repository, descriptor.media_type().clone(), content.clone())?;
        }
        for child in &self.children {
            child.push(registry, repository, &child.digest.into())?;
        }
        registry.push_manifest(repository, reference, self.media_type.clone(), self.content.clone())
    }
}

/// The members of a platform, in the order in which they are written.
fn platform_member(platform: &Platform) -> Object {
    let mut member = Object::new();
    member.set("architecture", Raw::of(platform.architecture()));
    member.set("os", Raw::of(platform.os()));
    if let Some(variant) = platform.variant() {
        member.set("variant", Raw::of(variant));
    }
    member
}

#[cfg(test)]
mod tests;
