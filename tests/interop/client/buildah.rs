//! `buildah from`, `buildah mount`, `buildah run` and `buildah push`.

use std::path::PathBuf;

use crate::client::containers::Containers;
use crate::support::process::run;

#[derive(Debug)]
pub(crate) struct Buildah {
    containers: Containers,
}

impl Buildah {
    pub(crate) fn new() -> Self {
        Self { containers: Containers::new() }
    }

    /// Pulls an image over plain HTTP and makes a working container of it, whose name it gives.
    pub(crate) fn from(&self, image: &str) -> String {
        run(self.containers.command("buildah").args(["from", "--quiet", "--tls-verify=false", image]))
            .trim()
            .to_owned()
    }

    /// Where the files of a working container are, until it is removed.
    pub(crate) fn mount(&self, container: &str) -> PathBuf {
        PathBuf::from(run(self.containers.command("buildah").args(["mount", container])).trim())
    }

    pub(crate) fn run(&self, container: &str, script: &str) -> String {
        let options = ["run", "--runtime", "runc", container, "--", "/bin/sh", "-c", script];
        run(self.containers.command("buildah").args(options))
    }

    /// Pushes an image that was pulled, and gives the digest of the manifest that it has there.
    pub(crate) fn push(&self, image: &str, to: &str) -> String {
        let file = self.containers.room().join("digest");
        let to = format!("docker://{to}");
        let mut command = self.containers.command("buildah");
        command.args(["push", "--quiet", "--tls-verify=false", "--digestfile"]).arg(&file);
        run(command.args([image, &to]));
        std::fs::read_to_string(file).unwrap()
    }

    pub(crate) fn remove(&self, container: &str) {
        run(self.containers.command("buildah").args(["rm", container]));
    }
}
