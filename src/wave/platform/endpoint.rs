use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::error::Error;

/// The URL of a platform's API: scheme, authority and path, in one form, without a final slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint(Arc<str>);

impl Endpoint {
    /// What is meant where none is named.
    pub(super) const DEFAULT: &str = "https://api.cloud.seqera.io";

    /// The name that it had before.
    const FORMER: &str = "https://api.tower.nf";

    /// Reads a URL. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("it is too long");
        }
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        let (scheme, usual) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err("it starts with neither `https://` nor `http://`"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it carries credentials");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("it has a query or a fragment");
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.port_u16() {
            None if authority.as_str().len() != host.len() => return Err("its port is no number"),
            Some(port) if port != usual => format!(":{port}"),
            _ => String::new(),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        let url = format!("{scheme}://{host}{port}{}", uri.path().trim_end_matches('/'));
        Ok(Self(if url == Self::FORMER { Self::DEFAULT.into() } else { url.into() }))
    }

    /// Whether it is reached by TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// The URL of one of its calls; `path` starts with a slash.
    pub(super) fn call(&self, path: &str) -> Result<Uri, Error> {
        format!("{}{path}", self.0)
            .parse()
            .map_err(|_| Error::internal(format!("{self} has no call that could be made")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// As messages have it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the platform `{}`", self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// More than any that is of use, in bytes.
const MAX_LENGTH: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_form() {
        for (text, form) in [
            ("https://Platform.Example", "https://platform.example"),
            ("HTTPS://platform.example:443/", "https://platform.example"),
            ("https://platform.example/api/", "https://platform.example/api"),
            ("https://platform.example/API", "https://platform.example/API"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80/api", "http://[::1]/api"),
            ("https://api.tower.nf/", "https://api.cloud.seqera.io"),
            ("https://api.cloud.seqera.io", "https://api.cloud.seqera.io"),
            ("https://api.tower.nf.example", "https://api.tower.nf.example"),
            ("http://api.tower.nf", "http://api.tower.nf"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().as_str(), form, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_told_why() {
        for (text, reason) in [
            ("", "it is no URL"),
            ("platform.example", "it starts with neither `https://` nor `http://`"),
            ("ftp://platform.example", "it starts with neither `https://` nor `http://`"),
            ("https://user:pw@platform.example", "it carries credentials"),
            ("https://platform.example/?a", "it has a query or a fragment"),
            ("https://platform.example/#a", "it has a query or a fragment"),
            ("https://platform.example:/", "its port is no number"),
            (&format!("https://platform.example/{}", "a".repeat(1024)), "it is too long"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err(), reason, "{text}");
        }
    }
}
