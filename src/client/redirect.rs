use http::{HeaderMap, StatusCode, Uri, header};

use super::origin::WebOrigin;
use crate::error::Error;
use crate::http::uri::resolve;

/// What happens when an upstream says that a blob is elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirects {
    /// It is fetched from there, and verified.
    #[default]
    Follow,
    /// The client is sent there (`307`), if it's another origin than the upstream's own: it saves bandwidth, but
    /// nothing of what the client then gets is verified here. A request with the extension
    /// [`WithoutRedirect`](crate::operation::WithoutRedirect) follows it all the same.
    HandOn,
}

/// How many redirects of one request are followed.
pub(super) const MAX_HOPS: u32 = 5;

/// The headers that another origin than the upstream's own gets.
pub(super) const HEADERS_ELSEWHERE: [http::HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    header::USER_AGENT,
];

/// The way of one request through redirects.
#[derive(Debug)]
pub(super) struct Chain {
    uri: Uri,
    origin: WebOrigin,
    hops: u32,
    left: bool,
}

impl Chain {
    /// Begins at an absolute URI.
    pub(super) fn new(uri: Uri, origin: WebOrigin) -> Self {
        Self { uri, origin, hops: 0, left: false }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The origin that is asked now.
    pub(super) fn origin(&self) -> &WebOrigin {
        &self.origin
    }

    /// Whether the chain never left the origin where it began. Once it has, it gets no credentials any more, not even
    /// where it comes back: whoever it went to has chosen the URI.
    pub(super) fn is_at_home(&self) -> bool {
        !self.left
    }

    /// Where a response leads, if it is a redirect.
    ///
    /// # Errors
    ///
    /// When it leads nowhere, from https to http, or has led too far.
    pub(super) fn target(&self, status: StatusCode, headers: &HeaderMap) -> Result<Option<Target>, Error> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        // The target isn't shown: a signed URL is a credential.
        let wrong = |what: &str| Error::bad_gateway(format!("{} redirects {what}", self.origin));
        let location = headers.get(header::LOCATION).ok_or_else(|| wrong("without saying where to"))?;
        let location = location.to_str().map_err(|_| wrong("to what is no URL"))?;
        let uri = resolve(&self.uri, location).map_err(|_| wrong("to what is no URL"))?;
        let origin = WebOrigin::of(&uri).ok_or_else(|| wrong("to what is no URL of http or https"))?;
        if self.origin.is_https() && !origin.is_https() {
            return Err(wrong(&format!("from https to {origin}")));
        }
        if self.hops >= MAX_HOPS {
            return Err(wrong(&format!("once more after {MAX_HOPS} redirects")));
        }
        Ok(Some(Target { uri, origin }))
    }

    /// Goes there.
    pub(super) fn go(&mut self, target: Target) {
        self.left |= target.origin != self.origin;
        self.hops += 1;
        self.uri = target.uri;
        self.origin = target.origin;
    }
}

/// Where a redirect leads.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) origin: WebOrigin,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(uri: &str) -> Chain {
        let uri: Uri = uri.parse().unwrap();
        let origin = WebOrigin::of(&uri).unwrap();
        Chain::new(uri, origin)
    }

    fn target(chain: &Chain, location: &str) -> Result<Target, String> {
        let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        let target = chain.target(StatusCode::TEMPORARY_REDIRECT, &headers);
        target.map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn a_chain_that_has_left_never_comes_home() {
        let mut chain = chain("https://registry.example/v2/a/blobs/x");
        for (location, uri, at_home) in [
            ("/v2/b/blobs/x?a=1", "https://registry.example/v2/b/blobs/x?a=1", true),
            ("//registry.example:443/c", "https://registry.example:443/c", true),
            ("https://registry.example:444/c", "https://registry.example:444/c", false),
            (
                "https://registry.example/d?X-Sig=%2f%2B+~'",
                "https://registry.example/d?X-Sig=%2f%2B+~'",
                false,
            ),
            ("e", "https://registry.example/e", false),
        ] {
            let target = target(&chain, location).unwrap();
            chain.go(target);
            assert_eq!((chain.uri().to_string().as_str(), chain.is_at_home()), (uri, at_home));
        }
        assert_eq!(
            target(&chain, "/f").unwrap_err(),
            "registry.example redirects once more after 5 redirects"
        );
    }

    #[test]
    fn a_chain_leads_only_where_it_may() {
        let chain = chain("https://registry.example/v2/");
        for (location, said) in [
            ("http://cdn.example/x", "from https to http://cdn.example"),
            ("http://registry.example/x", "from https to http://registry.example"),
            ("https://user:pw@cdn.example/x", "to what is no URL"),
            ("file:///etc/passwd", "to what is no URL"),
        ] {
            let error = target(&chain, location).unwrap_err();
            assert!(error.starts_with(&format!("registry.example redirects {said}")), "{location}: {error}");
        }
        let nowhere = chain.target(StatusCode::FOUND, &HeaderMap::new()).unwrap_err();
        assert_eq!(nowhere.to_string(), "registry.example redirects without saying where to");
        for status in [StatusCode::OK, StatusCode::NOT_MODIFIED, StatusCode::MULTIPLE_CHOICES] {
            assert!(chain.target(status, &HeaderMap::new()).unwrap().is_none());
        }
    }

    #[test]
    fn plain_http_may_lead_to_https() {
        let chain = chain("http://registry.example/v2/");
        assert_eq!(target(&chain, "https://cdn.example/x").unwrap().origin.to_string(), "cdn.example");
    }
}
