use std::collections::BTreeMap;

use bytes::Bytes;

use super::Built;
use crate::spec::image::Descriptor;
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// An index in the making: an OCI index without entries, unless said otherwise.
///
/// See [the module](crate::testing::image) for an example.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Index {
    docker: bool,
    entries: Vec<(Built, Descriptor)>,
}

impl Index {
    /// An OCI index without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of Docker's family: a manifest list.
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// With one more entry: an image, or another index.
    pub fn image(mut self, image: Built) -> Self {
        let descriptor = image.descriptor();
        self.entries.push((image, descriptor));
        self
    }

    /// With an attestation of the last entry, as BuildKit writes them.
    pub fn attestation(mut self) -> Self {
        let Some((attested, _)) = self.entries.last() else { return self };
        let digest = attested.digest().to_string();
        let attestation = attestation(&digest);
        let annotations = BTreeMap::from([
            ("vnd.docker.reference.digest", digest.as_str()),
            ("vnd.docker.reference.type", "attestation-manifest"),
        ]);
        let descriptor = attestation.descriptor().with_member("annotations", Raw::of(&annotations));
        self.entries.push((attestation, descriptor));
        self
    }

    /// The index.
    #[must_use]
    pub fn build(&self) -> Built {
        let media_type = if self.docker { MediaType::DOCKER_LIST } else { MediaType::OCI_INDEX };
        let mut index = Object::new();
        index.set("schemaVersion", Raw::of(&2));
        index.set("mediaType", Raw::of(&media_type));
        let entries: Vec<Raw> = self.entries.iter().map(|(_, entry)| entry.object().to_raw()).collect();
        index.set("manifests", Raw::list(&entries));
        let mut built = Built::new(media_type, index.to_raw().bytes().clone());
        built.children = self.entries.iter().map(|(child, _)| child.clone()).collect();
        built
    }
}

/// A statement about nothing much, for a platform that nobody has.
fn attestation(digest: &str) -> Built {
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{{"name":"test","digest":{{"sha256":"{}"}}}}],"predicate":{{}}}}"#,
        digest.trim_start_matches("sha256:")
    );
    let statement = Bytes::from(statement);
    let layer_type = "application/vnd.in-toto+json".parse().unwrap_or(MediaType::OCTET_STREAM);
    let layer = Descriptor::of(layer_type, &statement);
    let config = format!(
        r#"{{"architecture":"unknown","os":"unknown","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.digest()
    );
    let config = (Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()), Bytes::from(config));
    let mut manifest = Object::new();
    manifest.set("schemaVersion", Raw::of(&2));
    manifest.set("mediaType", Raw::of(&MediaType::OCI_MANIFEST));
    manifest.set("config", config.0.object().to_raw());
    manifest.set("layers", Raw::list([&layer.object().to_raw()]));
    let mut built = Built::new(MediaType::OCI_MANIFEST, manifest.to_raw().bytes().clone());
    built.platform = Some(Platform::from_parts("unknown", "unknown", None));
    built.blobs = vec![config, (layer, statement)];
    built
}
