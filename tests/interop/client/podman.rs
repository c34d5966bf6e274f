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
