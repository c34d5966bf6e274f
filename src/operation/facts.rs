use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::spec::name::Host;

/// The `ns` parameter of a request: the registry that the *client* means
/// ([distribution-spec, Registry Proxying](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#registry-proxying)).
///
/// It comes from outside. As an extension of a response it says that the request was scoped by it: `OCI-Namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Namespace(pub Host);

impl Namespace {
    /// The registry's host.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self(host)
    }
}

/// The registry that a request is for, as a *layer of ours* decided: the wave layer out of a token, say. A router
/// believes it and looks no further.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Origin(pub Host);

impl Origin {
    /// The registry's host.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self(host)
    }
}

/// The upstream that a request goes to, as the router decided: the name that the leaf `Upstreams` knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(Host);

impl UpstreamId {
    /// The upstream for the registry `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self(host)
    }

    /// The registry's host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In a response: its content is hashed on its way already, so that the verify layer need not do it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified;

impl Verified {
    /// The mark.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self::new()
    }
}

/// In a request: whoever asks reads the content itself, so that a blob is to be fetched wherever it is; a redirect would
/// be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithoutRedirect;

impl WithoutRedirect {
    /// The mark.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Default for WithoutRedirect {
    fn default() -> Self {
        Self::new()
    }
}

/// In a response: texts for the person who pulls, told in `Warning` headers
/// ([distribution-spec, Warnings](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warnings(pub Arc<[String]>);

impl Warnings {
    /// The most bytes of warnings in one response.
    pub const MAX_BYTES: usize = 4096;

    /// Warnings with these texts.
    #[must_use]
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().collect())
    }
}

/// In a response: what an upstream said of its rate limit, in headers whose names start with `ratelimit-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit(pub Arc<[(HeaderName, HeaderValue)]>);

impl RateLimit {
    /// The headers as they came.
    #[must_use]
    pub fn new(headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        Self(headers.into_iter().collect())
    }
}
