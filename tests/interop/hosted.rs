//! Real clients and the registries that keep what they serve: what goes in comes out again, byte for byte.

use std::net::SocketAddr;

use serde_json::Value;
use tower_oci::hosted::Memory;

use crate::client::buildah::Buildah;
use crate::client::containerd::Containerd;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::embedded::Embedded;
use crate::support::http::send;
use crate::support::image::{DOCKER_MANIFEST, Image, Kind, OCI_MANIFEST, SCRIPT, all, digest, image, told};
use crate::support::push;

/// A registry in memory that holds an image of each kind.
fn with_all_kinds() -> Embedded {
    let registry = Embedded::hosting(async || Memory::new());
    for image in all() {
        push::push(image, registry.address, None);
    }
    registry
}

fn name(registry: &Embedded, image: &Image) -> String {
    format!("{}/{}", registry.address, image.name())
}

/// Pushes every kind to `to`, and pulls it back.
fn skopeo_gets_back_what_it_pushed(to: SocketAddr) {
    let (source, skopeo) = (with_all_kinds(), Skopeo::new());
    for image in all() {
        let kind = image.kind.name();
        let original = skopeo.copy(&name(&source, image), Take::All, kind);
        assert_eq!(digest(&original.root()), digest(&image.root().bytes));
        let pushed = format!("{to}/pushed/{kind}:v1");
        skopeo.push(&original, &pushed);
        assert_eq!(
            skopeo.copy(&pushed, Take::All, &format!("{kind}-back")).files(),
            original.files(),
            "{kind}"
        );
        // The second time everything is there already.
        skopeo.push(&original, &pushed);
        // Blobs are mounted from the first repository, and images of one platform are picked out.
        let copied = format!("{to}/copied/{kind}:v1");
        skopeo.transfer(&pushed, &copied);
        let one = skopeo.copy(&copied, Take::One, &format!("{kind}-one"));
        assert!(image.manifests.iter().any(|manifest| manifest.bytes == one.root()), "{kind}");
    }
}

#[test]
fn skopeo_copies_every_kind_into_memory_and_back() {
    need!("busybox", "skopeo");
    let registry = Embedded::hosting(async || Memory::new());
    skopeo_gets_back_what_it_pushed(registry.address);
}

#[cfg(feature = "redb")]
#[test]
fn skopeo_copies_every_kind_onto_disk_and_back() {
    need!("busybox", "skopeo");
    let room = crate::support::room::Room::new();
    let directory = room.directory("registry");
    let registry = Embedded::hosting(async || tower_oci::hosted::Hosted::open(&directory).await.unwrap());
    skopeo_gets_back_what_it_pushed(registry.address);
}

#[test]
fn skopeo_makes_other_formats_of_images() {
    need!("busybox", "skopeo");
    let (source, skopeo) = (with_all_kinds(), Skopeo::new());
    for (kind, format, media_type) in [
        (Kind::DockerManifest, "oci", OCI_MANIFEST),
        (Kind::OciNoMediaType, "v2s2", DOCKER_MANIFEST),
        (Kind::OciAttested, "v2s2", DOCKER_MANIFEST),
    ] {
        let to = format!("{}/{format}/{}:v1", source.address, kind.name());
        skopeo.transfer_as(&name(&source, image(kind)), &to, format);
        let back = skopeo.copy(&to, Take::One, kind.name());
        let root: Value = serde_json::from_slice(&back.root()).unwrap();
        assert_eq!(root["mediaType"], media_type, "{}", kind.name());
        let layers = root["layers"].as_array().unwrap().iter().chain([&root["config"]]);
        for blob in layers.map(|blob| blob["digest"].as_str().unwrap()) {
            assert_eq!(digest(&back.blob(blob)), blob, "{}", kind.name());
        }
    }
}

#[test]
fn skopeo_syncs_all_tags_of_a_repository() {
    need!("busybox", "skopeo");
    let (source, to) = (with_all_kinds(), Embedded::hosting(async || Memory::new()));
    let (skopeo, image) = (Skopeo::new(), image(Kind::OciAttested));
    let from = format!("{}/{}", source.address, image.repository);
    for tag in ["v2", "latest"] {
        skopeo.transfer(&name(&source, image), &format!("{from}:{tag}"));
    }
    skopeo.sync(&from, &format!("{}/synced", to.address));
    let repository = image.repository.rsplit('/').next().unwrap();
    let list = send(to.address, "GET", &format!("/v2/synced/{repository}/tags/list"), &[], &[]);
    assert_eq!(list.text(), format!(r#"{{"name":"synced/{repository}","tags":["latest","v1","v2"]}}"#));
    let original = skopeo.copy(&name(&source, image), Take::All, "original");
    for tag in ["latest", "v1", "v2"] {
        let back = skopeo.copy(&format!("{}/synced/{repository}:{tag}", to.address), Take::All, tag);
        assert_eq!(back.files(), original.files(), "{tag}");
    }
}

#[test]
fn skopeo_deletes() {
    need!("busybox", "skopeo");
    let (registry, skopeo) = (with_all_kinds(), Skopeo::new());
    for image in all() {
        let name = name(&registry, image);
        skopeo.delete(&name);
        let gone = skopeo.refused_with(&name, ("any", "body"));
        assert!(gone.contains("manifest unknown"), "{gone}");
        let again = skopeo.refused_delete(&name);
        assert!(again.contains("Unable to delete"), "{again}");
    }
}

#[test]
fn podman_buildah_and_containerd_push_what_they_pulled() {
    need!("busybox", "skopeo", "podman", "buildah", "containerd", "ctr", "runc");
    let (source, to) = (with_all_kinds(), Embedded::hosting(async || Memory::new()));
    let (skopeo, podman, buildah) = (Skopeo::new(), Podman::new(), Buildah::new());
    let containerd = Containerd::start();
    let at = |by: &str, kind: Kind| format!("{}/{by}/{}:v1", to.address, kind.name());
    for image in all().iter().filter(|image| image.kind != Kind::OciDigest) {
        let (kind, name) = (image.kind, name(&source, image));
        let own = format!("{} by", kind.name());

        podman.pull(&name);
        let pushed = podman.push_with_digest(&name, &at("podman", kind));
        let back = skopeo.copy(&at("podman", kind), Take::One, &format!("{own} podman"));
        assert_eq!(digest(&back.root()), pushed, "{own} podman");
        podman.pull(&at("podman", kind));
        assert_eq!(podman.run(&at("podman", kind), SCRIPT), told(kind, false));

        buildah.from(&name);
        let pushed = buildah.push(&name, &at("buildah", kind));
        let back = skopeo.copy(&at("buildah", kind), Take::One, &format!("{own} buildah"));
        assert_eq!(digest(&back.root()), pushed, "{own} buildah");

        // containerd keeps what it pulled as it was; of an index it has this machine's image alone.
        if kind.platforms() == 1 {
            containerd.pull_plain(&name);
            containerd.push_plain(&name, &at("containerd", kind));
            let original = skopeo.copy(&name, Take::One, &format!("{own} nobody"));
            let back = skopeo.copy(&at("containerd", kind), Take::One, &format!("{own} containerd"));
            assert_eq!(back.files(), original.files(), "{own} containerd");
        }
    }
}

#[test]
fn docker_pushes_what_it_pulled() {
    need!("busybox", "docker", "dockerd", "containerd", "runc");
    let (source, to) = (with_all_kinds(), Embedded::hosting(async || Memory::new()));
    let (docker, image) = (Docker::start(), image(Kind::DockerManifest));
    docker.pull(&name(&source, image));
    let pushed = format!("{}/by/docker:v1", to.address);
    docker.tag(&name(&source, image), &pushed);
    docker.push(&pushed);
    for name in [pushed.as_str(), &name(&source, image)] {
        docker.remove(name);
    }
    docker.pull(&pushed);
    assert_eq!(docker.run(&pushed, SCRIPT), told(image.kind, false));
}
