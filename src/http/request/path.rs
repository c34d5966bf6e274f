/// An endpoint of the API, with the parts of its path as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Ping,
    Catalog,
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Uploads { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Tags { name: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

impl<'a> Route<'a> {
    /// Reads a raw path. Names may contain `manifests`, `blobs` and `tags`, so it is read from the right.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let rest = match path.strip_prefix("/v2")? {
            "" | "/" => return Some(Self::Ping),
            rest => rest.strip_prefix('/')?,
        };
        if rest == "_catalog" {
            return Some(Self::Catalog);
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags { name });
        }
        // Some clients leave the last slash out.
        if let Some(name) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Some(Self::Uploads { name });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Self::Manifest { name, reference: last }),
            "blobs" => Some(Self::Blob { name, digest: last }),
            "referrers" => Some(Self::Referrers { name, digest: last }),
            "uploads" => Some(Self::Upload { name: name.strip_suffix("/blobs")?, id: last }),
            _ => None,
        }
    }

    /// The methods of the endpoint, as `Allow` has them.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Ping | Self::Catalog | Self::Tags { .. } | Self::Referrers { .. } => "GET, HEAD",
            Self::Manifest { .. } => "GET, HEAD, PUT, DELETE",
            Self::Blob { .. } => "GET, HEAD, DELETE",
            Self::Uploads { .. } => "POST",
            Self::Upload { .. } => "GET, PATCH, PUT, DELETE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_the_right() {
        let manifest = |name, reference| Some(Route::Manifest { name, reference });
        for (path, expected) in [
            ("/v2", Some(Route::Ping)),
            ("/v2/", Some(Route::Ping)),
            ("/v2/_catalog", Some(Route::Catalog)),
            ("/v2/a/manifests/b", manifest("a", "b")),
            ("/v2/manifests/manifests/manifests", manifest("manifests", "manifests")),
            ("/v2/a/blobs/uploads/manifests/x", manifest("a/blobs/uploads", "x")),
            ("/v2/a/manifests/tags/list", Some(Route::Tags { name: "a/manifests" })),
            ("/v2/tags/list/tags/list", Some(Route::Tags { name: "tags/list" })),
            ("/v2/a/manifests/list", manifest("a", "list")),
            ("/v2/a/blobs/blobs/x", Some(Route::Blob { name: "a/blobs", digest: "x" })),
            ("/v2/a/blobs/uploads/", Some(Route::Uploads { name: "a" })),
            ("/v2/a/blobs/uploads", Some(Route::Uploads { name: "a" })),
            ("/v2/a/blobs/uploads/manifests", Some(Route::Upload { name: "a", id: "manifests" })),
            ("/v2/blobs/uploads/blobs/uploads/x", Some(Route::Upload { name: "blobs/uploads", id: "x" })),
            ("/v2/a/uploads/x", None),
            ("/v2/a/referrers/x", Some(Route::Referrers { name: "a", digest: "x" })),
            ("/v2//manifests/x", manifest("", "x")),
            ("/v2/manifests/x", None),
            ("/v2/a/manifests/", manifest("a", "")),
            ("/v2/a", None),
            ("/v2//", None),
            ("/v20/", None),
            ("/v2x", None),
            ("/v1/", None),
            ("//v2/", None),
            ("/", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
