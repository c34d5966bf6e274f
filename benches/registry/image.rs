//! What is pushed.

use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::media_type::MediaType;

/// A large blob of noise.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) content: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(seed: u64, size: usize) -> Self {
        let mut state = seed;
        let words = (0..size / 8).flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()
        });
        let content: Vec<u8> = words.collect();
        Self { digest: Digest::sha256(&content), content }
    }
}

pub(crate) const CONFIG: &[u8] =
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
pub(crate) const LAYER: &[u8] = b"a layer, which nobody unpacks";

/// About 1.5 KB, as manifests are; no two of a number are the same.
pub(crate) fn manifest(number: usize) -> Vec<u8> {
    let config = Descriptor::of(MediaType::OCI_CONFIG, CONFIG).object().to_raw();
    let layer = Descriptor::of(MediaType::OCI_LAYER, LAYER).object().to_raw();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}],"annotations":{{"note":"{}{number}"}}}}"#,
        MediaType::OCI_MANIFEST,
        String::from_utf8_lossy(config.bytes()),
        String::from_utf8_lossy(layer.bytes()),
        "x".repeat(1000)
    )
    .into()
}
