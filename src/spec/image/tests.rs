use super::*;
use crate::spec::image::Config;

const D: &str = "sha256:975f4b14f326b05db86e16de00144f9c12257553bba9484fed41f9b6f2257800";

fn manifest(content_type: Option<&str>, text: &str) -> Result<Manifest, InvalidDocument> {
    let content_type = content_type.map(|text| text.parse().unwrap());
    Manifest::parse(content_type.as_ref(), Bytes::copy_from_slice(text.replace("$D", D).as_bytes()))
}

fn image(config_type: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"$D","size":2}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"$D","size":3}}]}}"#
    )
}

#[test]
fn the_kind_follows_from_type_or_shape() {
    let oci = image("application/vnd.oci.image.config.v1+json");
    let docker = image("application/vnd.docker.container.image.v1+json");
    let parsed = manifest(None, &oci).unwrap();
    assert_eq!(parsed.media_type(), &MediaType::OCI_MANIFEST);
    assert_eq!(parsed.references().len(), 2);
    assert_eq!(manifest(None, &docker).unwrap().media_type(), &MediaType::DOCKER_MANIFEST);
    let served = manifest(Some("application/vnd.docker.distribution.manifest.v2+json"), &docker).unwrap();
    let Manifest::Image(served) = served else { panic!("{served:?}") };
    assert!(served.is_docker() && served.is_image());
    let index = manifest(Some("application/json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    assert_eq!(index.media_type(), &MediaType::OCI_INDEX);
    let other = manifest(Some("application/vnd.example+json"), r#"{"x":1}"#).unwrap();
    assert!(matches!(other, Manifest::Other(..)));
    let Manifest::Image(chart) = manifest(None, &image("application/vnd.cncf.helm.config.v1+json")).unwrap()
    else {
        panic!()
    };
    assert!(!chart.is_image());
}

#[test]
fn confusable_documents_are_refused() {
    for (content_type, text, reason) in [
        (None, r#"{"manifests":[],"layers":[]}"#, "both the members of an index"),
        (None, r#"{"manifests":[],"config":{}}"#, "both the members of an index"),
        (
            Some("application/vnd.oci.image.manifest.v1+json"),
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            "but it was served as",
        ),
        (Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "{}", "schema 1"),
        (None, r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
        (Some("application/vnd.oci.image.manifest.v1+json"), r#"{"layers":[]}"#, "no `config`"),
        (None, r#"{"manifests":[{"mediaType":"a/b","digest":"$D"}]}"#, "no `size`"),
        (None, r#"{"manifests":[{"mediaType":"a/b","digest":"sha256:x","size":1}]}"#, "invalid digest"),
        (None, r#"{"manifests":[{"mediaType":"a/b","digest":"$D","size":-1}]}"#, "size"),
        (None, r#"{"manifests":[{"mediaType":"a/b","digest":"$D","size":18446744073709551615}]}"#, "2^63"),
    ] {
        let error = manifest(content_type, text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn inline_data_counts_only_when_it_agrees() {
    let good = Descriptor::of(MediaType::OCI_EMPTY, b"{}").with_member("data", Raw::of("e30="));
    assert_eq!(good.data().unwrap().as_ref(), b"{}");
    let bad = Descriptor::of(MediaType::OCI_EMPTY, b"[]").with_member("data", Raw::of("e30="));
    assert_eq!(bad.data(), None);
    let changed = good.with_content(Digest::sha256(b"[1]"), b"[1]");
    assert_eq!(changed.data().unwrap().as_ref(), b"[1]");
    assert_eq!(changed.media_type(), &MediaType::OCI_EMPTY);
}

#[test]
fn history_agrees_when_as_many_steps_made_layers() {
    let config = |history: &str| {
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{{"type":"layers","diff_ids":["{D}"]}},"history":{history}}}"#
        );
        Config::parse(text.into()).unwrap()
    };
    assert!(config(r#"[{"created_by":"a"},{"empty_layer":true}]"#).history_agrees());
    assert!(!config(r#"[{"empty_layer":true}]"#).history_agrees());
    assert!(!config("[]").history_agrees());
    assert!(!config("null").history_agrees());
    assert_eq!(config("[]").platform().to_string(), "linux/arm64");
}
