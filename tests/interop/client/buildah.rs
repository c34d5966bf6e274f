//! `buildah from`, `buildah mount` and `buildah run`.

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

    pub(crate) fn remove(&self, container: &str) {
        run(self.containers.command("buildah").args(["rm", container]));
    }
}
