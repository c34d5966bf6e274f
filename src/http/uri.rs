//! Resolving of references by [RFC 3986, section 5](https://www.rfc-editor.org/rfc/rfc3986#section-5).
//!
//! `http::Uri` takes `//host/x` for a path and refuses `?q` and `../x`, so it can't be asked.

use http::Uri;

use crate::error::Error;

/// The absolute URI that `reference` means in an answer from `base`.
///
/// The bytes of path and query stay as they are, so that a signature over them still holds; dot segments are
/// removed, a fragment is left out.
///
/// ```
/// use tower_oci::http::uri::resolve;
///
/// let base = "https://registry.example/v2/a/blobs/x?y=1".parse().unwrap();
/// assert_eq!(resolve(&base, "../c?sig=a%2Fb%20")?, "https://registry.example/v2/a/c?sig=a%2Fb%20");
/// assert_eq!(resolve(&base, "//cdn.example/c")?, "https://cdn.example/c");
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
///
/// # Errors
///
/// `BadGateway` when `base` isn't absolute, when the result is no URI with a host, or when it names a user. The
/// message doesn't repeat the reference: a signed URL is a secret.
pub fn resolve(base: &Uri, reference: &str) -> Result<Uri, Error> {
    let malformed = |reason| Error::bad_gateway(format!("a URL in an answer can't be used: {reason}"));
    let (Some(base_scheme), Some(base_authority)) = (base.scheme_str(), base.authority()) else {
        return Err(malformed("what it is relative to isn't absolute"));
    };
    let Parts { scheme, authority, path, query } = Parts::of(reference.trim());
    let (authority, path, query) = match (scheme, authority) {
        (Some(_), None) => return Err(malformed("it has no host")),
        (_, Some(authority)) => (authority, remove_dot_segments(path), query),
        (None, None) if path.is_empty() => {
            (base_authority.as_str(), base.path().to_owned(), query.or_else(|| base.query()))
        }
        (None, None) if path.starts_with('/') => (base_authority.as_str(), remove_dot_segments(path), query),
        (None, None) => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            let merged = format!("{folder}/{path}");
            (base_authority.as_str(), remove_dot_segments(&merged), query)
        }
    };
    if authority.is_empty() {
        return Err(malformed("it has no host"));
    }
    if authority.contains('@') {
        return Err(malformed("it names a user"));
    }
    let scheme = scheme.unwrap_or(base_scheme);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut text = format!("{scheme}://{authority}{slash}{path}");
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let uri = Uri::try_from(text).map_err(|_| malformed("it is malformed"))?;
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return Err(malformed("it has no host"));
    };
    // `http::Uri` doesn't look at what stands behind the colon.
    let port = authority.get(host.len()..).unwrap_or_default();
    if port.len() > 1 && uri.port_u16().is_none() { Err(malformed("its port is malformed")) } else { Ok(uri) }
}

/// The parts of a reference, by the expression of RFC 3986, appendix B.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(reference: &'a str) -> Self {
        let rest = reference.split('#').next().unwrap_or_default();
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
            _ => (None, rest),
        };
        let Some(after) = rest.strip_prefix("//") else {
            return Self { scheme, authority: None, path: rest, query };
        };
        let end = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at_checked(end).unwrap_or((after, ""));
        Self { scheme, authority: Some(authority), path, query }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// RFC 3986, 5.2.4, for a path that is absolute or empty.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986, 5.4: all that have a result which is an HTTP URI; fragments are left out.
    #[test]
    fn the_examples_of_rfc_3986_resolve_as_written_there() {
        let base = "http://a/b/c/d;p?q".parse().unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://cdn.example:8443/x?s=%2f%2F+", "https://cdn.example:8443/x?s=%2f%2F+"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap().to_string(), expected, "{reference}");
        }
    }

    #[test]
    fn what_names_no_host_or_a_user_is_refused_without_being_repeated() {
        let base = "https://a/b".parse().unwrap();
        for reference in
            ["g:h", "data:,x", "https:///secret", "//", "https://user:secret@a/", "/sec ret", "http://a:x/"]
        {
            let error = resolve(&base, reference).unwrap_err();
            assert_eq!(error.status(), 502, "{reference}");
            assert!(!error.to_string().contains("sec"), "{error}");
        }
        assert!(resolve(&"/relative".parse().unwrap(), "/x").is_err());
    }
}
