use super::Scope;
use crate::error::Error;
use crate::operation::{BoxFuture, Credential, Credentials};
use crate::spec::name::{Host, Repository};

/// Credentials that the embedder gives, each for a registry or for the repositories below a prefix. The longest
/// prefix that fits counts, a later one before an earlier of the same length; where none fits it is anonymous.
///
/// Hosts are compared as a whole, port included, and prefixes end at slashes: a credential for `team` of
/// `registry.example` goes neither to `team2` nor to `registry.example.evil.example` nor to `registry.example:5000`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::client::credentials::Fixed;
/// use tower_oci::operation::{Credential, Credentials};
///
/// let ours = Credential::basic("robot", "hunter2");
/// let team = Credential::basic("robot+team", "hunter3");
/// let credentials = Fixed::new()
///     .registry("registry.example".parse()?, ours.clone())
///     .repositories("registry.example".parse()?, "team".parse()?, team.clone());
///
/// let registry = "registry.example".parse()?;
/// assert_eq!(credentials.credential(&registry, Some(&"team/app".parse()?)).await?, team);
/// assert_eq!(credentials.credential(&registry, Some(&"team2/app".parse()?)).await?, ours);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    entries: Vec<(Scope, Credential)>,
}

impl Fixed {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the credential for a registry.
    #[must_use]
    pub fn registry(mut self, registry: Host, credential: Credential) -> Self {
        self.entries.push((Scope::new(registry.as_str(), None), credential));
        self
    }

    /// Adds the credential for the repository `prefix` of a registry and those below it.
    #[must_use]
    pub fn repositories(mut self, registry: Host, prefix: Repository, credential: Credential) -> Self {
        self.entries.push((Scope::new(registry.as_str(), Some(prefix)), credential));
        self
    }

    fn find(&self, registry: &Host, repository: Option<&Repository>) -> Option<&Credential> {
        let fits = self
            .entries
            .iter()
            .filter_map(|(scope, credential)| Some((scope.fit(registry, repository)?, credential)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, credential)| credential)
    }
}

impl Credentials for Fixed {
    fn credential<'a>(
        &'a self,
        registry: &'a Host,
        repository: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        let found = self.find(registry, repository).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts() {
        let host = |text: &str| text.parse::<Host>().unwrap();
        let path = |text: &str| text.parse::<Repository>().unwrap();
        let credential = |name: &str| Credential::basic(name, "hunter2");
        let fixed = Fixed::new()
            .repositories(host("a.example"), path("team/app"), credential("app"))
            .registry(host("a.example"), credential("whole"))
            .repositories(host("a.example"), path("team"), credential("team"))
            .registry(host("b.example:5000"), credential("first"))
            .registry(host("b.example:5000"), credential("second"))
            .registry(host("index.docker.io"), credential("hub"));
        for (registry, repository, expected) in [
            ("a.example", None, Some("whole")),
            ("a.example", Some("other"), Some("whole")),
            ("a.example", Some("team"), Some("team")),
            ("a.example", Some("team/x"), Some("team")),
            ("a.example", Some("team2/x"), Some("whole")),
            ("a.example", Some("team/app"), Some("app")),
            ("a.example", Some("team/app/x"), Some("app")),
            ("a.example", Some("team/app2"), Some("team")),
            ("a.example", Some("x/team/app"), Some("whole")),
            ("b.example:5000", Some("x"), Some("second")),
            ("b.example", Some("x"), None),
            ("docker.io", Some("library/busybox"), Some("hub")),
            ("registry-1.docker.io", None, Some("hub")),
            // What looks alike.
            ("a.example:443", Some("team"), None),
            ("xa.example", Some("team"), None),
            ("a.example.evil.example", Some("team"), None),
            ("evil.a.example", Some("team"), None),
        ] {
            let found = fixed.find(&host(registry), repository.map(path).as_ref()).cloned();
            assert_eq!(found, expected.map(credential), "{registry} {repository:?}");
        }
        assert!(!format!("{fixed:?}").contains("hunter2"));
    }
}
