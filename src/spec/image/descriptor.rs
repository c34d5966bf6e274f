use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use crate::spec::digest::Digest;
use crate::spec::json::{InvalidDocument, Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// What refers to some content: its media type, digest and size, and more members that are kept as they are
/// ([image-spec, Descriptors](https://github.com/opencontainers/image-spec/blob/main/descriptor.md)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    object: Object,
    media_type: MediaType,
    digest: Digest,
    size: u64,
}

#[derive(Deserialize)]
struct PlatformMember {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    /// The largest size that is believed: 2⁶³ − 1, the specification's `int64`.
    pub const MAX_SIZE: u64 = i64::MAX as u64;

    /// A descriptor with the three members that it must have.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        let mut object = Object::new();
        object.set("mediaType", Raw::of(&media_type));
        object.set("digest", Raw::of(&digest));
        object.set("size", Raw::of(&size));
        Self { object, media_type, digest, size }
    }

    /// The descriptor of `content`.
    #[must_use]
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(content), content.len() as u64)
    }

    /// Reads a descriptor.
    ///
    /// # Errors
    ///
    /// When it is no object, or one of the three members is absent or malformed.
    pub fn read(raw: &Raw) -> Result<Self, InvalidDocument> {
        let object = raw.object()?;
        let missing = |key| InvalidDocument::new(format_args!("a descriptor has no `{key}`"));
        let media_type = object.read_member("mediaType")?.ok_or_else(|| missing("mediaType"))?;
        let digest = object.read_member("digest")?.ok_or_else(|| missing("digest"))?;
        let size = object.read_member::<u64>("size")?.ok_or_else(|| missing("size"))?;
        if size > Self::MAX_SIZE {
            return Err(InvalidDocument::member("size", "over 2^63 - 1"));
        }
        Ok(Self { object, media_type, digest, size })
    }

    /// The media type of the content.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The digest of the content.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size of the content in bytes. A claim, until the content has been read: nothing is allocated from it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All members.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The platform in its normal form, where there is one.
    ///
    /// # Errors
    ///
    /// When the member `platform` is malformed.
    pub fn platform(&self) -> Result<Option<Platform>, InvalidDocument> {
        let member: Option<PlatformMember> = self.object.read_member("platform")?;
        Ok(member
            .map(|member| Platform::from_parts(&member.os, &member.architecture, member.variant.as_deref())))
    }

    /// The annotation `key`; `None` too when the annotations are malformed.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<String> {
        let mut annotations: BTreeMap<String, String> = self.object.read_member("annotations").ok()??;
        annotations.remove(key)
    }

    /// The artifact type, where there is one.
    ///
    /// # Errors
    ///
    /// When the member is malformed.
    pub fn artifact_type(&self) -> Result<Option<String>, InvalidDocument> {
        self.object.read_member("artifactType")
    }

    /// The content that the descriptor itself carries in `data`, if it agrees with size and digest.
    #[must_use]
    pub fn data(&self) -> Option<Bytes> {
        let text: String = self.object.read_member("data").ok()??;
        let data = BASE64_STANDARD.decode(text).ok()?;
        (data.len() as u64 == self.size && self.digest.matches(&data)).then(|| data.into())
    }

    /// Whether this index entry is an attestation of another one, as BuildKit writes them.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotation("vnd.docker.reference.type").as_deref() == Some("attestation-manifest")
    }

    /// The digest that an attestation is about.
    #[must_use]
    pub fn attested(&self) -> Option<Digest> {
        self.annotation("vnd.docker.reference.digest")?.parse().ok()
    }

    /// The same descriptor for other content: digest and size are set, `data` is brought in step when it was there,
    /// everything else is kept.
    #[must_use]
    pub fn with_content(&self, digest: Digest, content: &[u8]) -> Self {
        let mut object = self.object.clone();
        let size = content.len() as u64;
        object.set("digest", Raw::of(&digest));
        object.set("size", Raw::of(&size));
        if object.get("data").is_some() {
            object.set("data", Raw::of(&BASE64_STANDARD.encode(content)));
        }
        Self { object, media_type: self.media_type.clone(), digest, size }
    }

    /// The same descriptor with the member `key` set to `value`; not for the three members that it must have.
    #[must_use]
    pub fn with_member(mut self, key: &'static str, value: Raw) -> Self {
        self.object.set(key, value);
        self
    }
}
