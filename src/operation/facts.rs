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

/// The program that calls, by its own word: the header `User-Agent` of the client's request. It comes from outside, so
/// that nothing may be allowed or refused because of it; what a program is known to cope with may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UserAgent(pub HeaderValue);

impl UserAgent {
    /// The header's value.
    #[must_use]
    pub fn new(value: HeaderValue) -> Self {
        Self(value)
    }

    /// Whether `name` is part of it, in whatever case: `containerd` of `containerd/1.7.0`.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let agent = self.0.as_bytes();
        !name.is_empty() && agent.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
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

/// In a request: whoever asks hashes the content of blobs itself, so that it need not be hashed on its way there as well.
///
/// What is answered then isn't marked [`Verified`], and must not be handed on before it has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithoutVerification;

impl WithoutVerification {
    /// The mark.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Default for WithoutVerification {
    fn default() -> Self {
        Self::new()
    }
}

/// In a response: what a cache did with the request
/// ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)), told in the header `Cache-Status`.
///
/// ```
/// use tower_oci::operation::{CacheStatus, Forward};
///
/// let mut status = CacheStatus::hit("cache.example");
/// status.ttl = Some(-30);
/// assert_eq!(status.to_string(), "cache.example; hit; ttl=-30");
///
/// let mut status = CacheStatus::forwarded("cache.example", Forward::Miss);
/// status.stored = true;
/// status.collapsed = true;
/// assert_eq!(status.to_string(), "cache.example; fwd=miss; stored; collapsed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatus {
    /// The cache's name: a token of RFC 9110, section 5.6.2.
    pub cache: Arc<str>,
    /// Why the request was passed on; none when the cache answered by itself.
    pub forward: Option<Forward>,
    /// For how many seconds the answer is fresh; below zero when it is stale.
    pub ttl: Option<i64>,
    /// Whether the answer is kept.
    pub stored: bool,
    /// Whether the request was passed on together with others of its kind.
    pub collapsed: bool,
}

/// Why a cache passed a request on: the parameter `fwd` of a [`CacheStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forward {
    /// The cache doesn't handle such requests.
    Bypass,
    /// Such an operation always has to be passed on.
    Method,
    /// The cache knows nothing that answers this.
    Miss,
    /// It did, but it may have changed since, or the caller may not be allowed to see it any more.
    Stale,
    /// Only a part of it is there.
    Partial,
}

impl CacheStatus {
    /// The cache named `cache` answered by itself.
    pub fn hit(cache: impl Into<Arc<str>>) -> Self {
        Self { cache: cache.into(), forward: None, ttl: None, stored: false, collapsed: false }
    }

    /// The cache named `cache` passed the request on.
    pub fn forwarded(cache: impl Into<Arc<str>>, why: Forward) -> Self {
        Self { forward: Some(why), ..Self::hit(cache) }
    }
}

impl Forward {
    /// The word of RFC 9211.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cache)?;
        match self.forward {
            None => f.write_str("; hit")?,
            Some(why) => write!(f, "; fwd={}", why.as_str())?,
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        Ok(())
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
