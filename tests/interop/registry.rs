//! The example `registry` and real clients.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::embedded::Embedded;
use crate::support::image::{Image, Kind, SCRIPT, all, digest, image, told};
use crate::support::process::outcome;
use crate::support::push;
use crate::support::registry::{PASSWORD, USER, basic};
use crate::support::room::Room;
use crate::support::standalone::{Standalone, certified, collect, users};
use crate::support::units::Size;

const KIND: Kind = Kind::OciAttested;
const WELCOME: &str = include_str!("registry/welcome.txt");

#[test]
fn clients_log_in_push_and_pull_over_tls() {
    need!("examples/registry", "busybox", "podman", "runc", "skopeo");
    let room = Room::new();
    let (users, files, image) = (users(&room), certified(&room), image(KIND));
    let options = ["--htpasswd", &users, "--tls-cert", &files.certificate, "--tls-key", &files.key];
    let registry = Standalone::on_disk(room, &options);
    let (here, authority) = (registry.address.to_string(), &files.authority);
    let source = Embedded::hosting(async || tower_oci::hosted::Memory::new());
    push::push(image, source.address, None);
    let original = format!("{}/{}", source.address, image.name());
    let (by_podman, by_skopeo) = (format!("{here}/podman/image:v1"), format!("{here}/skopeo/image:v1"));

    let stranger = Podman::trusting("", "");
    tells(&stranger.refused_pull(&by_podman), "certificate signed by unknown authority");

    let podman = Podman::trusting(&here, authority);
    tells(&podman.refused_login(registry.address, (USER, "wrong")), "invalid username/password");
    tells(&podman.refused_pull(&by_podman), "unauthorized");
    podman.login(registry.address, (USER, PASSWORD));
    podman.pull(&original);
    podman.push(&original, &by_podman);
    podman.remove(&original);
    podman.pull(&by_podman);
    assert_eq!(podman.run(&by_podman, SCRIPT), told(KIND, false));

    let skopeo = Skopeo::trusting(&here, authority);
    tells(&skopeo.refused_copy(&by_podman), "unauthorized");
    skopeo.login(registry.address, (USER, PASSWORD));
    let copied = skopeo.copy(&original, Take::All, "original");
    skopeo.push(&copied, &by_skopeo);
    assert!(skopeo.copy(&by_skopeo, Take::All, "back").files() == copied.files());
    registry.check_log();
}

#[test]
fn everybody_pulls_where_that_is_allowed_and_users_push() {
    need!("examples/registry", "busybox", "docker", "dockerd", "containerd", "podman", "runc");
    let room = Room::new();
    let options = ["--htpasswd", &users(&room), "--anonymous-pull"];
    let (registry, image) = (Standalone::start(room, &options), image(Kind::DockerManifest));
    push::push(image, registry.address, Some(&basic(USER, PASSWORD)));
    let (name, copy) = (registry.name(image), format!("{}/copy/image:v1", registry.address));

    let podman = Podman::new();
    podman.pull(&name);
    assert_eq!(podman.run(&name, SCRIPT), told(image.kind, false));
    tells(&podman.refused_push(&name, &copy), "denied");
    podman.login(registry.address, (USER, PASSWORD));
    podman.push(&name, &copy);

    let docker = Docker::start();
    docker.pull(&name);
    assert_eq!(docker.run(&name, SCRIPT), told(image.kind, false));
    let copy = format!("{}/copy/docker:v1", registry.address);
    docker.tag(&name, &copy);
    docker.refused_push(&copy);
    docker.login(registry.address, (USER, PASSWORD));
    docker.push(&copy);
    docker.logout(registry.address);
    docker.remove(&copy);
    docker.pull(&copy);
    registry.check_log();
}

#[test]
fn what_is_kept_on_disk_outlives_the_process() {
    need!("examples/registry", "busybox", "skopeo");
    let registry = Standalone::on_disk(Room::new(), &[]);
    for image in all() {
        push::push(image, registry.address, None);
    }
    let upload = registry.send("POST", "/v2/test/open/blobs/uploads/");
    let location = upload.header("location").unwrap().to_owned();
    let catalog = registry.send("GET", "/v2/_catalog");
    assert_eq!((catalog.status, code(&catalog.body)), (405, "UNSUPPORTED".to_owned()));

    let registry = Standalone::on_disk(registry.stop(), &["--catalog"]);
    assert_eq!(registry.send("GET", &location).status, 204);
    let mut names: Vec<&str> = all().iter().map(|image| image.repository.as_str()).collect();
    names.sort_unstable();
    let catalog: Value = serde_json::from_slice(&registry.send("GET", "/v2/_catalog").body).unwrap();
    assert_eq!(catalog, serde_json::json!({"repositories": names}));
    pulls(&registry, all());

    let registry = Standalone::on_disk(registry.stop(), &["--read-only"]);
    pulls(&registry, all());
    let (name, skopeo) = (registry.name(image(KIND)), Skopeo::new());
    let copy = format!("{}/copy/image:v1", registry.address);
    tells(&skopeo.refused_transfer(&name, &copy), "read-only");
    let manifest = "/v2/test/oci-attested/manifests/v1";
    for (method, target) in [
        ("POST", "/v2/test/oci-attested/blobs/uploads/"),
        ("PATCH", location.as_str()),
        ("DELETE", location.as_str()),
        ("DELETE", manifest),
    ] {
        let answer = registry.send(method, target);
        assert_eq!((answer.status, code(&answer.body)), (405, "UNSUPPORTED".to_owned()), "{method} {target}");
        assert!(answer.text().contains("this registry is read-only"), "{}", answer.text());
    }
    pulls(&registry, all());
    registry.check_log();
}

#[test]
fn a_collection_removes_what_nobody_needs_and_nothing_else() {
    need!("examples/registry", "busybox", "skopeo");
    let (kept, deleted) = (image(KIND), image(Kind::DockerManifest));
    let registry = Standalone::on_disk(Room::new(), &[]);
    for image in [kept, deleted] {
        push::push(image, registry.address, None);
    }
    Skopeo::new().delete(&registry.name(deleted));
    let data = registry.stop();

    let needed: BTreeSet<&String> = kept.blobs.iter().map(|(digest, _)| digest).collect();
    let gone: Vec<_> = deleted.blobs.iter().filter(|(digest, _)| !needed.contains(digest)).collect();
    let bytes: usize = gone.iter().map(|(_, blob)| blob.len()).sum();
    let (names, of) = (deleted.blobs.len(), needed.len() + gone.len());
    let found =
        format!("{} blobs ({}), 0 manifests, {names} names of blobs, 0 uploads", gone.len(), size(bytes));
    let left: usize = kept.blobs.iter().map(|(_, blob)| blob.len()).sum();
    let (all_bytes, left_bytes) = (size(left + bytes), size(left));
    let (all, left) = (of, needed.len());

    // Twice the same: nothing was removed.
    for _ in 0..2 {
        let dry = collect(&data, &["--dry-run"]);
        assert_eq!(text(&dry.stdout), format!("would remove {found}\nkept: {all} blobs, {all_bytes}\n"));
        assert!(
            dry.stderr.starts_with(&format!("collecting: 0 of {all} blobs looked at, 0 blobs (0 B)")),
            "{}",
            dry.stderr
        );
    }
    let young = collect(&data, &["--grace", "1h"]);
    let nothing = "0 blobs (0 B), 0 manifests, 0 names of blobs, 0 uploads";
    assert_eq!(text(&young.stdout), format!("removed {nothing}\nkept: {all} blobs, {all_bytes}\n"));
    for removed in [found.as_str(), nothing] {
        let done = collect(&data, &[]);
        assert!(done.status.success(), "{}", done.stderr);
        assert_eq!(text(&done.stdout), format!("removed {removed}\nkept: {left} blobs, {left_bytes}\n"));
    }

    let registry = Standalone::on_disk(data, &[]);
    pulls(&registry, std::slice::from_ref(kept));
    for (digest, _) in &deleted.blobs {
        assert_eq!(registry.send("GET", &format!("/v2/{}/blobs/{digest}", deleted.repository)).status, 404);
    }
    // The index goes, and its entries are left without a tag.
    Skopeo::new().delete(&registry.name(kept));
    let data = registry.stop();
    let done = collect(&data, &["--untagged"]);
    let (blobs, manifests) = (kept.blobs.len(), kept.manifests.len() - 1);
    let found =
        format!("{blobs} blobs ({left_bytes}), {manifests} manifests, {blobs} names of blobs, 0 uploads");
    assert_eq!(text(&done.stdout), format!("removed {found}\nkept: 0 blobs, 0 B\n"));
}

#[test]
fn a_stop_waits_for_open_requests() {
    need!("examples/registry");
    let mut registry = Standalone::on_disk(Room::new(), &[]);
    let location =
        registry.send("POST", "/v2/test/open/blobs/uploads/").header("location").unwrap().to_owned();
    let mut stream = TcpStream::connect(registry.address).unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: registry\r\nContent-Length: 10\r\n\r\n01234");
    stream.write_all(head.as_bytes()).unwrap();
    registry.daemon.ready(|log| log.contains("method=PATCH").then_some(()));
    registry.daemon.signal("TERM");
    registry.daemon.ready(|log| log.contains("stopping: waiting for open requests").then_some(()));
    stream.write_all(b"56789").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert!(registry.daemon.ended().success());
}

#[test]
fn it_prints_lines_to_paste() {
    need!("examples/registry");
    let welcome =
        |registry: &Standalone| registry.welcome().replace(&registry.address.to_string(), "REGISTRY");
    let registry = Standalone::start(Room::new(), &[]);
    assert_eq!(welcome(&registry), WELCOME.replace("VERSION", env!("CARGO_PKG_VERSION")));
    let health = registry.send("GET", "/healthz");
    assert_eq!((health.status, health.text()), (200, "ok\n".to_owned()));

    let room = Room::new();
    let (users, files) = (users(&room), certified(&room));
    let options = ["--htpasswd", &users, "--tls-cert", &files.certificate, "--tls-key", &files.key];
    let registry =
        Standalone::start(room, &[&options[..], &["--read-only", "--url", "https://registry.test"]].concat());
    let said = welcome(&registry);
    for line in [
        "a registry, listening on https://REGISTRY\n",
        &format!("\nallowed: users of {users} may pull\n"),
        "/etc/containers/certs.d/registry.test/ca.crt",
        "/etc/docker/certs.d/registry.test/ca.crt",
        "\npodman:\n\n  podman login registry.test\n  podman pull registry.test/busybox\n\n",
        "\ndocker:\n\n  docker login registry.test\n  docker pull registry.test/busybox\n\n",
    ] {
        tells(&said, line);
    }
}

#[test]
fn it_tells_what_is_wrong_with_its_settings() {
    need!("examples/registry");
    let room = Room::new();
    let file = room.write("file", "ann:plain\n").display().to_string();
    let absent = room.join("absent").display().to_string();
    let (files, other) = (certified(&room), Room::new());
    let other = certified(&other).key.clone();
    let below = format!("{file}/data");
    let running = Standalone::on_disk(Room::new(), &[]);
    let data = running.data();
    let taken = running.address.to_string();
    let none = "No such file or directory (os error 2)";
    for (options, expected) in [
        (vec!["--htpasswd", &absent], format!("the file of users {absent} can't be read: {none}")),
        (
            vec!["--htpasswd", &file],
            format!(
                "the file of users {file}: line 1: the hash is not one of bcrypt, which is what `htpasswd -B` makes"
            ),
        ),
        (
            vec!["--tls-cert", &absent, "--tls-key", &files.key],
            format!("can't read the certificate in {absent}: {none}"),
        ),
        (
            vec!["--tls-cert", &file, "--tls-key", &files.key],
            format!("can't read the certificate in {file}: there is none in PEM"),
        ),
        (
            vec!["--tls-cert", &files.certificate, "--tls-key", &absent],
            format!("can't read the private key in {absent}: {none}"),
        ),
        (
            vec!["--tls-cert", &files.certificate, "--tls-key", &files.certificate],
            format!("can't read the private key in {}: there is none in PEM", files.certificate),
        ),
        (
            vec!["--tls-cert", &files.certificate, "--tls-key", &other],
            format!(
                "the certificate in {} and the key in {other} don't work: keys may not be consistent: KeyMismatch",
                files.certificate
            ),
        ),
        (
            vec!["--data", &below],
            format!(
                "can't open {below}: the registry's disk: making a directory failed: Not a directory (os error 20)"
            ),
        ),
        (
            vec!["--data", &data],
            format!("can't open {data}: the index `{data}/index.redb` is open elsewhere"),
        ),
        (
            vec!["--gc", "--data", &data],
            format!("can't open {data}: the index `{data}/index.redb` is open elsewhere"),
        ),
        (vec!["--gc", "--data", &absent], format!("there is no registry in {absent}")),
        (vec!["--gc"], "the following required arguments were not provided:".to_owned()),
        (vec!["--anonymous-pull"], "the following required arguments were not provided:".to_owned()),
        (
            vec!["--url", "registry.test"],
            "invalid value 'registry.test' for '--url <URL>': a URL is scheme, host and port, as in \
             https://registry.example:5000"
                .to_owned(),
        ),
    ] {
        let outcome =
            outcome(room.command("examples/registry").env("REGISTRY_LISTEN", "127.0.0.1:0").args(&options));
        assert!(!outcome.status.success(), "{options:?}");
        assert_eq!(text(&outcome.stdout), "", "{options:?}");
        let said = outcome.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{}", outcome.stderr));
        // The command line's parser explains itself in more.
        let said =
            if outcome.status.code() == Some(2) { said.lines().next().unwrap() } else { said.trim_end() };
        assert_eq!(said, expected);
    }
    let outcome = outcome(room.command("examples/registry").args(["--listen", &taken]));
    assert_eq!(outcome.status.code(), Some(1));
    assert_eq!(
        outcome.stderr,
        format!("error: can't listen on {taken}: Address already in use (os error 98)\n")
    );
}

/// Skopeo gets every image, byte for byte.
fn pulls(registry: &Standalone, images: &[Image]) {
    let skopeo = Skopeo::new();
    for image in images {
        let copied = skopeo.copy(&registry.name(image), Take::All, image.kind.name());
        assert_eq!(digest(&copied.root()), digest(&image.root().bytes));
        for (digest, blob) in &image.blobs {
            assert_eq!(&copied.blob(digest), blob, "{digest}");
        }
    }
}

/// The words are others', and change with versions; here it counts that the right thing is said.
#[track_caller]
fn tells(said: &str, what: &str) {
    assert!(said.contains(what), "no `{what}` in {said}");
}

fn code(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

fn size(bytes: usize) -> Size {
    Size::new(bytes as u64)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
