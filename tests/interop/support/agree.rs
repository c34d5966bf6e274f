//! What must be true of an image that a client has pulled, seen from its bytes.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::client::skopeo::Copied;
use crate::support::image::{DOCKER_GZIP, Image, Kind, OCI_GZIP, OCI_ZSTD, VARIABLE, digest};
use crate::support::layer::Layer;

/// Checks one platform's image: its documents and layers agree with each other, and it is what its
/// source was, with the injected layer and variable where there is one.
pub(crate) fn check(kind: Kind, manifest: &[u8], blob: impl Fn(&str) -> Vec<u8>, injected: Option<&Layer>) {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let config: Value = serde_json::from_slice(&content(&manifest["config"], &blob)).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let history = config["history"].as_array().unwrap();

    let own = 2;
    let expected = own + usize::from(injected.is_some());
    assert_eq!(layers.len(), expected, "layers of {}: {manifest}", kind.name());
    assert_eq!(diff_ids.len(), expected, "diff_ids of {}: {config}", kind.name());
    let filled = history.iter().filter(|entry| entry["empty_layer"] != json!(true)).count();
    assert_eq!(filled, expected, "history of {}: {config}", kind.name());

    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let tar = decompress(&content(layer, &blob));
        assert_eq!(json!(digest(&tar)), *diff_id, "a layer of {} and its diff_id", kind.name());
    }
    let types: Vec<&str> = layers.iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
    assert_eq!(types[..own], [own_type(kind); 2], "{}", kind.name());

    let mut env = vec!["PATH=/bin".to_owned(), "BASE=from the source".to_owned()];
    if let Some(layer) = injected {
        assert_eq!(types[own], injected_type(kind), "{}", kind.name());
        assert_eq!(layers[own]["digest"], json!(layer.digest), "{}", kind.name());
        assert_eq!(diff_ids[own], json!(layer.diff_id), "{}", kind.name());
        env.push(format!("{}={}", VARIABLE.0, VARIABLE.1));
        env.extend(kind.entrypoint().map(|entrypoint| format!("WAVE_ENTRY_CHAIN={entrypoint}")));
    }
    assert_eq!(config["config"]["Env"], json!(env), "{}", kind.name());
    assert_eq!(config["config"]["Cmd"], json!(["/bin/sh"]), "{}", kind.name());
    assert_eq!(
        config["config"].get("Entrypoint").cloned(),
        kind.entrypoint().map(|entrypoint| json!([entrypoint])),
        "{}",
        kind.name()
    );
}

/// Checks a copy of all of an image: each document and each layer is the one that was pushed, and they agree.
pub(crate) fn check_whole(image: &Image, copied: &Copied) {
    let root = copied.root();
    assert_eq!(digest(&root), digest(&image.root().bytes), "{}", image.kind.name());
    if image.kind.platforms() == 1 {
        return check(image.kind, &root, |digest| copied.blob(digest), None);
    }
    let index: Value = serde_json::from_slice(&root).unwrap();
    for entry in &index["manifests"].as_array().unwrap()[..image.kind.platforms()] {
        let manifest = copied.manifest(entry["digest"].as_str().unwrap());
        check(image.kind, &manifest, |digest| copied.blob(digest), None);
    }
}

/// The bytes that a descriptor stands for, after a look at their digest and size.
fn content(descriptor: &Value, blob: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let name = descriptor["digest"].as_str().unwrap();
    let bytes = blob(name);
    assert_eq!(digest(&bytes), name);
    assert_eq!(descriptor["size"], json!(bytes.len()), "{name}");
    bytes
}

fn own_type(kind: Kind) -> &'static str {
    if kind == Kind::OciZstd { OCI_ZSTD } else { injected_type(kind) }
}

/// A layer is of the family of the manifest that names it.
fn injected_type(kind: Kind) -> &'static str {
    if kind.is_docker() { DOCKER_GZIP } else { OCI_GZIP }
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    if bytes.starts_with(GZIP) {
        let mut tar = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
        tar
    } else {
        zstd::decode_all(bytes).unwrap()
    }
}
