//! Scopes: what a bearer token is good for, as challenges, token services and tokens write it
//! ([token scopes](https://distribution.github.io/distribution/spec/auth/scope/)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::operation::{Access, Operation};
use crate::spec::name::Repository;

/// A union of scopes in one canonical form: `repository:a/b:pull,push registry:catalog:*`.
///
/// ```
/// use tower_oci::http::scope::Scopes;
/// use tower_oci::operation::ListTags;
///
/// let needed = Scopes::of(&ListTags::new("a/b".parse()?).into());
/// assert_eq!(needed.to_string(), "repository:a/b:pull");
/// assert!(Scopes::parse("repository:a/b:push,pull repository:c:pull").cover(&needed));
/// assert!(!Scopes::parse("repository:a:pull").cover(&needed));
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(BTreeMap<Resource, BTreeSet<String>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Resource {
    kind: String,
    name: String,
}

/// What reading never needs, whatever a challenge says.
#[cfg(feature = "client")]
const WRITING: [&str; 3] = ["push", "delete", "*"];

impl Scopes {
    /// The most scopes that are read from one text.
    pub const MAX: usize = 16;

    /// The most actions that are read on one resource.
    pub const MAX_ACTIONS: usize = 16;

    /// What an operation needs: nothing for a ping; to mount a blob, also to pull from where it is.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        let actions: &[&str] = match operation.access() {
            Access::Pull => &["pull"],
            Access::Push => &["pull", "push"],
            Access::Delete => &["delete"],
            Access::Catalog => return Self::one("registry", "catalog", &["*"]),
            Access::Ping => &[],
        };
        let mut scopes = operation
            .repository()
            .map_or_else(Self::default, |repository| Self::repository(repository, actions));
        if let Operation::StartUpload(start) = operation
            && let Some(from) = start.mount.as_ref().and_then(|mount| mount.from.as_ref())
        {
            scopes = scopes.and(Self::repository(from, &["pull"]));
        }
        scopes
    }

    fn repository(repository: &Repository, actions: &[&str]) -> Self {
        Self::one("repository", repository.as_str(), actions)
    }

    fn one(kind: &str, name: &str, actions: &[&str]) -> Self {
        let resource = Resource { kind: kind.to_owned(), name: name.to_owned() };
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(resource, actions)]))
    }

    /// Reads scopes between white space, [`Scopes::MAX`] of them at most; what can't be read, like `*`, is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        // More than a handful is nonsense.
        for scope in text.split_ascii_whitespace().take(Self::MAX) {
            let Some((kind, rest)) = scope.split_once(':') else { continue };
            // A name may have colons of its own: a host's port.
            let Some((name, actions)) = rest.rsplit_once(':') else { continue };
            let resource = Resource { kind: kind.to_owned(), name: name.to_owned() };
            let own = scopes.0.entry(resource).or_default();
            for action in actions.split(',').filter(|action| is_action(action)) {
                if own.len() < Self::MAX_ACTIONS {
                    own.insert(action.to_owned());
                }
            }
        }
        scopes
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for (resource, actions) in others.0 {
            self.0.entry(resource).or_default().extend(actions);
        }
        self
    }

    /// Whether there is nothing in them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Whether all of `needed` is in these; the action `*` is every action on its resource.
    #[must_use]
    pub fn cover(&self, needed: &Self) -> bool {
        needed.0.iter().all(|(resource, actions)| {
            let own = self.0.get(resource);
            let has = |action: &str| own.is_some_and(|own| own.contains(action));
            actions.iter().all(|action| has(action) || has("*"))
        })
    }

    /// Those among them that an operation can need: the actions of [`Scopes::of`] and `*`, on repositories and on the
    /// catalog.
    #[must_use]
    pub fn known(mut self) -> Self {
        self.0.retain(|resource, actions| {
            let known: &[&str] = match (resource.kind.as_str(), resource.name.as_str()) {
                ("registry", "catalog") => &["*"],
                ("repository", name) if name.parse::<Repository>().is_ok() => {
                    &["pull", "push", "delete", "*"]
                }
                _ => &[],
            };
            actions.retain(|action| known.contains(&action.as_str()));
            !actions.is_empty()
        });
        self
    }

    /// These, and what `challenge` asks for the very same resources beyond that, as long as it's for reading. A
    /// challenge never makes us ask for another repository.
    #[cfg(feature = "client")]
    pub(crate) fn widened(&self, challenge: &Self) -> Self {
        let mut widened = self.clone();
        for (resource, actions) in &mut widened.0 {
            let demanded = challenge.0.get(resource).into_iter().flatten();
            actions.extend(demanded.filter(|action| !WRITING.contains(&action.as_str())).cloned());
        }
        widened
    }

    /// Each scope as it stands in a request for a token.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{}:{}:{}", resource.kind, resource.name, actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

fn is_action(text: &str) -> bool {
    text == "*" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{
        DeleteManifest, GetManifest, ListRepositories, ListTags, Mount, Ping, PutManifest, StartUpload,
    };
    use crate::spec::digest::Digest;
    use crate::spec::media_type::MediaType;

    #[test]
    fn an_operation_has_a_scope() {
        let name = || "a/b".parse::<Repository>().unwrap();
        let get = GetManifest::new(name(), "v1".parse().unwrap());
        let put = PutManifest::new(name(), "v1".parse().unwrap(), MediaType::OCI_MANIFEST, "".into());
        let delete = DeleteManifest::new(name(), "v1".parse().unwrap());
        let mount = |from: Option<&str>| {
            let mut start = StartUpload::new(name());
            start.mount = Some(Mount::new(Digest::sha256(b""), from.map(|from| from.parse().unwrap())));
            start
        };
        for (operation, scopes) in [
            (Operation::from(get), "repository:a/b:pull"),
            (ListTags::new(name()).into(), "repository:a/b:pull"),
            (put.into(), "repository:a/b:pull,push"),
            (StartUpload::new(name()).into(), "repository:a/b:pull,push"),
            (mount(None).into(), "repository:a/b:pull,push"),
            (mount(Some("c/d")).into(), "repository:a/b:pull,push repository:c/d:pull"),
            (mount(Some("a/b")).into(), "repository:a/b:pull,push"),
            (delete.into(), "repository:a/b:delete"),
            (ListRepositories::new().into(), "registry:catalog:*"),
            (Ping::new().into(), ""),
        ] {
            assert_eq!(Scopes::of(&operation).to_string(), scopes, "{operation:?}");
        }
    }

    #[test]
    fn equal_sets_are_equal_however_they_are_written() {
        let one = Scopes::parse("repository:a/b:push,pull repository:c:pull");
        assert_eq!(one, Scopes::parse(" repository:c:pull  repository:a/b:pull repository:a/b:push,,pull"));
        assert_eq!(one.to_string(), "repository:a/b:pull,push repository:c:pull");
        let port = "repository:host:5000/a:pull";
        assert_eq!(Scopes::parse(port).to_string(), port);
        for odd in ["*", "", "repository", "repository:a", "::"] {
            assert!(!Scopes::parse(odd).to_string().contains("pull"), "{odd}");
            assert!(Scopes::parse(odd).is_empty(), "{odd}");
        }
        let many: Vec<String> = (0..40).map(|n| format!("repository:r{n}:pull")).collect();
        assert_eq!(Scopes::parse(&many.join(" ")).iter().count(), Scopes::MAX);
        let many: Vec<String> = (0..10).map(|n| format!("repository:a:x{n},y{n}")).collect();
        let read = Scopes::parse(&many.join(" "));
        assert_eq!(read.to_string().split(',').count(), Scopes::MAX_ACTIONS);
        assert_eq!(Scopes::parse(&read.to_string()), read);
    }

    #[test]
    fn scopes_cover_the_same_resource_and_action_and_no_other() {
        for (own, needed, covered) in [
            ("repository:a/b:pull", "repository:a/b:pull", true),
            ("repository:a/b:pull", "repository:a/b:pull,push", false),
            ("repository:a/b:push", "repository:a/b:pull", false),
            ("repository:a/b:*", "repository:a/b:delete,pull,push", true),
            ("repository:a:pull,push", "repository:a/b:pull", false),
            ("repository:a/b/c:*", "repository:a/b:pull", false),
            ("repository:a/b:pull", "repository:a/b:pull repository:c:pull", false),
            ("repository:a/b:pull repository:c:*", "repository:a/b:pull repository:c:pull", true),
            ("registry:catalog:*", "repository:catalog:pull", false),
            ("repository:catalog:*", "registry:catalog:*", false),
            ("registry:catalog:pull", "registry:catalog:*", false),
            ("repository:A/b:pull", "repository:a/b:pull", false),
            ("repository:*:*", "repository:a/b:pull", false),
            ("", "repository:a/b:pull", false),
            ("", "", true),
            ("repository:a/b:pull", "", true),
        ] {
            assert_eq!(Scopes::parse(own).cover(&Scopes::parse(needed)), covered, "{own} for {needed}");
        }
    }

    #[test]
    fn what_no_operation_needs_is_left_out() {
        let asked = "repository:a/b:pull,admin,* repository:A:pull repository:a/../b:pull repository:*:* \
                     repository(plugin):a:pull registry:catalog:*,pull registry:other:* repository:c:admin";
        assert_eq!(Scopes::parse(asked).known().to_string(), "registry:catalog:* repository:a/b:*,pull");
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_challenge_widens_neither_to_other_repositories_nor_to_writing() {
        let asked = Scopes::parse("repository:a/b:pull");
        for (challenge, wanted) in [
            ("repository:a/b:pull", "repository:a/b:pull"),
            ("repository:a/b:metadata_read,pull", "repository:a/b:metadata_read,pull"),
            ("repository:a/b:pull,push,delete,*", "repository:a/b:pull"),
            ("repository:secret/c:pull repository:a/b:pull", "repository:a/b:pull"),
            ("registry:catalog:*", "repository:a/b:pull"),
            ("*", "repository:a/b:pull"),
        ] {
            assert_eq!(asked.widened(&Scopes::parse(challenge)).to_string(), wanted, "{challenge}");
        }
        assert_eq!(Scopes::default().widened(&Scopes::parse("repository:a:pull")), Scopes::default());
    }
}
