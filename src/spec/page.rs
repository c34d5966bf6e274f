//! Paging: `n`, `last`, and the `Link` header
//! ([distribution-spec, Listing tags](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags);
//! [RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Page {
    /// How many entries at most; all that the registry gives at once when absent.
    pub n: Option<u64>,
    /// The entry after which the page starts, exclusively. A marker, opaque to us: some registries page by other
    /// words than tags.
    pub last: Option<String>,
}

impl Page {
    /// The most entries that one page is asked for or answered with: 10,000. A larger `n` is clamped.
    pub const MAX: u64 = 10_000;

    /// The longest marker, in bytes.
    pub const MAX_MARKER: usize = 1024;

    /// The page of up to `n` entries after `last`.
    #[must_use]
    pub fn new(n: Option<u64>, last: Option<String>) -> Self {
        Self { n: n.map(|n| n.min(Self::MAX)), last }
    }

    /// The part of `entries`, sorted, that this page means, and the marker of the next page if there is more.
    pub fn cut<'a, T: AsRef<str>>(&self, entries: &'a [T]) -> (&'a [T], Option<&'a T>) {
        let start = match &self.last {
            Some(last) => entries.partition_point(|entry| entry.as_ref() <= last.as_str()),
            None => 0,
        };
        let rest = entries.get(start..).unwrap_or_default();
        let n = usize::try_from(self.n.unwrap_or(Self::MAX).min(Self::MAX)).unwrap_or(usize::MAX);
        match rest.split_at_checked(n) {
            // With `n=0` there is no last entry, and no `Link` may be sent.
            Some((page, more)) if !more.is_empty() => (page, page.last()),
            _ => (rest, None),
        }
    }
}

/// The target of the link with `rel="next"` in the value of a `Link` header.
///
/// ```
/// use tower_oci::spec::page::next_link;
///
/// let value = r#"</v2/a/tags/list?n=2&last=b>; rel="next""#;
/// assert_eq!(next_link(value), Some("/v2/a/tags/list?n=2&last=b"));
/// assert_eq!(next_link("</x>; rel=prev"), None);
/// ```
#[must_use]
pub fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let start = rest.find('<')?;
        let (target, after) = rest.get(start + 1..)?.split_once('>')?;
        let (parameters, following) = split_parameters(after);
        if is_next(parameters) {
            return Some(target);
        }
        rest = following;
    }
}

/// What stands up to the comma that ends this link, and what follows; a comma in quotes ends nothing.
fn split_parameters(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                return (text.get(..index).unwrap_or_default(), text.get(index + 1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (text, "")
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && value.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_after_the_marker() {
        let tags = ["a", "b", "c", "d"];
        let page = |n, last: Option<&str>| Page::new(n, last.map(str::to_owned));
        assert_eq!(page(None, None).cut(&tags), (&tags[..], None));
        assert_eq!(page(Some(2), None).cut(&tags), (&tags[..2], Some(&"b")));
        assert_eq!(page(Some(2), Some("b")).cut(&tags), (&tags[2..], None));
        assert_eq!(page(Some(1), Some("aa")).cut(&tags), (&tags[1..2], Some(&"b")));
        assert_eq!(page(Some(0), None).cut(&tags), (&tags[..0], None));
        assert_eq!(page(Some(9), Some("z")).cut(&tags), (&tags[4..], None));
        assert_eq!(page(Some(u64::MAX), None).n, Some(Page::MAX));
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        assert_eq!(next_link(r#"</p>; rel="prev", </n>; title="a, b"; rel=next"#), Some("/n"));
        assert_eq!(next_link("<https://h/x?y>;REL=\"next last\""), Some("https://h/x?y"));
        for none in ["", "<", "</x>", "rel=next", "</x>; rev=next", "</x", "<x>; rel=\"prev\", <y"] {
            assert_eq!(next_link(none), None, "{none}");
        }
    }
}
