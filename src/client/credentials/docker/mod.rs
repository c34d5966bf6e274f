//! Credentials from docker's and podman's files.

mod cache;
mod file;
mod helper;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::cache::Cache;
use self::file::{Answer, File};
use self::helper::Helper;
use self::source::Source;
use super::canonical;
use crate::error::Error;
use crate::operation::{BoxFuture, Credential, Credentials};
use crate::rt::env;
use crate::spec::name::{DOCKER_HUB, Host, Repository};

/// Credentials as `docker login` and `podman login` leave them: docker's `config.json`, podman's `auth.json`, and the
/// helper programs that they name. Clones share it.
///
/// Of a file it reads `auths` (`auth`, `username` and `password`, `identitytoken`, `registrytoken`), `credHelpers`
/// and `credsStore`. For a repository the first that fits counts:
///
/// 1. the entry of `auths` with the longest repository prefix (`host/namespace/repository`, as podman writes them),
/// 2. the host's helper in `credHelpers`, else the helper in `credsStore`,
/// 3. the host's entry in `auths`; those that docker wrote as a URL (`https://index.docker.io/v1/`) last.
///
/// Files are looked at again every five seconds at most and read anew when they have changed, so that a login is seen.
/// A helper has ten seconds; its answer, also that it has none, is believed for a minute and asked for once for many.
///
/// The error of a request says for which registry no credential could be had; what is wrong with the file or the
/// helper is in its source and in a log event, since the request may be a stranger's.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::client::credentials::DockerConfig;
/// use tower_oci::operation::{Credential, Credentials};
///
/// let config = DockerConfig::from_json(br#"{"auths": {"registry.example": {"auth": "cm9ib3Q6aHVudGVyMg=="}}}"#)?;
/// let credential = config.credential(&"registry.example".parse()?, None).await?;
/// assert_eq!(credential, Credential::basic("robot", "hunter2"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DockerConfig {
    content: Content,
    helpers_in: Option<Arc<Path>>,
    cache: Arc<Cache>,
}

#[derive(Clone)]
enum Content {
    Files(Vec<Arc<Source>>),
    Bytes(Arc<File>),
}

impl DockerConfig {
    /// Reads the files at their usual places, as far as they are there: `$DOCKER_CONFIG/config.json` or else
    /// `~/.docker/config.json`; then `$REGISTRY_AUTH_FILE`, or else `$XDG_RUNTIME_DIR/containers/auth.json` and
    /// `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config/containers/auth.json`). The first file that has something for a registry counts.
    ///
    /// It blocks for a moment, and is the only method here that reads the environment.
    ///
    /// # Errors
    ///
    /// When a file is there but can't be read or is malformed; the message names the file and the entry, and nothing of
    /// its content.
    pub fn load() -> Result<Self, Error> {
        let places = places(|name| env::variable(name).map(PathBuf::from));
        let sources = places.into_iter().map(|path| Source::open(path, false).map(Arc::new));
        Ok(Self::new(Content::Files(sources.collect::<Result<_, _>>()?)))
    }

    /// Reads the file at `path`, which has to be there. It blocks for a moment.
    ///
    /// # Errors
    ///
    /// When the file can't be read or is malformed; the message names the file and the entry, and nothing of its content.
    pub fn load_from(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self::new(Content::Files(vec![Arc::new(Source::open(path.into(), true)?)])))
    }

    /// Takes the content of such a file.
    ///
    /// # Errors
    ///
    /// When it is malformed; the message names the entry, and nothing of its content.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let file = File::parse(json)
            .map_err(|reason| Error::internal(format!("the docker configuration: {reason}")))?;
        Ok(Self::new(Content::Bytes(Arc::new(file))))
    }

    /// Looks for helper programs in this directory, in place of the process's search path.
    #[must_use]
    pub fn helpers_in(mut self, directory: impl AsRef<Path>) -> Self {
        self.helpers_in = Some(directory.as_ref().into());
        self
    }

    fn new(content: Content) -> Self {
        Self { content, helpers_in: None, cache: Arc::new(Cache::default()) }
    }

    async fn find(&self, registry: &Host, repository: Option<&Repository>) -> Result<Credential, Error> {
        match &self.content {
            Content::Bytes(file) => {
                if let Some(credential) = self.find_in(file, registry, repository).await? {
                    return Ok(credential);
                }
            }
            Content::Files(sources) => {
                for source in sources {
                    let file = source.current().await?;
                    if let Some(credential) = self.find_in(&file, registry, repository).await? {
                        return Ok(credential);
                    }
                }
            }
        }
        Ok(Credential::Anonymous)
    }

    async fn find_in(
        &self,
        file: &File,
        registry: &Host,
        repository: Option<&Repository>,
    ) -> Result<Option<Credential>, Error> {
        match file.find(registry, repository) {
            None => Ok(None),
            Some(Answer::Here(credential)) => Ok(Some(credential.clone())),
            Some(Answer::Ask(helper, other)) => {
                Ok(self.ask(helper, registry).await?.or_else(|| other.cloned()))
            }
        }
    }

    async fn ask(&self, helper: &Helper, registry: &Host) -> Result<Option<Credential>, Error> {
        let server = match canonical(registry.as_str()) {
            // The key under which docker has always kept it.
            DOCKER_HUB => "https://index.docker.io/v1/",
            other => other,
        };
        self.cache.get(helper, server, || helper.get(self.helpers_in.as_deref(), server)).await
    }
}

impl Credentials for DockerConfig {
    fn credential<'a>(
        &'a self,
        registry: &'a Host,
        repository: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        Box::pin(async move {
            self.find(registry, repository).await.map_err(|error| {
                tracing::warn!(%registry, %error, "no credential could be had");
                let message = format!("no credential for `{registry}` could be had");
                Error::new(error.kind(), error.code(), message).with_source(error)
            })
        })
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DockerConfig(..)")
    }
}

/// Where the files are, given a way to look up variables.
fn places(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let at_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = variable("DOCKER_CONFIG")
        .or_else(|| at_home(".docker"))
        .map(|directory| directory.join("config.json"));
    let auth = |directory: PathBuf| directory.join("containers").join("auth.json");
    let podman = match variable("REGISTRY_AUTH_FILE") {
        Some(file) => vec![Some(file)],
        None => vec![
            variable("XDG_RUNTIME_DIR").map(auth),
            variable("XDG_CONFIG_HOME").or_else(|| at_home(".config")).map(auth),
        ],
    };
    [docker].into_iter().chain(podman).flatten().collect()
}

#[cfg(test)]
mod tests;
