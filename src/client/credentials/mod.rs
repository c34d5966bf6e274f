//! Where credentials for upstream registries come from.
//!
//! [`Fixed`] holds what the embedder gives; `DockerConfig` (feature `docker-config`) reads docker's and podman's files and
//! asks their helper programs. Both are [`Credentials`](crate::operation::Credentials), as anything else may be.

#[cfg(feature = "docker-config")]
mod docker;
mod fixed;

#[cfg(feature = "docker-config")]
pub use self::docker::DockerConfig;
pub use self::fixed::Fixed;

use crate::spec::name::{DOCKER_HUB, Host, Repository};

/// What a credential is for: a registry, or the repositories of one below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    host: String,
    prefix: Option<Repository>,
}

impl Scope {
    pub(crate) fn new(host: &str, prefix: Option<Repository>) -> Self {
        Self { host: canonical(host).to_owned(), prefix }
    }

    /// How well it fits, or `None` when it doesn't: the longer the prefix, the better. Hosts are compared as a whole,
    /// prefixes at slashes, so that nothing that merely looks alike fits.
    pub(crate) fn fit(&self, registry: &Host, repository: Option<&Repository>) -> Option<usize> {
        if self.host != canonical(registry.as_str()) {
            return None;
        }
        let Some(prefix) = &self.prefix else { return Some(0) };
        repository?.is_under(prefix.as_str()).then(|| prefix.as_str().len())
    }
}

/// The names under which Docker Hub is known all mean one registry.
fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}
