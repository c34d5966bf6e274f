use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::operation::UpstreamId;
use crate::spec::name::{DOCKER_HUB, Host, InvalidName, Repository, without_tokens};

/// Which names mean which registry.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    hosts: BTreeSet<Host>,
    aliases: BTreeMap<String, Alias>,
    default: Option<Host>,
    own: BTreeSet<Host>,
    any_host: bool,
}

#[derive(Clone, Debug)]
struct Alias {
    host: Host,
    prefix: Option<Repository>,
}

impl Routes {
    /// No routes: every name is unknown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The registry `host` may be meant, by the first component of a name or by `ns`.
    #[must_use]
    pub fn host(mut self, host: Host) -> Self {
        self.hosts.insert(host);
        self
    }

    /// The first component `component` of a name means the registry `host`.
    ///
    /// # Errors
    ///
    /// When `component` can't be one component of a repository's name.
    pub fn alias(self, component: &str, host: Host) -> Result<Self, InvalidName> {
        self.insert_alias(component, host, None)
    }

    /// The first component `component` of a name means what is under `prefix` in the registry `host`.
    ///
    /// # Errors
    ///
    /// When `component` can't be one component of a repository's name.
    pub fn alias_under(self, component: &str, host: Host, prefix: Repository) -> Result<Self, InvalidName> {
        self.insert_alias(component, host, Some(prefix))
    }

    fn insert_alias(
        mut self,
        component: &str,
        host: Host,
        prefix: Option<Repository>,
    ) -> Result<Self, InvalidName> {
        let name = Repository::component(component)?;
        self.aliases.insert(name.to_owned(), Alias { host, prefix });
        Ok(self)
    }

    /// A name that says nothing of a registry means the registry `host`, which may also be named.
    #[must_use]
    pub fn default_host(mut self, host: Host) -> Self {
        self.hosts.insert(host.clone());
        self.default = Some(host);
        self
    }

    /// `host` is a name of this service itself: an `ns` with it says nothing.
    #[must_use]
    pub fn own_host(mut self, host: Host) -> Self {
        self.own.insert(host);
        self
    }

    /// Whether the first component of a name may be any host whatever. Off unless set: a proxy for everything is what
    /// the embedder must ask for. It never opens `ns`.
    #[must_use]
    pub fn any_host(mut self, any: bool) -> Self {
        self.any_host = any;
        self
    }

    pub(super) fn is_own(&self, host: &Host) -> bool {
        self.own.contains(host)
    }

    /// What is meant by a name and an `ns`, and whether it was the `ns` that decided.
    pub(super) fn resolve(
        &self,
        repository: Option<&Repository>,
        namespace: Option<&Host>,
    ) -> Result<(Target, bool), Error> {
        if let Some(repository) = repository
            && let Some((first, rest)) = repository.as_str().split_once('/')
            && let Some(target) = self.by_component(first, rest)?
        {
            return Ok((target, false));
        }
        let (host, by_namespace) = match (namespace, &self.default) {
            (Some(namespace), _) if self.hosts.contains(namespace) => (namespace.clone(), true),
            (Some(namespace), _) => {
                return Err(Error::name_unknown(format!("the registry `{namespace}` is not served here")));
            }
            (None, Some(default)) => (default.clone(), false),
            (None, None) => {
                return Err(Error::name_unknown(match repository {
                    Some(name) => {
                        let name = without_tokens(name.as_str());
                        format!("the name `{name}` means no registry that is served here")
                    }
                    None => "no registry is named, and there is no default one".to_owned(),
                }));
            }
        };
        let target = Target::host(host);
        let target = match repository {
            Some(repository) => target.under(repository.clone())?,
            None => target,
        };
        Ok((target, by_namespace))
    }

    fn by_component(&self, first: &str, rest: &str) -> Result<Option<Target>, Error> {
        if let Some(alias) = self.aliases.get(first) {
            let rest = match &alias.prefix {
                Some(prefix) => format!("{prefix}/{rest}"),
                None => rest.to_owned(),
            };
            return Target::host(alias.host.clone()).under(rest.parse()?).map(Some);
        }
        if !Host::is_meant_by(first) {
            return Ok(None);
        }
        match first.parse::<Host>() {
            Ok(host) if self.any_host || self.hosts.contains(&host) => {
                Target::host(host).under(rest.parse()?).map(Some)
            }
            _ => Err(Error::name_unknown(format!("the registry `{first}` is not served here"))),
        }
    }
}

/// A registry, and a repository in its own terms.
#[derive(Debug)]
pub(super) struct Target {
    host: Host,
    repository: Option<Repository>,
}

impl Target {
    pub(super) fn host(host: Host) -> Self {
        Self { host, repository: None }
    }

    /// The repository of this registry; a single component means `library/` on Docker Hub.
    pub(super) fn under(self, repository: Repository) -> Result<Self, Error> {
        let repository = if self.host.as_str() == DOCKER_HUB && !repository.as_str().contains('/') {
            repository.with_prefix("library")?
        } else {
            repository
        };
        Ok(Self { repository: Some(repository), ..self })
    }

    pub(super) fn id(&self) -> UpstreamId {
        UpstreamId::new(self.host.clone())
    }

    pub(super) fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }
}
