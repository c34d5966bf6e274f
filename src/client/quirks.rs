use crate::spec::name::{DOCKER_HUB, Host};

/// How a registry strays from the specification, or reads it in its own way.
///
/// Those of well-known registries are set by [`Quirks::of`]. What isn't set is found out where that costs little: a
/// refused `HEAD` is followed by a `GET`, and remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirks {
    /// `HEAD` of a blob is refused: the size is asked for by a `GET` of the first byte.
    pub refuses_head_of_blobs: bool,
    /// `HEAD` of a manifest is refused, or answered without what a client needs: it is done by a `GET`.
    pub refuses_head_of_manifests: bool,
    /// `HEAD` of a *tag* has no `Docker-Content-Digest`: it is done by a `GET`.
    pub no_digest_for_tags: bool,
    /// An expired token is answered with 403, where others say 401.
    pub expired_token_is_403: bool,
    /// `n` and `last` of lists are ignored: pages are cut here.
    pub ignores_paging: bool,
}

impl Quirks {
    /// What is known of the registry `host`: Docker Hub, Amazon's ECR and Public ECR, Google's registries, GitHub's,
    /// Quay and GitLab. Names are compared whole, or from the right on label boundaries.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        Known::of(host).quirks
    }
}

/// What is built in about a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Where it is spoken to, if not at its name.
    pub(super) endpoint: Option<&'static str>,
    /// The host of its token service, if it isn't its own.
    pub(super) token_host: Option<&'static str>,
    pub(super) quirks: Quirks,
}

impl Known {
    pub(super) fn of(host: &Host) -> Self {
        let none = Quirks::default();
        let elsewhere = |endpoint, token_host, quirks| Self { endpoint, token_host, quirks };
        // A port makes it another server, of which nothing is known.
        let labels: Vec<&str> = host.as_str().split('.').collect();
        match host.as_str() {
            DOCKER_HUB | "index.docker.io" | "registry-1.docker.io" => {
                return elsewhere(Some("registry-1.docker.io"), Some("auth.docker.io"), none);
            }
            "registry.gitlab.com" => return elsewhere(None, Some("gitlab.com"), none),
            "public.ecr.aws" => {
                return elsewhere(None, None, Quirks { refuses_head_of_blobs: true, ..none });
            }
            // GitHub's and Quay's keep to the specification, and give tokens at their own origin.
            "ghcr.io" | "quay.io" => return Self::default(),
            _ => {}
        }
        let quirks = if is_ecr(&labels) {
            Quirks { no_digest_for_tags: true, expired_token_is_403: true, ..none }
        } else if is_google(&labels) {
            Quirks { ignores_paging: true, ..none }
        } else {
            none
        };
        elsewhere(None, None, quirks)
    }
}

/// `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]`
fn is_ecr(labels: &[&str]) -> bool {
    let labels = labels.strip_suffix(&["cn"]).unwrap_or(labels);
    match labels {
        [account, "dkr", "ecr" | "ecr-fips", _region, "amazonaws", "com"] => {
            account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

/// `gcr.io`, `<region>.gcr.io` and `<region>-docker.pkg.dev`
fn is_google(labels: &[&str]) -> bool {
    match labels {
        ["gcr", "io"] | [_, "gcr", "io"] => true,
        [region, "pkg", "dev"] => region.ends_with("-docker"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(host: &str) -> Known {
        Known::of(&host.parse().unwrap())
    }

    #[test]
    fn well_known_registries_are_known() {
        let hub = known("docker.io");
        assert_eq!((hub.endpoint, hub.token_host), (Some("registry-1.docker.io"), Some("auth.docker.io")));
        assert_eq!(known("registry.gitlab.com").token_host, Some("gitlab.com"));
        assert!(known("public.ecr.aws").quirks.refuses_head_of_blobs);
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        ] {
            let quirks = known(host).quirks;
            assert!(quirks.no_digest_for_tags && quirks.expired_token_is_403, "{host}");
        }
        for host in ["gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev"] {
            assert!(known(host).quirks.ignores_paging, "{host}");
        }
        assert_eq!(known("ghcr.io"), Known::default());
    }

    #[test]
    fn look_alikes_are_not_known() {
        for host in [
            "docker.io.evil.example",
            "evil-docker.io",
            "notgcr.io",
            "gcr.io.evil.example",
            "docker.io:5000",
            "registry.gitlab.com.evil.example",
            "xregistry.gitlab.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.evilamazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "x-docker.pkg.dev.evil.example",
            "docker.pkg.dev",
        ] {
            assert_eq!(known(host), Known::default(), "{host}");
        }
    }
}
