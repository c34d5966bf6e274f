use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::operation::{Access, Operation};
use crate::spec::name::Repository;

/// What a token is good for: the union of scopes, in one canonical form
/// ([token scopes](https://distribution.github.io/distribution/spec/auth/scope/)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::client) struct Scopes(BTreeMap<Resource, BTreeSet<String>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Resource {
    kind: String,
    name: String,
}

/// What reading never needs, whatever a challenge says.
const WRITING: [&str; 3] = ["push", "delete", "*"];

impl Scopes {
    /// What an operation needs: nothing for a ping; to mount a blob, also to pull from where it is.
    pub(in crate::client) fn of(operation: &Operation) -> Self {
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

    /// These and those.
    pub(in crate::client) fn and(mut self, others: Self) -> Self {
        for (resource, actions) in others.0 {
            self.0.entry(resource).or_default().extend(actions);
        }
        self
    }

    fn repository(repository: &Repository, actions: &[&str]) -> Self {
        Self::one("repository", repository.as_str(), actions)
    }

    fn one(kind: &str, name: &str, actions: &[&str]) -> Self {
        let resource = Resource { kind: kind.to_owned(), name: name.to_owned() };
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(resource, actions)]))
    }

    /// Reads the `scope` of a challenge; what can't be read, like `*`, is left out.
    pub(in crate::client) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        // More than a handful in a challenge is nonsense.
        for scope in text.split_ascii_whitespace().take(16) {
            let Some((kind, rest)) = scope.split_once(':') else { continue };
            // A name may have colons of its own: a host's port.
            let Some((name, actions)) = rest.rsplit_once(':') else { continue };
            let actions = actions.split(',').filter(|action| is_action(action)).take(16).map(str::to_owned);
            let resource = Resource { kind: kind.to_owned(), name: name.to_owned() };
            scopes.0.entry(resource).or_default().extend(actions);
        }
        scopes
    }

    /// These, and what `challenge` asks for the very same resources beyond that, as long as it's for reading. A
    /// challenge never makes us ask for another repository.
    pub(in crate::client) fn widened(&self, challenge: &Self) -> Self {
        let mut widened = self.clone();
        for (resource, actions) in &mut widened.0 {
            let demanded = challenge.0.get(resource).into_iter().flatten();
            actions.extend(demanded.filter(|action| !WRITING.contains(&action.as_str())).cloned());
        }
        widened
    }

    /// Each scope as it stands in a request for a token.
    pub(in crate::client) fn iter(&self) -> impl Iterator<Item = String> {
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
        DeleteManifest, GetManifest, ListRepositories, ListTags, Mount, Ping, StartUpload,
    };
    use crate::spec::digest::Digest;

    fn pull(name: &str) -> Scopes {
        Scopes::of(&ListTags::new(name.parse().unwrap()).into())
    }

    #[test]
    fn an_operation_has_a_scope() {
        let manifest = GetManifest::new("a/b".parse().unwrap(), "v1".parse().unwrap());
        assert_eq!(Scopes::of(&manifest.into()).to_string(), "repository:a/b:pull");
        assert_eq!(Scopes::of(&ListRepositories::new().into()).to_string(), "registry:catalog:*");
        assert_eq!(Scopes::of(&Ping::new().into()).to_string(), "");
        let delete = DeleteManifest::new("a/b".parse().unwrap(), "v1".parse().unwrap());
        assert_eq!(Scopes::of(&delete.into()).to_string(), "repository:a/b:delete");
        let mut start = StartUpload::new("a/b".parse().unwrap());
        start.mount = Some(Mount::new(Digest::sha256(b""), Some("c/d".parse().unwrap())));
        let scopes = Scopes::of(&start.into()).to_string();
        assert_eq!(scopes, "repository:a/b:pull,push repository:c/d:pull");
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
        }
    }

    #[test]
    fn a_challenge_widens_neither_to_other_repositories_nor_to_writing() {
        let asked = pull("a/b");
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
