//! `skopeo inspect` and `skopeo copy`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::client::containers::Containers;
use crate::support::process::{outcome, run};

#[derive(Debug)]
pub(crate) struct Skopeo {
    containers: Containers,
}

/// How much of an index a copy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// The image for this machine.
    One,
    /// Everything that the index names.
    All,
}

/// An image in files, all of its bytes as they came over the wire (skopeo's `dir:`).
#[derive(Debug)]
pub(crate) struct Copied {
    directory: PathBuf,
}

impl Skopeo {
    pub(crate) fn new() -> Self {
        Self { containers: Containers::new() }
    }

    pub(crate) fn inspect(&self, image: &str) -> Value {
        let image = format!("docker://{image}");
        let text = run(self.command().args(["inspect", "--tls-verify=false", &image]));
        serde_json::from_str(&text).unwrap()
    }

    /// Copies byte for byte.
    pub(crate) fn copy(&self, image: &str, take: Take, name: &str) -> Copied {
        let directory = self.containers.room().join(name);
        self.copy_to(image, take, &format!("dir:{}", directory.display()), &["--preserve-digests"]);
        Copied { directory }
    }

    /// Copies to an OCI layout, which makes an OCI image of a Docker one; gives its directory.
    pub(crate) fn layout(&self, image: &str, take: Take, name: &str) -> PathBuf {
        let directory = self.containers.room().join(name);
        self.copy_to(image, take, &format!("oci:{}:pulled", directory.display()), &[]);
        directory
    }

    /// Copies one image with a user's name and password.
    pub(crate) fn copy_with(&self, image: &str, credentials: (&str, &str)) -> Copied {
        let directory = self.containers.room().join("guarded");
        run(&mut self.guarded(image, credentials, &directory));
        Copied { directory }
    }

    /// The same where it is refused: what skopeo says then.
    pub(crate) fn refused_with(&self, image: &str, credentials: (&str, &str)) -> String {
        let outcome = outcome(&mut self.guarded(image, credentials, &self.containers.room().join("refused")));
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
        outcome.stderr
    }

    fn guarded(&self, image: &str, (user, password): (&str, &str), to: &Path) -> Command {
        let mut command = self.command();
        command.args(["copy", "--quiet", "--src-tls-verify=false", "--src-creds"]).args([
            format!("{user}:{password}"),
            format!("docker://{image}"),
            format!("dir:{}", to.display()),
        ]);
        command
    }

    fn copy_to(&self, image: &str, take: Take, to: &str, options: &[&str]) {
        let all: &[&str] = if take == Take::All { &["--all"] } else { &[] };
        let image = format!("docker://{image}");
        let fixed = ["copy", "--quiet", "--src-tls-verify=false"];
        run(self.command().args(fixed).args(options).args(all).args([&image, to]));
    }

    fn command(&self) -> Command {
        let mut command = self.containers.command("skopeo");
        command.arg("--insecure-policy");
        command
    }
}

impl Copied {
    /// The manifest or index that the image's name stood for.
    pub(crate) fn root(&self) -> Vec<u8> {
        self.file("manifest.json")
    }

    /// A manifest that the index names.
    pub(crate) fn manifest(&self, digest: &str) -> Vec<u8> {
        self.file(&format!("{}.manifest.json", hex(digest)))
    }

    pub(crate) fn blob(&self, digest: &str) -> Vec<u8> {
        self.file(hex(digest))
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path = self.directory.join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
