use std::fmt;

use super::registry::BoxFuture;
use crate::error::Error;
use crate::secret::Secret;
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::{Host, Repository};

/// What opens an upstream registry.
///
/// As an extension of a request it is the one that the request is to be sent with, whatever the upstream's own
/// settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing: what everybody may see.
    #[default]
    Anonymous,
    /// A user name and a password, or a token in the place of one.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, which the registry's token service exchanges for a bearer token: docker's
    /// `identitytoken`.
    IdentityToken(Secret),
    /// A bearer token that is sent to the registry as it is: docker's `registrytoken`.
    RegistryToken(Secret),
}

impl Credential {
    /// A user name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::Basic { username: username.into(), password: password.into() }
    }

    /// A name for it that tells nothing: equal credentials have equal names.
    #[must_use]
    pub fn id(&self) -> CredentialId {
        let parts = match self {
            Self::Anonymous => ["anonymous", "", ""],
            Self::Basic { username, password } => ["basic", username, password.expose()],
            Self::IdentityToken(token) => ["identity", "", token.expose()],
            Self::RegistryToken(token) => ["registry", "", token.expose()],
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        CredentialId(hasher.finish())
    }
}

/// The name of a [`Credential`], for keys of caches and records: a hash, from which it can't be found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(Digest);

impl CredentialId {
    /// The hash itself, for keys that are hashed again.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits tell two apart in a log.
        write!(f, "CredentialId({}..)", self.0.hex().get(..8).unwrap_or_default())
    }
}

/// Where credentials for upstream registries come from.
///
/// ```
/// use tower_oci::error::Error;
/// use tower_oci::operation::{BoxFuture, Credential, Credentials};
/// use tower_oci::spec::name::{Host, Repository};
///
/// #[derive(Debug)]
/// struct OneForAll(Credential);
///
/// impl Credentials for OneForAll {
///     fn credential<'a>(
///         &'a self,
///         _registry: &'a Host,
///         _repository: Option<&'a Repository>,
///     ) -> BoxFuture<'a, Result<Credential, Error>> {
///         Box::pin(async move { Ok(self.0.clone()) })
///     }
/// }
/// ```
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// The credential for a repository of a registry, or for the registry itself; [`Credential::Anonymous`] when
    /// there is none.
    ///
    /// # Errors
    ///
    /// When the source of credentials is out of order; the request then fails, rather than go on anonymously.
    fn credential<'a>(
        &'a self,
        registry: &'a Host,
        repository: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>>;
}

/// No credentials at all.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Anonymous;

impl Anonymous {
    /// No credentials at all.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Credentials for Anonymous {
    fn credential<'a>(
        &'a self,
        _: &'a Host,
        _: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        Box::pin(std::future::ready(Ok(Credential::Anonymous)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials_tell_them_apart_and_nothing_else() {
        let one = Credential::basic("user", "hunter2");
        assert_eq!(one.id(), Credential::basic("user", "hunter2").id());
        assert_ne!(one.id(), Credential::basic("use", "rhunter2").id());
        assert_ne!(Credential::IdentityToken("x".into()).id(), Credential::RegistryToken("x".into()).id());
        let shown = format!("{one:?} {:?}", one.id());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
