//! `podman login`, `podman push`, `podman pull` and `podman run`.

use std::net::SocketAddr;
use std::process::Command;

use crate::client::containers::Containers;
use crate::support::process::{outcome, run};

#[derive(Debug)]
pub(crate) struct Podman {
    containers: Containers,
}

impl Podman {
    pub(crate) fn new() -> Self {
        Self { containers: Containers::new() }
    }

    /// With settings that say which registry has a mirror where.
    pub(crate) fn behind(registries: &str) -> Self {
        Self { containers: Containers::behind(registries) }
    }

    /// With the authority that vouches for one registry.
    pub(crate) fn trusting(registry: &str, authority: &str) -> Self {
        Self { containers: Containers::trusting(registry, authority) }
    }

    /// Pulls an image as the settings of registries say, and gives its id.
    pub(crate) fn pull_mirrored(&self, image: &str) -> String {
        run(self.containers.command("podman").args(["pull", "--quiet", image])).trim().to_owned()
    }

    /// Pulls an image, and gives its id: the hex digits of its config's digest.
    pub(crate) fn pull(&self, image: &str) -> String {
        run(&mut self.pulling(image)).trim().to_owned()
    }

    /// Logs in, and keeps what it takes for later pulls and pushes.
    pub(crate) fn login(&self, registry: SocketAddr, credentials: (&str, &str)) {
        run(&mut self.logging_in(registry, credentials));
    }

    /// The same where it is refused: what podman says then.
    pub(crate) fn refused_login(&self, registry: SocketAddr, credentials: (&str, &str)) -> String {
        refused(&mut self.logging_in(registry, credentials))
    }

    pub(crate) fn logout(&self, registry: SocketAddr) {
        run(self.containers.command("podman").args(["logout", &registry.to_string()]));
    }

    /// Pushes an image of the local store to another name.
    pub(crate) fn push(&self, local: &str, image: &str) {
        run(&mut self.pushing(local, image));
    }

    /// Forgets an image.
    pub(crate) fn remove(&self, image: &str) {
        run(self.containers.command("podman").args(["rmi", "--force", image]));
    }

    /// A push that is refused.
    pub(crate) fn refused_push(&self, local: &str, image: &str) -> String {
        refused(&mut self.pushing(local, image))
    }

    /// A pull that is refused.
    pub(crate) fn refused_pull(&self, image: &str) -> String {
        refused(&mut self.pulling(image))
    }

    fn pulling(&self, image: &str) -> Command {
        let mut command = self.containers.command("podman");
        command.args(["pull", "--quiet", &self.containers.tls("", image), image]);
        command
    }

    fn logging_in(&self, registry: SocketAddr, (user, password): (&str, &str)) -> Command {
        let (mut command, registry) = (self.containers.command("podman"), registry.to_string());
        let tls = self.containers.tls("", &registry);
        command.args(["login", &tls, "--username", user, "--password", password, &registry]);
        command
    }

    fn pushing(&self, local: &str, image: &str) -> Command {
        let mut command = self.containers.command("podman");
        let tls = self.containers.tls("", image);
        command.args(["push", "--quiet", &tls, local, &format!("docker://{image}")]);
        command
    }

    /// Pushes an image that was pulled, and gives the digest of the manifest that it has there.
    pub(crate) fn push_with_digest(&self, image: &str, to: &str) -> String {
        let file = self.containers.room().join("digest");
        let to = format!("docker://{to}");
        let mut command = self.containers.command("podman");
        command.args(["push", "--quiet", "--tls-verify=false", "--digestfile"]).arg(&file);
        run(command.args([image, &to]));
        std::fs::read_to_string(file).unwrap()
    }

    /// Runs a script in a new container of an image that was pulled, and gives what it prints.
    /// All that podman knows of an image.
    #[cfg(feature = "build")]
    pub(crate) fn inspect(&self, image: &str) -> String {
        run(self.containers.command("podman").args(["image", "inspect", image]))
    }

    pub(crate) fn run(&self, image: &str, script: &str) -> String {
        let options = ["run", "--rm", "--network", "host", "--pull", "never"];
        run(self.containers.command("podman").args(options).args([image, "/bin/sh", "-c", script]))
    }
}

fn refused(command: &mut Command) -> String {
    let outcome = outcome(command);
    assert_eq!(outcome.status.code(), Some(125), "{}", outcome.stderr);
    outcome.stderr
}
