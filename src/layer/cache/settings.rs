use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::rt::Clock;
use crate::spec::name::{Tag, shortened};
use crate::store::Records;

/// As long as tags may be.
const MAX_PATTERN: usize = 128;

/// What a [`CacheLayer`](super::CacheLayer) is told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Arc<str>,
    pub(super) max_size: Option<u64>,
    pub(super) max_blob: Option<u64>,
    pub(super) free_space: u64,
    pub(super) fresh: Vec<(TagPattern, Duration)>,
    pub(super) fresh_by_default: Duration,
    pub(super) stale: Duration,
    pub(super) revalidation_timeout: Duration,
    pub(super) negative: Duration,
    pub(super) lists: Duration,
    pub(super) visible: Duration,
    pub(super) documents: usize,
    pub(super) abandoned: Abandoned,
    pub(super) detached: usize,
    pub(super) detached_bytes: u64,
    pub(super) read_timeout: Duration,
    pub(super) records: Option<Arc<dyn Records>>,
    pub(super) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "tower-oci".into(),
            max_size: None,
            max_blob: None,
            free_space: 0,
            fresh: Vec::new(),
            fresh_by_default: Duration::from_secs(60),
            stale: Duration::from_secs(7 * 24 * 3600),
            revalidation_timeout: Duration::from_secs(2),
            negative: Duration::from_secs(10),
            lists: Duration::ZERO,
            visible: Duration::from_secs(300),
            documents: 64 * 1024 * 1024,
            abandoned: Abandoned::GoesOn,
            detached: 16,
            detached_bytes: 16 * 1024 * 1024 * 1024,
            // Longer than upstreams wait for bytes (60 s) and then for the headers of the rest.
            read_timeout: Duration::from_secs(90),
            records: None,
            clock: Clock::system(),
        }
    }
}

impl Settings {
    /// How long a tag is fresh: by the first pattern that fits.
    pub(super) fn fresh(&self, tag: &Tag) -> Duration {
        let fits = self.fresh.iter().find(|(pattern, _)| pattern.matches(tag));
        fits.map_or(self.fresh_by_default, |(_, fresh)| *fresh)
    }
}

/// What becomes of a transfer whose last reader has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// It goes on to its end, within the cap on such transfers.
    #[default]
    GoesOn,
    /// It ends, and what has come of it is thrown away.
    IsDropped,
}

/// Tags of one form: text in which each `*` stands for any characters, or none.
///
/// ```
/// use tower_oci::layer::cache::TagPattern;
///
/// let releases: TagPattern = "v*.*".parse()?;
/// assert!(releases.matches(&"v1.2".parse()?));
/// assert!(!releases.matches(&"latest".parse()?));
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPattern(String);

impl TagPattern {
    /// Whether `tag` has this form.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = tag.as_str().strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(mut last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        // What is left of the name may be shorter than the end that it should have.
        last = last.trim_matches('*');
        rest.ends_with(last)
    }
}

impl FromStr for TagPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
        if text.is_empty() || text.len() > MAX_PATTERN || !text.bytes().all(is_fine) {
            let message = format!("`{}` is no pattern of tags", shortened(text));
            return Err(Error::invalid(ErrorCode::NameInvalid, message));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_matched_from_end_to_end() {
        let matches =
            |pattern: &str, tag: &str| pattern.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap());
        for (pattern, tag) in [
            ("latest", "latest"),
            ("*", "x"),
            ("v*", "v"),
            ("v*", "v1"),
            ("*-rc", "1-rc"),
            ("v*.*", "v1.2"),
            ("a*b*c", "abc"),
            ("a*b*c", "a1b2b3c"),
            ("**", "x"),
            ("a**c", "abc"),
        ] {
            assert!(matches(pattern, tag), "{pattern} {tag}");
        }
        for (pattern, tag) in [
            ("latest", "latest1"),
            ("latest", "late"),
            ("v*", "1v"),
            ("*-rc", "1-rc2"),
            ("ab*ba", "aba"),
            ("a*b*c", "acb"),
            ("v*.*", "v12"),
        ] {
            assert!(!matches(pattern, tag), "{pattern} {tag}");
        }
        for bad in ["", "a b", "é", "a/b"] {
            assert!(bad.parse::<TagPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_says_how_long() {
        let mut settings = Settings::default();
        let hour = Duration::from_secs(3600);
        settings.fresh.push(("v*".parse().unwrap(), hour));
        settings.fresh.push(("*".parse().unwrap(), hour / 2));
        assert_eq!(settings.fresh(&"v1".parse().unwrap()), hour);
        assert_eq!(settings.fresh(&"latest".parse().unwrap()), hour / 2);
    }
}
