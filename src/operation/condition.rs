use std::sync::Arc;

use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;

/// What a caller already has, as conditional requests say it
/// ([RFC 9110, section 13](https://www.rfc-editor.org/rfc/rfc9110#section-13)).
///
/// The entity tag of a manifest or blob is its digest in quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conditions {
    /// `If-None-Match`: answer `NotModified` when the content is one of these.
    pub if_none_match: Option<EntityTags>,
    /// `If-Range`: apply a range only when the content is this.
    pub if_range: Option<EntityTags>,
}

impl Conditions {
    /// Whether the caller already has the content `digest`.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.matches(digest))
    }

    /// Whether a range may be applied to the content `digest`.
    #[must_use]
    pub fn allow_range(&self, digest: &Digest) -> bool {
        self.if_range.as_ref().is_none_or(|tags| tags.matches(digest))
    }
}

/// The entity tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntityTags {
    /// `*`: whatever there is.
    Any,
    /// Those of these that are digests; other tags, which never match, are left out.
    Digests(Vec<Digest>),
}

impl EntityTags {
    /// Reads the value of `If-None-Match`, or of `If-Range` where it isn't a date.
    ///
    /// ```
    /// use tower_oci::operation::EntityTags;
    /// use tower_oci::spec::digest::Digest;
    ///
    /// let digest = Digest::sha256(b"");
    /// let tags = EntityTags::parse(&format!("W/\"{digest}\", \"other\""));
    /// assert_eq!(tags, EntityTags::Digests(vec![digest]));
    /// assert!(tags.matches(&digest));
    /// ```
    #[must_use]
    pub fn parse(value: &str) -> Self {
        if value.trim() == "*" {
            return Self::Any;
        }
        let digests = value.split(',').filter_map(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok()
        });
        // One request has no use for more; a longer list is cut, which at worst sends content again.
        Self::Digests(digests.take(32).collect())
    }

    /// Whether one of them is `digest`.
    #[must_use]
    pub fn matches(&self, digest: &Digest) -> bool {
        match self {
            Self::Any => true,
            Self::Digests(digests) => digests.contains(digest),
        }
    }
}

/// The `Accept` of a caller, read only when somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept(Option<Arc<str>>);

impl Accept {
    /// The header's value, several lines joined by commas.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(Some(value.into()))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether the caller says that it understands `media_type`; one that says nothing understands all.
    #[must_use]
    pub fn allows(&self, media_type: &MediaType) -> bool {
        let Some(value) = &self.0 else { return true };
        let (kind, _) = media_type.as_str().split_once('/').unwrap_or_default();
        value.split(',').any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let named = name.eq_ignore_ascii_case(media_type.as_str())
                || name == "*/*"
                || name.strip_suffix("/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind));
            named && !refused
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_with_wildcards() {
        let accept = Accept::new("application/vnd.oci.image.index.v1+json, text/*;q=0.5, image/png;q=0");
        assert!(accept.allows(&MediaType::OCI_INDEX));
        assert!(accept.allows(&"text/html".parse().unwrap()));
        assert!(!accept.allows(&"image/png".parse().unwrap()));
        assert!(!accept.allows(&MediaType::OCI_MANIFEST));
        assert!(Accept::default().allows(&MediaType::OCI_MANIFEST));
        assert!(Accept::new("a/b, */*").allows(&MediaType::OCI_MANIFEST));
    }

    #[test]
    fn conditions_compare_digests() {
        let digest = Digest::sha256(b"x");
        let mut conditions = Conditions::default();
        assert!(!conditions.has(&digest));
        assert!(conditions.allow_range(&digest));
        conditions.if_none_match = Some(EntityTags::parse("*"));
        conditions.if_range = Some(EntityTags::parse("\"abc\""));
        assert!(conditions.has(&digest));
        assert!(!conditions.allow_range(&digest));
    }
}
