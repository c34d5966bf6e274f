//! Names: registry hosts, repositories, tags, references, and image names as people write them
//! ([distribution-spec, Pulling manifests](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;
use crate::error::{Error, ErrorCode};

/// The host of Docker Hub as names mean it; it is spoken to elsewhere.
pub const DOCKER_HUB: &str = "docker.io";

/// A text that is no valid name, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{text}`: {reason}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    reason: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, reason: &'static str) -> Self {
        Self { what, text: shortened(&without_tokens(text)), reason }
    }
}

impl From<InvalidName> for Error {
    /// `NAME_INVALID`, or `MANIFEST_INVALID` for tags and references, for which the specification has no code.
    fn from(error: InvalidName) -> Self {
        let code = match error.what {
            "tag" | "reference" => ErrorCode::ManifestInvalid,
            _ => ErrorCode::NameInvalid,
        };
        Self::invalid(code, error.to_string())
    }
}

/// `text` as it may stand in an error message: control characters escaped, cut after 128 characters.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(128).flat_map(char::escape_debug).collect();
    if text.chars().nth(128).is_some() {
        short.push('…');
    }
    short
}

/// A path or a name as it may be shown in errors and logs, whether it is valid or not: without what follows a component
/// `wt` or `container-token`, which is a credential. Escapes don't hide it.
pub(crate) fn without_tokens(path: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let (mut masked, mut found, mut before) = (String::new(), false, "");
    for (index, component) in decoded.split('/').enumerate() {
        if index > 0 {
            masked.push('/');
        }
        if component.is_empty() {
            continue;
        }
        if matches!(before, "wt" | "container-token") {
            masked.push('_');
            found = true;
        } else {
            // What was escaped may be meant to begin a new line in a log.
            masked.extend(
                component.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }),
            );
        }
        before = component;
    }
    if found { masked.into() } else { path.into() }
}

/// `name` as `Debug` shows it. In `wt/<token>/<repository>` the token is a credential, and requests are traced.
fn redacted(name: &str) -> Cow<'_, str> {
    let Some(rest) = name.strip_prefix("wt/") else { return name.into() };
    match rest.split_once('/') {
        Some((_, repository)) => format!("wt/_/{repository}").into(),
        None => "wt/_".into(),
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), redacted(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type! {
    /// A registry's host as it stands in front of an image name: a DNS name, an IPv4 address or a bracketed IPv6
    /// address in lower case, with or without a port. At most 255 characters.
    ///
    /// A host is what an upstream is known by; which address is spoken to is the upstream's setting.
    Host, check_host
}

text_type! {
    /// The name of a repository, without the registry's host, by the specification's grammar
    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, at most 255 characters.
    ///
    /// `Debug` leaves the second component out when the first is `wt`: there it is a Wave token. `Display` shows all.
    ///
    /// ```
    /// use tower_oci::spec::name::Repository;
    ///
    /// assert!("library/busybox".parse::<Repository>().is_ok());
    /// assert!("../etc".parse::<Repository>().is_err());
    /// ```
    Repository, check_repository
}

text_type! {
    /// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    Tag, check_tag
}

impl Host {
    /// Docker Hub.
    #[must_use]
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// The host without its port, and without the brackets of an IPv6 address.
    #[must_use]
    pub fn hostname(&self) -> &str {
        let (hostname, _) = split_port(&self.0);
        hostname.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(hostname)
    }

    /// The port, where one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1?.parse().ok()
    }

    /// Whether the first component of an image name means a host: it contains `.` or `:` or is `localhost`.
    #[must_use]
    pub fn is_meant_by(component: &str) -> bool {
        component == "localhost" || component.contains(['.', ':'])
    }
}

impl Repository {
    /// The longest name.
    pub const MAX_LEN: usize = 255;

    /// Checks that `text` can be one component of a name, and gives it back.
    ///
    /// # Errors
    ///
    /// When it can't.
    pub fn component(text: &str) -> Result<&str, InvalidName> {
        if text.len() <= Self::MAX_LEN && is_component(text) {
            return Ok(text);
        }
        Err(InvalidName::new(
            "name component",
            text,
            "it is not made of lower-case letters and digits, separated by `.`, `_`, `__` or dashes",
        ))
    }

    /// The components between the slashes.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// This name with `prefix` and a slash in front.
    ///
    /// # Errors
    ///
    /// When the result is too long.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, InvalidName> {
        format!("{prefix}/{self}").parse()
    }

    /// What stands behind `prefix` and a slash.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let rest = self.0.strip_prefix(prefix)?.strip_prefix('/')?;
        Some(Self(rest.into()))
    }

    /// Whether `prefix` is this name or ends at one of its slashes.
    #[must_use]
    pub fn is_under(&self, prefix: &str) -> bool {
        self.0.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Tag {
    /// The tag that is meant when none is written: `latest`.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reference {
    /// A name that may mean something else tomorrow.
    Tag(Tag),
    /// One manifest for ever.
    Digest(Digest),
}

impl Reference {
    /// The digest, if it is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }

    /// The tag, if it is one.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl FromStr for Reference {
    type Err = InvalidName;

    /// What has a colon must be a digest, since no tag has one.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.contains(':') {
            let digest =
                text.parse().map_err(|_| InvalidName::new("reference", text, "it is no valid digest"))?;
            return Ok(Self::Digest(digest));
        }
        text.parse().map(Self::Tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image as people name it: `[registry/]repository[:tag][@digest]`, with Docker's defaults filled in.
///
/// | written | registry | repository | reference |
/// |---|---|---|---|
/// | `busybox` | docker.io | library/busybox | latest |
/// | `quay.io/a/b:v1` | quay.io | a/b | v1 |
///
/// ```
/// use tower_oci::spec::name::ImageName;
///
/// let name: ImageName = "host:5000/fedora/httpd:version1.0".parse()?;
/// assert_eq!(name.registry().as_str(), "host:5000");
/// assert_eq!(name.repository().as_str(), "fedora/httpd");
/// assert_eq!(name.reference().to_string(), "version1.0");
/// # Ok::<_, tower_oci::spec::name::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    registry: Host,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl ImageName {
    /// An image by its parts; a tag beside a digest is kept, and the digest decides.
    #[must_use]
    pub fn new(registry: Host, repository: Repository, tag: Option<Tag>, digest: Option<Digest>) -> Self {
        Self { registry, repository, tag, digest }
    }

    /// The registry's host.
    #[must_use]
    pub fn registry(&self) -> &Host {
        &self.registry
    }

    /// The repository, `library/` included where Docker Hub has it.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if one was written.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was written.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image with the tag `latest` written out, where neither a tag nor a digest was.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }

    /// What the manifest is asked for by: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(*digest),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag::latest()),
        }
    }
}

impl FromStr for ImageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |reason| InvalidName::new("image name", text, reason);
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.contains("://") {
            return Err(invalid("it starts with a protocol"));
        }
        if text.contains(char::is_whitespace) {
            return Err(invalid("it contains white space"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| invalid("what follows the `@` is no valid digest"))?))
            }
            None => (text, None),
        };
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if Host::is_meant_by(first) => {
                let registry = first.parse().map_err(|_| invalid("its registry is no valid host"))?;
                (registry, path)
            }
            _ => (Host::docker_hub(), rest),
        };
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.parse().map_err(|_| invalid("its tag is invalid"))?)),
            None => (path, None),
        };
        // The names under which Docker Hub is known all mean one registry.
        let registry = match registry.as_str() {
            "index.docker.io" | "registry-1.docker.io" => Host::docker_hub(),
            _ => registry,
        };
        let repository = if registry.as_str() == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}").parse()
        } else {
            path.parse()
        };
        let repository = repository.map_err(|error: InvalidName| invalid(error.reason))?;
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), None) => write!(f, ":{tag}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => Ok(()),
        }
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn check_host(text: &str) -> Result<(), InvalidName> {
    let invalid = |reason| Err(InvalidName::new("registry host", text, reason));
    if text.is_empty() || text.len() > 255 {
        return invalid("it is empty or longer than 255 characters");
    }
    let (hostname, port) = split_port(text);
    if let Some(port) = port
        && !(port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0))
    {
        return invalid("its port is no number from 1 to 65535");
    }
    if let Some(inner) = hostname.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok());
        return if address.is_some() { Ok(()) } else { invalid("its brackets hold no IPv6 address") };
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if hostname.split('.').all(label) { Ok(()) } else { invalid("it is no lower-case DNS name or address") }
}

fn check_repository(text: &str) -> Result<(), InvalidName> {
    let invalid = |reason| Err(InvalidName::new("repository name", text, reason));
    if text.is_empty() {
        return invalid("it is empty");
    }
    if text.len() > Repository::MAX_LEN {
        return invalid("it is longer than 255 characters");
    }
    if text.split('/').all(is_component) {
        return Ok(());
    }
    invalid("its components are not lower-case letters and digits, separated by `.`, `_`, `__` or dashes")
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| alphanumeric(b)).count();
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        let separator = match rest {
            [] => return true,
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            [b'-', ..] => rest.iter().take_while(|b| **b == b'-').count(),
            _ => return false,
        };
        rest = rest.get(separator..).unwrap_or_default();
    }
}

fn check_tag(text: &str) -> Result<(), InvalidName> {
    let invalid = |reason| Err(InvalidName::new("tag", text, reason));
    if text.is_empty() || text.len() > 128 {
        return invalid("it is empty or longer than 128 characters");
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    if bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-') {
        return Ok(());
    }
    invalid(
        "it has characters other than letters, digits, `_`, `.` and `-`, or starts with one of the last two",
    )
}

#[cfg(test)]
#[path = "name/tests.rs"]
mod tests;
