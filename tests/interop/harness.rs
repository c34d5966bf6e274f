//! The harness by itself: what the other tests stand on is sound before the service stands between.

use crate::client::containerd::Containerd;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::agree::{check, check_whole};
use crate::support::image::{Kind, all, image};
use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::token::TokenService;

#[test]
fn the_registry_serves_the_images_as_they_were_made() {
    need!("docker-registry", "busybox", "skopeo");
    let registry = Registry::with_all_kinds();
    let skopeo = Skopeo::new();
    for image in all() {
        let copied = skopeo.copy(&registry.name(image), Take::All, image.kind.name());
        check_whole(image, &copied);
    }
}

#[test]
fn the_guarded_registries_want_the_right_credentials() {
    need!("docker-registry", "busybox", "skopeo");
    let service = TokenService::start();
    let image = image(Kind::DockerManifest);
    for (registry, denied) in [
        (Registry::basic(), "authentication required"),
        (Registry::bearer(&service), "invalid username/password: unauthorized"),
    ] {
        registry.push(image);
        let skopeo = Skopeo::new();
        let name = registry.name(image);
        let copied = skopeo.copy_with(&name, (USER, PASSWORD));
        check(image.kind, &copied.root(), |digest| copied.blob(digest), None);
        let refused = skopeo.refused_with(&name, (USER, "wrong"));
        assert!(refused.contains(denied), "{refused}");
    }
    let asked = service.asked();
    assert!(asked.iter().any(|asked| asked.authorized), "{asked:?}");
    assert!(asked.iter().any(|asked| !asked.authorized), "{asked:?}");
}

#[test]
fn containerd_tells_a_mirror_whose_image_it_wants() {
    need!("docker-registry", "busybox", "containerd", "ctr");
    let registry = Registry::open();
    let image = image(Kind::OciAttested);
    registry.push(image);
    Containerd::start().pull_mirrored(&format!("mirror.test/{}", image.name()), registry.address);
    let log = registry.log();
    let manifest = "/v2/test/oci-attested/manifests/v1?ns=mirror.test";
    assert!(log.contains(manifest), "{log}");
}
