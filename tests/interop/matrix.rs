//! Every client × every kind of image, through the service, with an injected file and variable.

use std::fs;

use serde_json::{Value, json};

use crate::client::buildah::Buildah;
use crate::client::containerd::Containerd;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::client::umoci::Umoci;
use crate::support::agree::check;
use crate::support::image::{Kind, MARKER, PLATFORMS, SCRIPT, VARIABLE, all, digest, marker_layer, told};
use crate::support::layer::Layer;
use crate::support::registry::Registry;
use crate::support::wave::{Token, Wave};

/// What the machine runs.
const HERE: &str = "linux/amd64";
const BOTH: &str = "linux/amd64,linux/arm64";

/// A registry, the service in front of it, and a token for each of some images.
struct Setting {
    wave: Wave,
    pulls: Vec<(Kind, Token)>,
    layer: Layer,
    _registry: Registry,
}

impl Setting {
    fn new(platforms: &str, kinds: impl Fn(Kind) -> bool) -> Self {
        let registry = Registry::with_all_kinds();
        let wave = Wave::before(&registry);
        let layer = marker_layer();
        let pulls = all()
            .iter()
            .filter(|image| kinds(image.kind))
            .map(|image| (image.kind, Token::of(wave.address, &registry.name(image), platforms, &layer)))
            .collect();
        Self { wave, pulls, layer, _registry: registry }
    }

    fn check_log(&self) {
        self.wave.check_log(self.pulls.iter().map(|(_, token)| token));
    }
}

#[test]
fn skopeo_inspect_tells_what_was_injected() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let setting = Setting::new(HERE, |_| true);
    let skopeo = Skopeo::new();
    for (kind, token) in &setting.pulls {
        let seen = skopeo.inspect(&token.image);
        assert_eq!(seen["Digest"], json!(token.digest), "{}", kind.name());
        assert_eq!(seen["Architecture"], "amd64", "{}", kind.name());
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 3, "{}", kind.name());
        assert_eq!(seen["Layers"][2], json!(setting.layer.digest), "{}", kind.name());
        let env = seen["Env"].as_array().unwrap();
        assert!(env.contains(&json!(format!("{}={}", VARIABLE.0, VARIABLE.1))), "{}: {env:?}", kind.name());
        let tags = if *kind == Kind::OciDigest { json!([]) } else { json!(["v1"]) };
        assert_eq!(seen["RepoTags"], tags, "{}", kind.name());
    }
    setting.check_log();
}

#[test]
fn skopeo_copy_gets_documents_and_layers_that_agree() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let setting = Setting::new(HERE, |_| true);
    let skopeo = Skopeo::new();
    for (kind, token) in &setting.pulls {
        let copied = skopeo.copy(&token.image, Take::One, kind.name());
        check(*kind, &copied.root(), |digest| copied.blob(digest), Some(&setting.layer));
    }
    setting.check_log();
}

#[test]
fn skopeo_copy_all_gets_every_platform_and_nothing_that_dangles() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let setting = Setting::new(BOTH, |kind| kind.platforms() == 2);
    let skopeo = Skopeo::new();
    for (kind, token) in &setting.pulls {
        let copied = skopeo.copy(&token.image, Take::All, kind.name());
        let root = copied.root();
        assert_eq!(digest(&root), token.digest, "{}", kind.name());
        let index: Value = serde_json::from_slice(&root).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let platforms: Vec<&Value> = entries.iter().map(|entry| &entry["platform"]).collect();
        let expected = PLATFORMS.map(|architecture| json!({"architecture": architecture, "os": "linux"}));
        assert_eq!(platforms, expected.iter().collect::<Vec<_>>(), "{}", kind.name());
        for entry in entries {
            let manifest = copied.manifest(entry["digest"].as_str().unwrap());
            check(*kind, &manifest, |digest| copied.blob(digest), Some(&setting.layer));
        }
    }
    setting.check_log();
}

#[test]
fn umoci_unpacks_the_injected_file() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo", "umoci");
    // umoci knows gzip only.
    let setting = Setting::new(HERE, |kind| kind != Kind::OciZstd);
    let (skopeo, umoci) = (Skopeo::new(), Umoci::new());
    for (kind, token) in &setting.pulls {
        let layout = skopeo.layout(&token.image, Take::One, kind.name());
        let bundle = umoci.unpack(&layout, kind.name());
        assert_eq!(fs::read_to_string(bundle.rootfs.join(MARKER.0)).unwrap(), MARKER.1, "{}", kind.name());
        let own = fs::read_to_string(bundle.rootfs.join("etc/kind")).unwrap();
        assert_eq!(own, format!("{}\n", kind.name()));
        let env = bundle.config["process"]["env"].as_array().unwrap();
        assert!(env.contains(&json!(format!("{}={}", VARIABLE.0, VARIABLE.1))), "{}: {env:?}", kind.name());
    }
    setting.check_log();
}

#[test]
fn podman_runs_what_it_pulled() {
    need!("examples/wave", "docker-registry", "busybox", "podman", "runc");
    let setting = Setting::new(HERE, |_| true);
    let podman = Podman::new();
    for (kind, token) in &setting.pulls {
        podman.pull(&token.image);
        assert_eq!(podman.run(&token.image, SCRIPT), told(*kind, true));
    }
    setting.check_log();
}

#[test]
fn buildah_starts_from_what_it_pulled() {
    need!("examples/wave", "docker-registry", "busybox", "buildah", "runc");
    let setting = Setting::new(HERE, |_| true);
    let buildah = Buildah::new();
    for (kind, token) in &setting.pulls {
        let container = buildah.from(&token.image);
        let file = buildah.mount(&container).join(MARKER.0);
        assert_eq!(fs::read_to_string(file).unwrap(), MARKER.1, "{}", kind.name());
        assert_eq!(buildah.run(&container, SCRIPT), told(*kind, true));
        buildah.remove(&container);
    }
    setting.check_log();
}

#[test]
fn containerd_runs_what_it_pulled_over_plain_http() {
    need!("examples/wave", "docker-registry", "busybox", "containerd", "ctr", "runc");
    let setting = Setting::new(HERE, |_| true);
    let containerd = Containerd::start();
    for (kind, token) in &setting.pulls {
        containerd.pull_plain(&token.image);
        assert_eq!(containerd.run(&token.image, kind.name(), SCRIPT), told(*kind, true));
    }
    setting.check_log();
}

#[test]
fn containerd_runs_what_it_pulled_from_a_mirror_with_ns() {
    need!("examples/wave", "docker-registry", "busybox", "containerd", "ctr", "runc");
    let setting = Setting::new(HERE, |_| true);
    let containerd = Containerd::start();
    for (kind, token) in &setting.pulls {
        let (_, name) = token.image.split_once('/').unwrap();
        let image = format!("wave.test/{name}");
        containerd.pull_mirrored(&image, setting.wave.address);
        assert_eq!(containerd.run(&image, kind.name(), SCRIPT), told(*kind, true));
    }
    setting.check_log();
}

#[test]
fn docker_runs_what_it_pulled() {
    need!("examples/wave", "docker-registry", "busybox", "docker", "dockerd", "containerd", "runc");
    // The engine of Debian's package is of 2021 and takes zstd for a damaged tar, whoever serves it.
    let setting = Setting::new(HERE, |kind| kind != Kind::OciZstd);
    let docker = Docker::start();
    for (kind, token) in &setting.pulls {
        docker.pull(&token.image);
        assert_eq!(docker.run(&token.image, SCRIPT), told(*kind, true));
    }
    setting.check_log();
}

#[test]
fn buildkit_builds_from_what_it_pulled() {
    need!("examples/wave", "docker-registry", "busybox", "docker", "dockerd", "containerd", "runc");
    let setting = Setting::new(HERE, |kind| kind == Kind::OciAttested);
    let docker = Docker::start();
    for (kind, token) in &setting.pulls {
        assert_eq!(docker.build_from(&token.image, SCRIPT), told(*kind, true));
    }
    setting.check_log();
}
