use http::{Method, header, request};

/// What a request is about, as its path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// `/v2/<name>/manifests/<reference>`
    Manifest,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/blobs/uploads/…`
    Upload,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
    /// `/v2/_catalog`
    Catalog,
    /// Anything else: a token endpoint, say.
    Other,
}

impl Kind {
    /// The kind of a request with this path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v2") else { return Self::Other };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [""] | ["", ""] => Self::Ping,
            ["", "_catalog"] => Self::Catalog,
            ["", _, .., "tags", "list"] => Self::Tags,
            ["", _, .., "blobs", "uploads", _] | ["", _, .., "blobs", "uploads"] => Self::Upload,
            ["", _, .., "manifests", _] => Self::Manifest,
            ["", _, .., "blobs", _] => Self::Blob,
            ["", _, .., "referrers", _] => Self::Referrers,
            _ => Self::Other,
        }
    }
}

/// Which requests something applies to. All that is said must hold.
///
/// ```
/// use tower_oci::testing::{Kind, When};
///
/// // The second `HEAD` of a manifest in `library/busybox`.
/// let when = When::kind(Kind::Manifest).method(http::Method::HEAD).path("library/busybox").nth(2);
/// # let _ = when;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct When {
    kind: Option<Kind>,
    method: Option<Method>,
    path: Option<String>,
    ranged: Option<bool>,
    authorized: Option<bool>,
    skip: usize,
    times: usize,
    every: usize,
    seen: usize,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self {
            kind: None,
            method: None,
            path: None,
            ranged: None,
            authorized: None,
            skip: 0,
            times: usize::MAX,
            every: 1,
            seen: 0,
        }
    }

    /// Requests of this kind.
    pub fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// Only with this method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only where the path contains this.
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// Only with a `Range` header, or only without one.
    pub fn ranged(mut self, ranged: bool) -> Self {
        self.ranged = Some(ranged);
        self
    }

    /// Only with an `Authorization` header, or only without one.
    pub fn authorized(mut self, authorized: bool) -> Self {
        self.authorized = Some(authorized);
        self
    }

    /// Only after so many requests for which all else holds.
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Only so many times.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Only each `n`th of the requests that are left: the `n`th, the `2n`th.
    pub fn every(mut self, n: usize) -> Self {
        self.every = n.max(1);
        self
    }

    /// Only the `n`th request for which all else holds, counted from 1.
    pub fn nth(self, n: usize) -> Self {
        self.skip(n.saturating_sub(1)).times(1)
    }

    /// Whether it applies to this request, which is counted if it does.
    pub(super) fn applies(&mut self, parts: &request::Parts) -> bool {
        let has = |name| parts.headers.contains_key(name);
        let holds = self.kind.is_none_or(|kind| kind == Kind::of(parts.uri.path()))
            && self.method.as_ref().is_none_or(|method| *method == parts.method)
            && self.path.as_ref().is_none_or(|path| parts.uri.path().contains(path.as_str()))
            && self.ranged.is_none_or(|ranged| ranged == has(header::RANGE))
            && self.authorized.is_none_or(|authorized| authorized == has(header::AUTHORIZATION));
        if !holds {
            return false;
        }
        let index = self.seen;
        self.seen += 1;
        let Some(left) = index.checked_sub(self.skip) else { return false };
        (left + 1).is_multiple_of(self.every) && left / self.every < self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_from_the_right() {
        for (path, kind) in [
            ("/v2", Kind::Ping),
            ("/v2/", Kind::Ping),
            ("/v2/a/manifests/manifests/v1", Kind::Manifest),
            ("/v2/blobs/blobs/sha256:00", Kind::Blob),
            ("/v2/a/b/blobs/uploads/", Kind::Upload),
            ("/v2/a/b/blobs/uploads/id", Kind::Upload),
            ("/v2/a/tags/list", Kind::Tags),
            ("/v2/a/referrers/sha256:00", Kind::Referrers),
            ("/v2/_catalog", Kind::Catalog),
            ("/v2/manifests/v1", Kind::Other),
            ("/v2x", Kind::Other),
            ("/token", Kind::Other),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn requests_are_counted_only_when_all_else_holds() {
        let parts = |method: Method, path: &str| {
            http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0
        };
        let mut when = When::kind(Kind::Blob).method(Method::GET).path("/a/").nth(2);
        let blob = parts(Method::GET, "/v2/a/blobs/x");
        assert!(!when.applies(&blob));
        assert!(!when.applies(&parts(Method::HEAD, "/v2/a/blobs/x")));
        assert!(!when.applies(&parts(Method::GET, "/v2/b/blobs/x")));
        assert!(when.applies(&blob));
        assert!(!when.applies(&blob));
    }

    #[test]
    fn some_of_many_are_counted_after_those_that_are_skipped() {
        let parts = http::Request::get("/v2/").body(()).unwrap().into_parts().0;
        let applying = |mut when: When| (1..=12).filter(|_| when.applies(&parts)).collect::<Vec<_>>();
        assert_eq!(applying(When::any().every(3)), [3, 6, 9, 12]);
        assert_eq!(applying(When::any().skip(4).every(3).times(2)), [7, 10]);
        assert_eq!(applying(When::any().skip(10)), [11, 12]);
        assert_eq!(applying(When::any().nth(5)), [5]);
        assert_eq!(applying(When::any().every(0).times(1)), [1]);
    }
}
