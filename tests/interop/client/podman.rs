//! `podman pull` and `podman run`.

use crate::client::containers::Containers;
use crate::support::process::run;

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

    /// Pulls an image as the settings of registries say, and gives its id.
    pub(crate) fn pull_mirrored(&self, image: &str) -> String {
        run(self.containers.command("podman").args(["pull", "--quiet", image])).trim().to_owned()
    }

    /// Pulls an image over plain HTTP, and gives its id: the hex digits of its config's digest.
    pub(crate) fn pull(&self, image: &str) -> String {
        run(self.containers.command("podman").args(["pull", "--quiet", "--tls-verify=false", image]))
            .trim()
            .to_owned()
    }

    /// Runs a script in a new container of an image that was pulled, and gives what it prints.
    pub(crate) fn run(&self, image: &str, script: &str) -> String {
        let options = ["run", "--rm", "--network", "host", "--pull", "never"];
        run(self.containers.command("podman").args(options).args([image, "/bin/sh", "-c", script]))
    }
}
