//! Which of the credentials that a platform keeps is for a repository.

use serde::Deserialize;

use crate::client::credentials::Scope;
use crate::spec::name::{DOCKER_HUB, Host, Repository};

/// The credentials of one workspace, as far as they can open a registry; without their secrets.
#[derive(Debug, Default)]
pub(super) struct Listing {
    registries: Vec<(Scope, String)>,
    aws: Option<String>,
}

impl Listing {
    /// Reads the platform's answer. A credential whose registry can be none is for nothing.
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let mut listing = Self::default();
        for Entry { id, provider, keys } in answer.credentials {
            match provider.as_deref() {
                Some("container-reg") => {
                    let registry = keys.and_then(|keys| keys.registry);
                    if let Some(scope) = scope(registry.as_deref().unwrap_or_default()) {
                        listing.registries.push((scope, id));
                    }
                }
                Some("aws") => {
                    listing.aws.get_or_insert(id);
                }
                _ => {}
            }
        }
        Some(listing)
    }

    /// The id of the credential with the longest repository path that fits, the first of several.
    pub(super) fn find(&self, registry: &Host, repository: Option<&Repository>) -> Option<&str> {
        let fits =
            self.registries.iter().filter_map(|(scope, id)| Some((scope.fit(registry, repository)?, id)));
        // Of equals `max_by_key` takes the last.
        fits.rev().max_by_key(|(fit, _)| *fit).map(|(_, id)| id.as_str())
    }

    /// The id of the first of the workspace's AWS keys.
    pub(super) fn aws(&self) -> Option<&str> {
        self.aws.as_deref()
    }
}

/// What `registry` is written for: a host, or a host and a path. Nothing means Docker Hub.
fn scope(registry: &str) -> Option<Scope> {
    let registry = registry.trim();
    let url = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let (host, path) = match url.unwrap_or(registry).split_once('/') {
        Some((host, path)) => (host, path.trim_matches('/')),
        None => (url.unwrap_or(registry), ""),
    };
    let host: Host = if host.is_empty() { DOCKER_HUB } else { host }.to_ascii_lowercase().parse().ok()?;
    // What docker's own files have behind a host.
    let prefix = if matches!(path, "" | "v1" | "v2") { None } else { Some(path.parse().ok()?) };
    Some(Scope::new(host.as_str(), prefix))
}

#[derive(Deserialize)]
struct Answer {
    credentials: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    provider: Option<String>,
    keys: Option<Known>,
}

#[derive(Deserialize)]
struct Known {
    registry: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(registries: &[Option<&str>]) -> Listing {
        let entries: Vec<_> = registries
            .iter()
            .enumerate()
            .map(|(id, registry)| {
                serde_json::json!({
                    "id": id.to_string(), "provider": "container-reg", "keys": { "registry": registry }, "more": 1
                })
            })
            .collect();
        let answer = serde_json::json!({ "credentials": entries }).to_string();
        Listing::read(answer.as_bytes()).unwrap()
    }

    #[test]
    fn the_longest_path_counts_and_the_first_of_equals() {
        let listing = listing(&[
            Some("quay.io"),
            Some("quay.io/team"),
            Some("quay.io/team/app"),
            Some("https://quay.io/team/"),
            Some("quay.io"),
            None,
            Some(""),
            Some("index.docker.io/v1/"),
            Some("docker.io/library/busybox"),
            Some("Host.Example:5000"),
            Some("not a host/at all"),
            Some("quay.io/TEAM"),
        ]);
        for (registry, repository, expected) in [
            ("quay.io", None, Some("0")),
            ("quay.io", Some("other"), Some("0")),
            ("quay.io", Some("team"), Some("1")),
            ("quay.io", Some("team/x"), Some("1")),
            ("quay.io", Some("team/app"), Some("2")),
            ("quay.io", Some("team/app/x"), Some("2")),
            ("quay.io", Some("team/apple"), Some("1")),
            ("quay.io", Some("teams"), Some("0")),
            ("docker.io", Some("library/alpine"), Some("5")),
            ("docker.io", Some("library/busybox"), Some("8")),
            ("host.example:5000", Some("a"), Some("9")),
            ("host.example", Some("a"), None),
            ("evil-quay.io", Some("team"), None),
            ("quay.io.evil.example", Some("team"), None),
        ] {
            let repository = repository.map(|name| name.parse().unwrap());
            let found = listing.find(&registry.parse().unwrap(), repository.as_ref());
            assert_eq!(found, expected, "{registry} {repository:?}");
        }
    }

    #[test]
    fn other_providers_open_no_registry_and_nonsense_is_none() {
        let answer = br#"{"credentials":[{"id":"a","provider":"github","keys":{"registry":"quay.io"}},
            {"id":"b","provider":"aws","keys":null},{"id":"c","provider":"aws"},{"id":"d"}]}"#;
        let listing = Listing::read(answer).unwrap();
        assert_eq!(listing.find(&"quay.io".parse().unwrap(), None), None);
        assert_eq!(listing.aws(), Some("b"));
        for nonsense in ["", "[]", "{}", "<html>", r#"{"credentials":[{"provider":"aws"}]}"#] {
            assert!(Listing::read(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
    }
}
