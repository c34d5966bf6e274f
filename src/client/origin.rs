use std::fmt;

use http::Uri;

/// Scheme, host and port of a URI ([RFC 6454](https://www.rfc-editor.org/rfc/rfc6454)): what credentials belong to.
///
/// Two hosts that differ in a final dot or in a port that isn't the scheme's own are two origins: where there is a
/// doubt, nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WebOrigin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl WebOrigin {
    /// The origin of an absolute URI; none for other schemes, and for one with user information, which only serves to
    /// hide the host.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let (https, usual) = match uri.scheme_str()? {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().len() == host.len() => usual,
            None => return None,
        };
        Some(Self { https, host: host.to_ascii_lowercase().into(), port })
    }

    /// The host, in lower case, an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is reached by TLS.
    pub(super) fn is_https(&self) -> bool {
        self.https
    }
}

/// As people write it: the scheme only where it is plain http, the port only where it isn't the usual one.
impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.https {
            f.write_str("http://")?;
        }
        f.write_str(&self.host)?;
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Option<String> {
        WebOrigin::of(&uri.parse().unwrap()).map(|origin| origin.to_string())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (uri, shown) in [
            ("https://Example.com/a?b", "example.com"),
            ("https://example.com:443/", "example.com"),
            ("https://example.com:80/", "example.com:80"),
            ("http://example.com", "http://example.com"),
            ("http://[::1]:5000/", "http://[::1]:5000"),
            ("https://example.com./", "example.com."),
        ] {
            assert_eq!(origin(uri).as_deref(), Some(shown), "{uri}");
        }
        for none in
            ["/path", "ftp://example.com/", "https://user@example.com/", "https://user:pw@example.com/"]
        {
            assert_eq!(origin(none), None, "{none}");
        }
    }
}
