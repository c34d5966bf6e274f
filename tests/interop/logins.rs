//! Clients that log in at a registry which the crate's own layers guard.

use crate::client::containerd::Containerd;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::client::skopeo::{Skopeo, Take};
use crate::support::guarded::{Guarded, READER, STRANGER, Scheme, WRITER};
use crate::support::image::{Image, Kind, SCRIPT, image, told};
use crate::support::push;
use crate::support::registry::basic;

const SCHEMES: [Scheme; 2] = [Scheme::Basic, Scheme::Bearer];

/// A registry with one image, `test/<kind>:v1`.
fn start(scheme: Scheme, image: &Image) -> Guarded {
    let guarded = Guarded::start(scheme);
    // A name and a password are taken unasked, whatever the challenge would be.
    push::push(image, guarded.address, Some(&basic(WRITER.0, WRITER.1)));
    guarded.log();
    guarded
}

#[test]
fn podman_logs_in_pulls_and_pushes() {
    need!("podman", "runc", "busybox");
    for scheme in SCHEMES {
        let image = image(Kind::OciAttested);
        let guarded = start(scheme, image);
        let (here, podman) = (guarded.address, Podman::new());
        let (name, copy) = (guarded.name(&image.name()), guarded.name("public/copy:v1"));

        tells(&podman.refused_login(here, (READER.0, "wrong")), "invalid username/password");
        tells(&podman.refused_login(here, ("nobody", READER.1)), "invalid username/password");
        tells(&podman.refused_pull(&name), "unauthorized");

        podman.login(here, STRANGER);
        tells(&podman.refused_pull(&name), "manifest unknown");

        podman.login(here, READER);
        podman.pull(&name);
        assert_eq!(podman.run(&name, SCRIPT), told(Kind::OciAttested, false));
        tells(&podman.refused_push(&name, &copy), "denied");

        podman.login(here, WRITER);
        podman.push(&name, &copy);
        podman.logout(here);
        podman.pull(&copy);
        check_log(&guarded, scheme);
    }
}

#[test]
fn skopeo_logs_in_copies_and_deletes() {
    need!("skopeo", "busybox");
    for scheme in SCHEMES {
        let image = image(Kind::OciAttested);
        let guarded = start(scheme, image);
        let (here, skopeo) = (guarded.address, Skopeo::new());
        let (name, copy) = (guarded.name(&image.name()), guarded.name("public/copy:v1"));

        tells(&skopeo.refused_login(here, (READER.0, "wrong")), "invalid username/password");
        skopeo.login(here, READER);
        let copied = skopeo.copy(&name, Take::All, "reader");
        assert_eq!(copied.root(), image.root().bytes);
        tells(&skopeo.refused_transfer(&name, &copy), "denied");
        tells(&skopeo.refused_delete(&name), "DENIED");

        // To another repository of the same registry: image layers are mounted.
        skopeo.login(here, WRITER);
        guarded.log();
        skopeo.transfer(&name, &copy);
        let log = guarded.log();
        let mounted = |line: &&String| {
            line.starts_with("POST /v2/public/copy/blobs/uploads/ ") && line.ends_with(" 201")
        };
        assert!(log.iter().any(|line| mounted(&line)), "{log:#?}");
        skopeo.delete(&name);
        skopeo.logout(here);
        let copied = skopeo.copy(&copy, Take::All, "anonymous");
        assert_eq!(copied.root(), image.root().bytes);
        check_log(&guarded, scheme);
    }
}

#[test]
fn docker_logs_in_pulls_and_pushes() {
    need!("docker", "dockerd", "containerd", "runc", "busybox");
    let docker = Docker::start();
    for scheme in SCHEMES {
        let image = image(Kind::DockerManifest);
        let guarded = start(scheme, image);
        let (here, name) = (guarded.address, guarded.name(&image.name()));
        let copy = guarded.name("public/copy:v1");

        tells(&docker.refused_login(here, (READER.0, "wrong")), "nauthorized");
        docker.refused_pull(&name);

        docker.login(here, STRANGER);
        tells(&docker.refused_pull(&name), "manifest unknown");

        docker.login(here, READER);
        docker.pull(&name);
        assert_eq!(docker.run(&name, SCRIPT), told(Kind::DockerManifest, false));
        docker.tag(&name, &copy);
        tells(&docker.refused_push(&copy), "denied");

        docker.login(here, WRITER);
        docker.push(&copy);
        // What it keeps is a refresh token, where it was given one.
        let kept = docker.config();
        assert_eq!(kept.contains("identitytoken"), scheme == Scheme::Bearer, "{kept}");
        docker.logout(here);
        if scheme == Scheme::Bearer {
            docker.remove(&copy);
            docker.pull(&copy);
        }
        check_log(&guarded, scheme);
    }
}

#[test]
fn containerd_pulls_with_a_password_and_without() {
    need!("containerd", "ctr", "runc", "skopeo", "busybox");
    let containerd = Containerd::start();
    for scheme in SCHEMES {
        let image = image(Kind::DockerManifest);
        let guarded = start(scheme, image);
        let (name, copy) = (guarded.name(&image.name()), guarded.name("public/copy:v1"));
        tells(&containerd.refused_pull(&name, (READER.0, "wrong")), "40");
        containerd.pull_as(&name, READER);
        let container = if scheme == Scheme::Basic { "basic" } else { "bearer" };
        assert_eq!(containerd.run(&name, container, SCRIPT), told(Kind::DockerManifest, false));

        let skopeo = Skopeo::new();
        skopeo.login(guarded.address, WRITER);
        skopeo.transfer(&name, &copy);
        containerd.pull_plain(&copy);
        check_log(&guarded, scheme);
    }
}

/// The words are others', and change with versions; here it counts that the right thing is said.
#[track_caller]
fn tells(said: &str, what: &str) {
    assert!(said.contains(what), "no `{what}` in {said}");
}

/// With tokens, passwords go to the token endpoint and nowhere else.
#[track_caller]
fn check_log(guarded: &Guarded, scheme: Scheme) {
    let log = guarded.log();
    let basic = |line: &&String| line.contains("/v2/") && line.contains(" Basic ");
    assert!(log.iter().any(|line| line.ends_with(" 200")), "{log:#?}");
    match scheme {
        Scheme::Basic => assert_eq!(log.iter().find(|line| line.contains(" Bearer ")), None, "{log:#?}"),
        Scheme::Bearer => assert_eq!(log.iter().find(basic), None, "{log:#?}"),
    }
}
