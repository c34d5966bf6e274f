//! Real clients push through the proxy into a real registry: what goes in comes out again, byte for byte.

use crate::client::buildah::Buildah;
use crate::client::containerd::Containerd;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::embedded::Embedded;
use crate::support::image::{Kind, SCRIPT, all, digest, image, told};
use crate::support::registry::{PASSWORD, Registry};
use crate::support::token::TokenService;

#[test]
fn skopeo_pushes_every_kind_and_gets_back_what_it_pushed() {
    need!("docker-registry", "busybox", "skopeo");
    let (source, registry) = (Registry::with_all_kinds(), Registry::open());
    let proxy = Embedded::writing(&registry, PASSWORD, None);
    let skopeo = Skopeo::new();
    for image in all() {
        let kind = image.kind.name();
        let original = skopeo.copy(&source.name(image), Take::All, kind);
        assert_eq!(digest(&original.root()), digest(&image.root().bytes));
        skopeo.push(&original, &format!("{}/up/pushed/{kind}:v1", proxy.address));
        for (from, name) in [(registry.address, "pushed"), (proxy.address, "up/pushed")] {
            let name = format!("{from}/{name}/{kind}:v1");
            let back = skopeo.copy(&name, Take::All, &format!("{kind}-from-{}", from.port()));
            assert_eq!(back.files(), original.files(), "{name}");
        }
    }
}

#[test]
fn skopeo_copies_within_the_proxy_and_deletes() {
    need!("docker-registry", "busybox", "skopeo");
    let registry = Registry::open();
    let image = image(Kind::OciAttested);
    registry.push(image);
    let proxy = Embedded::writing(&registry, PASSWORD, None);
    let skopeo = Skopeo::new();
    let from = format!("{}/up/{}", proxy.address, image.name());
    let to = format!("{}/up/copied/image:v1", proxy.address);
    skopeo.transfer(&from, &to);
    let (original, copied) = (skopeo.copy(&from, Take::All, "from"), skopeo.copy(&to, Take::All, "to"));
    assert_eq!(copied.files(), original.files());
    skopeo.delete(&to);
    let gone = skopeo.refused_with(&to, ("any", "body"));
    assert!(gone.contains("manifest unknown"), "{gone}");
}

#[test]
fn podman_buildah_and_containerd_push_what_they_pulled() {
    need!("docker-registry", "busybox", "skopeo", "podman", "buildah", "containerd", "ctr", "runc");
    let (source, registry) = (Registry::with_all_kinds(), Registry::open());
    let proxy = Embedded::writing(&registry, PASSWORD, None);
    let (skopeo, podman, buildah) = (Skopeo::new(), Podman::new(), Buildah::new());
    let containerd = Containerd::start();
    let image = image(Kind::DockerManifest);
    let name = source.name(image);
    let at = |name: &str| format!("{}/up/by/{name}:v1", proxy.address);

    podman.pull(&name);
    let pushed = podman.push_with_digest(&name, &at("podman"));
    let back = skopeo.copy(&format!("{}/by/podman:v1", registry.address), Take::One, "podman");
    assert_eq!(digest(&back.root()), pushed);
    podman.pull(&at("podman"));
    assert_eq!(podman.run(&at("podman"), SCRIPT), told(image.kind, false));

    buildah.from(&name);
    let pushed = buildah.push(&name, &at("buildah"));
    let back = skopeo.copy(&format!("{}/by/buildah:v1", registry.address), Take::One, "buildah");
    assert_eq!(digest(&back.root()), pushed);

    // containerd keeps what it pulled as it was.
    containerd.pull_plain(&name);
    containerd.push_plain(&name, &at("containerd"));
    let original = skopeo.copy(&name, Take::One, "original");
    let back = skopeo.copy(&at("containerd"), Take::One, "containerd");
    assert_eq!(back.files(), original.files());
}

#[test]
fn docker_pushes_what_it_pulled() {
    need!("docker-registry", "busybox", "docker", "dockerd", "containerd", "runc");
    let (source, registry) = (Registry::with_all_kinds(), Registry::open());
    let proxy = Embedded::writing(&registry, PASSWORD, None);
    let docker = Docker::start();
    let image = image(Kind::DockerManifest);
    docker.pull(&source.name(image));
    let to = format!("{}/up/by/docker:v1", proxy.address);
    docker.tag(&source.name(image), &to);
    docker.push(&to);
    for name in [to.as_str(), &source.name(image)] {
        docker.remove(name);
    }
    docker.pull(&to);
    assert_eq!(docker.run(&to, SCRIPT), told(image.kind, false));
}

#[test]
fn a_push_fetches_tokens_to_push_and_clients_see_none() {
    need!("docker-registry", "busybox", "skopeo");
    let service = TokenService::start();
    let (source, registry) = (Registry::with_all_kinds(), Registry::bearer(&service));
    let proxy = Embedded::writing(&registry, PASSWORD, Some(service.address()));
    let skopeo = Skopeo::new();
    let image = image(Kind::OciAttested);
    let original = skopeo.copy(&source.name(image), Take::All, "original");
    let name = format!("{}/up/{}", proxy.address, image.name());
    skopeo.push(&original, &name);
    assert_eq!(skopeo.copy(&name, Take::All, "back").files(), original.files());
    let asked = service.asked();
    let mut scopes: Vec<&str> =
        asked.iter().flat_map(|asked| &asked.query["scope"]).map(String::as_str).collect();
    scopes.sort_unstable();
    let repository = format!("repository:{}", image.repository);
    assert_eq!(scopes, [format!("{repository}:pull"), format!("{repository}:pull,push")]);
    assert!(asked.iter().all(|asked| asked.authorized));
}
