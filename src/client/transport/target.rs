use std::fmt;

use http::Uri;

use crate::error::Error;

/// Where a request goes, without its path and query: what may stand in messages, since paths and queries of signed
/// URLs are secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) https: bool,
    /// A DNS name in lower case, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => {
                return Err(Error::denied(format!("`{other}` URLs are not followed, only http and https")));
            }
            None => return Err(Error::internal("the request has no absolute URI")),
        };
        let Some(authority) = uri.authority() else {
            return Err(Error::internal("the request's URI names no host"));
        };
        if authority.as_str().contains('@') {
            return Err(Error::denied(format!("the URL for `{}` carries credentials", authority.host())));
        }
        let host = bare_host(authority.host()).to_ascii_lowercase();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.port().is_some() || authority.as_str().ends_with(':') => {
                return Err(Error::denied(format!("the URL for `{host}` has no valid port")));
            }
            None if https => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return Err(Error::denied("the URL names no host and port"));
        }
        Ok(Self { https, host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_host_port(f, &self.host, self.port)
    }
}

/// `host` without the brackets of an IPv6 address.
pub(super) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

pub(super) fn fmt_host_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_the_port_of_their_scheme() {
        for (uri, expected) in [
            ("https://Registry.Example/v2/?sig=secret", "registry.example:443"),
            ("http://registry.example/", "registry.example:80"),
            ("http://registry.example:5000/", "registry.example:5000"),
            ("https://[2001:DB8::1]/", "[2001:db8::1]:443"),
            ("https://[::1]:5000/", "[::1]:5000"),
        ] {
            assert_eq!(Target::of(&uri.parse().unwrap()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_target_is_refused_without_its_secrets() {
        for (uri, message) in [
            ("ftp://x/", "`ftp` URLs are not followed, only http and https"),
            ("/v2/", "the request has no absolute URI"),
            ("https://user:hunter2@x.example/", "the URL for `x.example` carries credentials"),
            ("https://x.example:0/", "the URL names no host and port"),
            ("https://x.example:/", "the URL for `x.example` has no valid port"),
        ] {
            assert_eq!(Target::of(&uri.parse().unwrap()).unwrap_err().message(), message);
        }
    }
}
