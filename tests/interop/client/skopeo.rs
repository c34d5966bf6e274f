//! `skopeo login`, `skopeo inspect`, `skopeo copy` and `skopeo delete`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
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

    /// With the authority that vouches for one registry.
    pub(crate) fn trusting(registry: &str, authority: &str) -> Self {
        Self { containers: Containers::trusting(registry, authority) }
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

    /// Copies files to a registry, byte for byte and with everything that they name.
    pub(crate) fn push(&self, from: &Copied, image: &str) {
        let fixed = ["copy", "--quiet", "--all", "--preserve-digests", &self.containers.tls("dest-", image)];
        let (from, to) = (format!("dir:{}", from.directory.display()), format!("docker://{image}"));
        run(self.command().args(fixed).args([from, to]));
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
        refused(&mut self.guarded(image, credentials, &self.containers.room().join("refused")))
    }

    /// Logs in, and keeps what it takes for later.
    pub(crate) fn login(&self, registry: SocketAddr, credentials: (&str, &str)) {
        run(&mut self.logging_in(registry, credentials));
    }

    /// The same where it is refused.
    pub(crate) fn refused_login(&self, registry: SocketAddr, credentials: (&str, &str)) -> String {
        refused(&mut self.logging_in(registry, credentials))
    }

    pub(crate) fn logout(&self, registry: SocketAddr) {
        run(self.command().args(["logout", &registry.to_string()]));
    }

    /// Copies all of an image from one registry to another.
    pub(crate) fn transfer(&self, from: &str, to: &str) {
        run(&mut self.transferring(from, to));
    }

    /// The same where it is refused.
    pub(crate) fn refused_transfer(&self, from: &str, to: &str) -> String {
        refused(&mut self.transferring(from, to))
    }

    /// Copies one image in another format: `oci` or `v2s2`.
    pub(crate) fn transfer_as(&self, from: &str, to: &str, format: &str) {
        let mut command = self.command();
        command.args([
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--format",
            format,
        ]);
        run(command.args([format!("docker://{from}"), format!("docker://{to}")]));
    }

    /// Copies all tags of a repository, each with all of its platforms, below another name.
    pub(crate) fn sync(&self, from: &str, to: &str) {
        let fixed = ["sync", "--all", "--preserve-digests", "--src", "docker", "--dest", "docker"];
        let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        run(self.command().args(fixed).args(plain).args([from, to]));
    }

    pub(crate) fn delete(&self, image: &str) {
        run(&mut self.deleting(image));
    }

    /// The same where it is refused.
    pub(crate) fn refused_delete(&self, image: &str) -> String {
        refused(&mut self.deleting(image))
    }

    /// A copy that is refused.
    pub(crate) fn refused_copy(&self, image: &str) -> String {
        let to = format!("dir:{}", self.containers.room().join("refused").display());
        refused(&mut self.copying_to(image, Take::All, &to, &[]))
    }

    fn deleting(&self, image: &str) -> Command {
        let mut command = self.command();
        command.args(["delete", &self.containers.tls("", image), &format!("docker://{image}")]);
        command
    }

    fn logging_in(&self, registry: SocketAddr, (user, password): (&str, &str)) -> Command {
        let (mut command, registry) = (self.command(), registry.to_string());
        let tls = self.containers.tls("", &registry);
        command.args(["login", &tls, "--username", user, "--password", password, &registry]);
        command
    }

    fn transferring(&self, from: &str, to: &str) -> Command {
        let mut command = self.command();
        let (from_tls, to_tls) = (self.containers.tls("src-", from), self.containers.tls("dest-", to));
        command.args(["copy", "--quiet", "--all", &from_tls, &to_tls]);
        command.args([format!("docker://{from}"), format!("docker://{to}")]);
        command
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
        run(&mut self.copying_to(image, take, to, options));
    }

    fn copying_to(&self, image: &str, take: Take, to: &str, options: &[&str]) -> Command {
        let all: &[&str] = if take == Take::All { &["--all"] } else { &[] };
        let tls = self.containers.tls("src-", image);
        let mut command = self.command();
        command.args(["copy", "--quiet", &tls]).args(options).args(all);
        command.args([&format!("docker://{image}"), to]);
        command
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

    /// All files, by name.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(&self.directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| (name.clone(), self.file(&name))).collect()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path = self.directory.join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn refused(command: &mut Command) -> String {
    let outcome = outcome(command);
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    outcome.stderr
}
