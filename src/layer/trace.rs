//! Names for requests that may stand in a log.
//!
//! A Wave token in a path is a credential, and so is the signature in the query of a signed URL. tower-http's
//! `TraceLayer` writes whole URIs; give it a span of your own with a [`RedactedUri`]:
//!
//! ```
//! use tower_http::trace::TraceLayer;
//! use tower_oci::layer::trace::RedactedUri;
//!
//! let trace = TraceLayer::new_for_http().make_span_with(|request: &http::Request<axum::body::Body>| {
//!     tracing::info_span!("request", method = %request.method(), uri = %RedactedUri::new(request.uri()))
//! });
//! let uri: http::Uri = "/v2/wt/c0ffee/library/busybox/tags/list?n=5&sig=abc".parse()?;
//! assert_eq!(RedactedUri::new(&uri).to_string(), "/v2/wt/_/library/busybox/tags/list?n=5&sig=_");
//! # Ok::<_, http::uri::InvalidUri>(())
//! ```

use std::fmt;

use http::Uri;

use crate::spec::name::without_tokens;

/// Shows a URI without what may be a credential: the path component after `wt` or `container-token`, user
/// information, and the values of parameters that the distribution specification doesn't know.
#[derive(Clone, Copy)]
pub struct RedactedUri<'a>(&'a Uri);

impl<'a> RedactedUri<'a> {
    /// The URI as it may be shown.
    #[must_use]
    pub fn new(uri: &'a Uri) -> Self {
        Self(uri)
    }
}

impl fmt::Display for RedactedUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(f, "{scheme}://")?;
        }
        f.write_str(self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        // Any `wt` may stand in front of a token, since names can be mounted below other prefixes.
        f.write_str(&without_tokens(self.0.path()))?;
        for (index, parameter) in self.0.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, value)) if KNOWN.contains(&name) => write!(f, "{name}={value}")?,
                Some((name, _)) => write!(f, "{name}=_")?,
                None => f.write_str("_")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedactedUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parameters of the distribution specification, none of which is a secret. `last` isn't among them: a marker is
/// whatever an upstream made of it, and `from` may name a repository under a token.
const KNOWN: [&str; 7] = ["n", "ns", "digest", "mount", "tag", "artifactType", "digest-algorithm"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_signatures_are_not_shown() {
        for (uri, shown) in [
            ("/v2/", "/v2/"),
            ("/v2/wt/secret/a/manifests/latest", "/v2/wt/_/a/manifests/latest"),
            ("/v2/wt/wt/wt/x", "/v2/wt/_/_/_"),
            ("/container-token/secret", "/container-token/_"),
            ("/container-token/", "/container-token/"),
            ("/v2/wt//secret/a", "/v2/wt//_/a"),
            ("/v2/wt%2Fsecret%2fa/manifests/x", "/v2/wt/_/a/manifests/x"),
            ("/v2/%77t/secret/a%0aINFO", "/v2/wt/_/a\u{fffd}INFO"),
            ("/v2/a%2fb/manifests/x", "/v2/a%2fb/manifests/x"),
            ("https://user:secret@host:1/a?X-Sig=secret&n=1&secret", "https://host:1/a?X-Sig=_&n=1&_"),
            ("/v2/a/blobs/uploads/?mount=d&from=wt/secret/a", "/v2/a/blobs/uploads/?mount=d&from=_"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(RedactedUri::new(&uri).to_string(), shown);
        }
    }
}
