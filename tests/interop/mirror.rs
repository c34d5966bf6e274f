//! A mirror between real clients and a registry: images are fetched once, and outlive the registry.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::client::containerd::Containerd;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::agree::check_whole;
use crate::support::image::{Image, Kind, SCRIPT, digest, image, told};
use crate::support::mirror::Mirror;
use crate::support::process::outcome;
use crate::support::registry::Registry;
use crate::support::room::Room;
use crate::support::units::{self, Size};

const KIND: Kind = Kind::OciAttested;
const WELCOME: &str = include_str!("mirror/welcome.txt");

/// A registry with an image, a mirror of it, and clients that come with nothing but the lines that the mirror printed.
struct Setting {
    mirror: Mirror,
    registry: Option<Registry>,
    origin: SocketAddr,
    image: &'static Image,
}

impl Setting {
    fn new(options: &[&str]) -> Self {
        let (registry, image) = (Registry::open(), image(KIND));
        registry.push(image);
        let (mirror, origin) = (Mirror::of(&registry, options), registry.address);
        Self { mirror, registry: Some(registry), origin, image }
    }

    /// The image's name at its registry.
    fn name(&self) -> String {
        format!("{}/{}", self.origin, self.image.name())
    }

    fn skopeo_copies_all(&self) {
        let skopeo = Skopeo::new();
        let name = self.mirror.name(self.origin, self.image);
        check_whole(self.image, &skopeo.copy(&name, Take::All, "copied"));
    }

    fn podman_pulls_and_runs(&self) {
        let registries = self.mirror.lines_for("/etc/containers/registries.conf.d/mirror.conf");
        let podman = Podman::behind(&registries);
        assert_eq!(format!("sha256:{}", podman.pull_mirrored(&self.name())), self.config());
        assert_eq!(podman.run(&self.name(), SCRIPT), told(KIND, false));
    }

    fn containerd_pulls_and_runs(&self) {
        let hosts = self.mirror.lines_for(&format!("/etc/containerd/certs.d/{}/hosts.toml", self.origin));
        let containerd = Containerd::start();
        assert_eq!(containerd.pull_by(&self.name(), &hosts), digest(&self.image.root().bytes));
        assert_eq!(containerd.run(&self.name(), "mirrored", SCRIPT), told(KIND, false));
    }

    /// The registry is gone.
    fn stop_registry(&mut self) {
        self.registry = None;
    }

    fn reads(&mut self) -> Vec<String> {
        self.registry.as_mut().unwrap().reads()
    }

    /// Reads of manifests by these references, and of blobs, sorted.
    fn expected(&self, manifests: &[&str], blobs: &[String]) -> Vec<String> {
        let base = format!("/v2/{}", self.image.repository);
        let manifests = manifests.iter().map(|read| match read.split_once(' ') {
            Some((method, reference)) => format!("{method} {base}/manifests/{reference}"),
            None => format!("GET {base}/manifests/{read}"),
        });
        let blobs = blobs.iter().map(|digest| format!("GET {base}/blobs/{digest}"));
        let mut reads: Vec<String> = manifests.chain(blobs).collect();
        reads.sort();
        reads
    }

    /// The manifest for this machine.
    fn manifest(&self) -> Value {
        serde_json::from_slice(&self.image.manifests[0].bytes).unwrap()
    }

    fn config(&self) -> String {
        text(&self.manifest()["config"]["digest"])
    }

    /// Config and layers for this machine.
    fn blobs(&self) -> Vec<String> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| text(&layer["digest"]));
        layers.chain([self.config()]).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn skopeo_copies_all_of_an_image_that_is_fetched_once() {
    need!("examples/mirror", "docker-registry", "busybox", "skopeo");
    let mut setting = Setting::new(&[]);
    setting.skopeo_copies_all();
    let digests: Vec<String> =
        setting.image.manifests.iter().map(|manifest| digest(&manifest.bytes)).collect();
    let mut manifests: Vec<&str> = digests.iter().map(String::as_str).collect();
    // The index goes by its tag.
    manifests.pop();
    manifests.push("v1");
    let blobs: Vec<String> = setting.image.blobs.iter().map(|(digest, _)| digest.clone()).collect();
    let once = setting.expected(&manifests, &blobs);
    assert_eq!(setting.reads(), once);

    setting.skopeo_copies_all();
    assert_eq!(setting.reads(), once);
    setting.stop_registry();
    setting.skopeo_copies_all();
    setting.mirror.check_log();
}

#[test]
fn podman_pulls_from_a_mirror_that_fetches_once() {
    need!("examples/mirror", "docker-registry", "busybox", "podman", "runc");
    let mut setting = Setting::new(&[]);
    setting.podman_pulls_and_runs();
    let manifest = digest(&setting.image.manifests[0].bytes);
    let once = setting.expected(&["v1", &manifest], &setting.blobs());
    assert_eq!(setting.reads(), once);

    setting.podman_pulls_and_runs();
    assert_eq!(setting.reads(), once);
    setting.stop_registry();
    setting.podman_pulls_and_runs();
    setting.mirror.check_log();
}

#[test]
fn containerd_pulls_by_ns_from_a_mirror_that_fetches_once() {
    need!("examples/mirror", "docker-registry", "busybox", "containerd", "ctr", "runc");
    let mut setting = Setting::new(&[]);
    setting.containerd_pulls_and_runs();
    let [index, manifest] =
        [setting.image.root(), &setting.image.manifests[0]].map(|manifest| digest(&manifest.bytes));
    let once = setting.expected(&["HEAD v1", &index, &manifest], &setting.blobs());
    assert_eq!(setting.reads(), once);

    setting.containerd_pulls_and_runs();
    assert_eq!(setting.reads(), once);
    setting.stop_registry();
    setting.containerd_pulls_and_runs();
    setting.mirror.check_log();
}

#[test]
fn what_was_pulled_outlives_the_registry_and_says_that_it_is_stale() {
    need!("examples/mirror", "docker-registry", "busybox", "skopeo", "podman", "containerd", "ctr", "runc");
    let mut setting = Setting::new(&["--fresh-for", "0s"]);
    setting.skopeo_copies_all();
    let cold = setting.reads();
    setting.skopeo_copies_all();
    let mut warm = cold.clone();
    warm.extend(setting.expected(&["HEAD v1"], &[]));
    warm.sort();
    assert_eq!(setting.reads(), warm);

    setting.stop_registry();
    setting.skopeo_copies_all();
    setting.podman_pulls_and_runs();
    setting.containerd_pulls_and_runs();

    let repository = &setting.image.repository;
    let tag = format!("/v2/{repository}/manifests/v1?ns={}", setting.origin);
    let answer = setting.mirror.get(&tag);
    assert_eq!((answer.status, digest(&answer.body)), (200, digest(&setting.image.root().bytes)));
    let status = answer.header("cache-status").unwrap();
    assert!(status.starts_with("tower-oci; fwd=stale; ttl=-"), "{status}");
    let warning = answer.header("warning").unwrap();
    assert!(warning.contains("stale"), "{warning}");
    let by_digest = format!("/v2/{repository}/blobs/{}?ns={}", setting.config(), setting.origin);
    let answer = setting.mirror.get(&by_digest);
    assert_eq!((answer.status, digest(&answer.body)), (200, setting.config()));
    assert_eq!((answer.header("cache-status"), answer.header("warning")), (Some("tower-oci; hit"), None));
    setting.mirror.check_log();
    // What was never asked for can't be had now.
    let other = setting.mirror.get(&format!("/v2/{repository}/manifests/v2?ns={}", setting.origin));
    assert_eq!(other.status, 503, "{}", other.text());
}

#[test]
fn what_is_kept_on_disk_is_not_fetched_again_after_a_restart() {
    need!("examples/mirror", "docker-registry", "busybox", "skopeo");
    let mut setting = Setting::new(&[]);
    setting.skopeo_copies_all();
    let before = setting.mirror.figures();
    let (_, kept) = before.rsplit_once("; ").unwrap();
    assert!(!kept.starts_with("0 blobs"), "{before}");

    setting.mirror = setting.mirror.restarted();
    setting.skopeo_copies_all();
    let after = setting.mirror.figures();
    assert!(after.contains("; 0 B fetched, ") && after.ends_with(kept), "{after}, after {before}");
    setting.mirror.check_log();
}

#[cfg(feature = "redb")]
#[test]
fn a_mirror_that_is_started_while_the_registry_is_away_serves_what_an_earlier_one_kept() {
    need!("examples/mirror", "docker-registry", "busybox", "skopeo", "podman", "runc");
    let mut setting = Setting::new(&["--fresh-for", "0s"]);
    setting.skopeo_copies_all();
    setting.stop_registry();
    setting.mirror = setting.mirror.restarted();
    setting.skopeo_copies_all();
    setting.podman_pulls_and_runs();

    let v1 = format!("/v2/{}/manifests/v1?ns={}", setting.image.repository, setting.origin);
    let answer = setting.mirror.get(&v1);
    assert_eq!((answer.status, digest(&answer.body)), (200, digest(&setting.image.root().bytes)));
    assert!(answer.header("warning").unwrap().contains("stale"));
    let after = setting.mirror.figures();
    assert!(after.contains("; 0 B fetched, "), "{after}");
    setting.mirror.check_log();
    // What no mirror was asked for can't be had now.
    let repository = &setting.image.repository;
    let other = setting.mirror.get(&format!("/v2/{repository}/manifests/v2?ns={}", setting.origin));
    assert_eq!(other.status, 503, "{}", other.text());
}

#[test]
fn docker_pulls_by_a_name_that_leads_through_the_mirror() {
    need!("examples/mirror", "docker-registry", "busybox", "docker", "dockerd", "containerd", "runc");
    let mut setting = Setting::new(&[]);
    let name = setting.mirror.name(setting.origin, setting.image);
    let pull = || {
        let docker = Docker::start();
        docker.pull(&name);
        assert_eq!(docker.run(&name, SCRIPT), told(KIND, false));
    };
    pull();
    setting.stop_registry();
    pull();
    setting.mirror.check_log();
}

#[cfg(feature = "docker-config")]
#[test]
fn the_mirrors_credentials_open_what_its_clients_have_none_for() {
    use crate::support::registry::{USER, basic};

    need!("examples/mirror", "docker-registry", "busybox", "skopeo");
    let (registry, image) = (Registry::basic(), image(KIND));
    registry.push(image);
    let auth = basic(USER, crate::support::registry::PASSWORD);
    let auth = auth.strip_prefix("Basic ").unwrap();
    let config = serde_json::json!({"auths": {registry.address.to_string(): {"auth": auth}}});
    let mirror = Mirror::with_credentials(&registry, &config);
    let origin = registry.address;
    let pull = || {
        let skopeo = Skopeo::new();
        check_whole(image, &skopeo.copy(&mirror.name(origin, image), Take::All, "copied"));
    };
    pull();
    drop(registry);
    pull();
    mirror.check_log();
}

#[test]
fn it_prints_lines_for_each_registry_and_each_client() {
    need!("examples/mirror");
    let options = ["--upstream", "docker.io,quay.io", "--insecure", "registry.test:5000"];
    let mirror = Mirror::start(Room::new(), &options);
    let welcome = mirror.welcome().replace(&mirror.address.to_string(), "MIRROR");
    assert_eq!(welcome, WELCOME.replace("VERSION", env!("CARGO_PKG_VERSION")));
    assert_eq!(mirror.get("/healthz").text(), "ok\n");

    let mirror = Mirror::start(Room::new(), &["--insecure", "registry.test"]);
    assert!(!mirror.welcome().contains("docker"), "{}", mirror.welcome());
    let unnamed = mirror.get("/v2/library/busybox/manifests/latest");
    assert_eq!(unnamed.status, 404, "{}", unnamed.text());
}

#[test]
fn it_says_what_it_did_when_it_is_asked() {
    need!("examples/mirror", "docker-registry", "busybox", "skopeo");
    let mut setting = Setting::new(&["--max-size", "1G"]);
    let (zero, nothing) = ("0 hits, 0 misses, 0 collapsed, 0 stale, 0 passed on", "0 B fetched, 0 B served");
    let kept = "0 blobs kept, 0 B, 0 evicted";
    assert_eq!(setting.mirror.figures(), format!("{zero}; {nothing}; {kept}"));

    let (manifests, blobs) = (setting.image.manifests.len(), setting.image.blobs.len());
    let asked = manifests + blobs;
    setting.skopeo_copies_all();
    let cold = setting.mirror.figures();
    assert!(cold.starts_with(&format!("0 hits, {asked} misses, 0 collapsed, 0 stale, ")), "{cold}");
    setting.skopeo_copies_all();
    let warm = setting.mirror.figures();
    assert!(warm.starts_with(&format!("{asked} hits, {asked} misses, 0 collapsed, 0 stale, ")), "{warm}");
}

#[test]
fn it_tells_what_is_wrong_with_its_settings() {
    need!("examples/mirror");
    let room = Room::new();
    room.write("file", "");
    let below = room.join("file/cache").display().to_string();
    let said = |options: &[&str]| {
        let outcome =
            outcome(room.command("examples/mirror").args(["--listen", "127.0.0.1:0"]).args(options));
        assert!(!outcome.status.success(), "{options:?}");
        outcome.stderr.lines().next().unwrap_or_default().to_owned()
    };
    for (options, expected) in [
        (
            ["--cache", below.as_str()],
            format!("error: can't keep images in {below}: Not a directory (os error 20)"),
        ),
        (
            ["--max-size", "20X"],
            "error: invalid value '20X' for '--max-size <SIZE>': a size is a number of bytes, or of K, M, G, T, as in \
             500M or 20G"
                .to_owned(),
        ),
        (
            ["--fresh-for", "1 hour"],
            "error: invalid value '1 hour' for '--fresh-for <TIME>': a time is a number of s, m, h or d, as in 90s or 1h"
                .to_owned(),
        ),
        (
            ["--insecure", "a b"],
            "error: invalid value 'a b' for '--insecure <HOST[:PORT]>': invalid registry host `a b`: it is no \
             lower-case DNS name or address"
                .to_owned(),
        ),
    ] {
        assert_eq!(said(&options), expected);
    }
}

#[test]
fn sizes_and_times_are_read_as_people_write_them() {
    let size = |text: &str| text.parse::<Size>().ok().map(|size| (size.bytes(), size.to_string()));
    for (text, bytes, shown) in [
        ("1", 1, "1 B"),
        ("1023", 1023, "1023 B"),
        ("1536", 1536, "1.5 KiB"),
        ("500M", 500 << 20, "500 MiB"),
        ("20g", 20 << 30, "20 GiB"),
        ("2047K", 2047 << 10, "1.9 MiB"),
        ("16777215T", 16_777_215 << 40, "16777215 TiB"),
    ] {
        assert_eq!(size(text), Some((bytes, shown.to_owned())), "{text}");
    }
    for bad in ["", "0", "0G", "G", "-1", "+1", "1.5G", "1 G", "1GB", "16777216T", "99999999999999999999"] {
        assert_eq!(size(bad), None, "{bad}");
    }
    assert_eq!((Size::gib(2), Size::new(0).to_string()), (Size::new(2 << 30), "0 B".to_owned()));
    for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("1h", 3600), ("7d", 604_800)] {
        assert_eq!(units::time(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for bad in ["", "s", "5", "-5s", "1.5h", "5 s", "5S", "99999999999999999999s", "999999999999999999d"] {
        assert!(units::time(bad).is_err(), "{bad}");
    }
}
