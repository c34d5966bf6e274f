//! Byte ranges ([RFC 9110, section 14](https://www.rfc-editor.org/rfc/rfc9110#section-14)) and the
//! `Content-Range` of chunks
//! ([distribution-spec, Pushing a blob in chunks](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks)).

use std::fmt;
use std::str::FromStr;

/// One range as a client asks for it, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RangeSpec {
    /// `first-`: from there to the end.
    From(u64),
    /// `first-last`, both inclusive, `first <= last`.
    Span(u64, u64),
    /// `-length`: so many bytes at the end.
    Suffix(u64),
}

impl RangeSpec {
    /// The bytes that it means in a content of `size` bytes; `None` when there are none.
    ///
    /// ```
    /// use tower_oci::spec::range::RangeSpec;
    ///
    /// let range = RangeSpec::Suffix(3).resolve(10).unwrap();
    /// assert_eq!((range.first(), range.last()), (7, 9));
    /// assert_eq!(RangeSpec::From(10).resolve(10), None);
    /// ```
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<ByteRange> {
        let end = size.checked_sub(1)?;
        match self {
            Self::From(first) if first <= end => Some(ByteRange { first, last: end }),
            Self::Span(first, last) if first <= end => Some(ByteRange { first, last: last.min(end) }),
            Self::Suffix(length) if length > 0 => {
                Some(ByteRange { first: size.saturating_sub(length), last: end })
            }
            _ => None,
        }
    }
}

impl fmt::Display for RangeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(first) => write!(f, "{first}-"),
            Self::Span(first, last) => write!(f, "{first}-{last}"),
            Self::Suffix(length) => write!(f, "-{length}"),
        }
    }
}

/// The ranges of a `Range` header, one to [`Ranges::MAX`].
///
/// ```
/// use tower_oci::spec::range::{RangeSpec, Ranges};
///
/// let ranges: Ranges = "bytes=0-99, -5".parse()?;
/// assert_eq!(ranges.as_slice(), [RangeSpec::Span(0, 99), RangeSpec::Suffix(5)]);
/// assert_eq!(ranges.to_string(), "bytes=0-99,-5");
/// # Ok::<_, tower_oci::spec::range::InvalidRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ranges(Vec<RangeSpec>);

impl Ranges {
    /// The most ranges in one request. A header with more is ignored, as RFC 9110 allows for abuse.
    pub const MAX: usize = 16;

    /// One range.
    #[must_use]
    pub fn one(range: RangeSpec) -> Self {
        Self(vec![range])
    }

    /// The ranges, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[RangeSpec] {
        &self.0
    }

    /// The range, if there is but one.
    #[must_use]
    pub fn single(&self) -> Option<RangeSpec> {
        match self.0.as_slice() {
            [range] => Some(*range),
            _ => None,
        }
    }

    /// The same without suffixes of no bytes, which mean nothing in any content; none when no other are there.
    #[must_use]
    pub fn without_empty(self) -> Option<Self> {
        let ranges: Vec<_> = self.0.into_iter().filter(|range| *range != RangeSpec::Suffix(0)).collect();
        (!ranges.is_empty()).then_some(Self(ranges))
    }

    /// What the ranges mean in a content of `size` bytes. Of an empty content a suffix is all there is, which no
    /// `Content-Range` can say.
    #[must_use]
    pub fn resolve(&self, size: u64) -> Satisfied {
        let is_suffix = |range: &RangeSpec| matches!(range, RangeSpec::Suffix(length) if *length > 0);
        if size == 0 && self.0.iter().any(is_suffix) {
            return Satisfied::Whole;
        }
        let ranges: Vec<_> = self.0.iter().filter_map(|range| range.resolve(size)).collect();
        match ranges.as_slice() {
            [] => Satisfied::None,
            [range] => Satisfied::One(*range),
            // Overlapping or repeated ranges that add up to more than the whole are answered with the whole.
            _ if ranges.iter().map(|range| u128::from(range.length())).sum::<u128>() > u128::from(size) => {
                Satisfied::Whole
            }
            _ => Satisfied::Several(ranges),
        }
    }
}

/// What is to be sent for a [`Ranges`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Satisfied {
    /// No range lies within: 416.
    None,
    /// One part: 206 with `Content-Range`.
    One(ByteRange),
    /// Several parts: 206 with `multipart/byteranges`.
    Several(Vec<ByteRange>),
    /// The whole content is the better answer: 200.
    Whole,
}

impl FromStr for Ranges {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (unit, set) = text.split_once('=').ok_or(InvalidRange)?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Err(InvalidRange);
        }
        let mut ranges = Vec::new();
        for item in set.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if ranges.len() == Self::MAX {
                return Err(InvalidRange);
            }
            let (first, last) = item.split_once('-').ok_or(InvalidRange)?;
            ranges.push(match (first, last) {
                ("", length) => RangeSpec::Suffix(position(length)?),
                (first, "") => RangeSpec::From(position(first)?),
                (first, last) => {
                    let (first, last) = (position(first)?, position(last)?);
                    if first > last {
                        return Err(InvalidRange);
                    }
                    RangeSpec::Span(first, last)
                }
            });
        }
        if ranges.is_empty() { Err(InvalidRange) } else { Ok(Self(ranges)) }
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { "bytes=" } else { "," })?;
        }
        Ok(())
    }
}

/// A range of bytes that exist: both ends inclusive, at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// From `first` to `last`, both inclusive; `None` when `last` is before `first` or the length overflows.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last && last < u64::MAX).then_some(Self { first, last })
    }

    /// The position of the first byte.
    #[must_use]
    pub fn first(self) -> u64 {
        self.first
    }

    /// The position of the last byte.
    #[must_use]
    pub fn last(self) -> u64 {
        self.last
    }

    /// How many bytes: at least one.
    #[must_use]
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// The part of `content` that it means; `None` when it doesn't reach so far.
    #[must_use]
    pub fn slice(self, content: &bytes::Bytes) -> Option<bytes::Bytes> {
        let first = usize::try_from(self.first).ok()?;
        let end = usize::try_from(self.last).ok()?.checked_add(1)?;
        (end <= content.len()).then(|| content.slice(first..end))
    }
}

/// As the `Content-Range` and `Range` headers of uploads have it: `first-last`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for ByteRange {
    type Err = InvalidRange;

    /// Reads `first-last`, and also `bytes first-last/…` as some clients send for chunks.
    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let text = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).unwrap_or(text);
        let text = text.split('/').next().unwrap_or_default();
        let (first, last) = text.split_once('-').ok_or(InvalidRange)?;
        Self::new(number(first)?, number(last)?).ok_or(InvalidRange)
    }
}

/// The value of `Content-Range` on a 206 or a 416.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentRange {
    /// `bytes first-last/size`, or `/*` when the size isn't known.
    Part(ByteRange, Option<u64>),
    /// `bytes */size`.
    Unsatisfied(u64),
}

impl FromStr for ContentRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (unit, rest) = text.trim().split_once(' ').ok_or(InvalidRange)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(InvalidRange);
        }
        let (range, size) = rest.trim().split_once('/').ok_or(InvalidRange)?;
        if range == "*" {
            return Ok(Self::Unsatisfied(number(size)?));
        }
        let (first, last) = range.split_once('-').ok_or(InvalidRange)?;
        let range = ByteRange::new(number(first)?, number(last)?).ok_or(InvalidRange)?;
        let size = if size == "*" { None } else { Some(number(size)?) };
        match size {
            Some(size) if range.last >= size => Err(InvalidRange),
            _ => Ok(Self::Part(range, size)),
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(range, Some(size)) => write!(f, "bytes {range}/{size}"),
            Self::Part(range, None) => write!(f, "bytes {range}/*"),
            Self::Unsatisfied(size) => write!(f, "bytes */{size}"),
        }
    }
}

/// A text that is no range. A `Range` header that can't be read is ignored, as RFC 9110 demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid byte range")]
#[non_exhaustive]
pub struct InvalidRange;

fn number(text: &str) -> Result<u64, InvalidRange> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidRange);
    }
    text.parse().map_err(|_| InvalidRange)
}

/// A position in what a client asks for: one that no content reaches is as good as any other beyond its end.
fn position(text: &str) -> Result<u64, InvalidRange> {
    match number(text) {
        Err(InvalidRange) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Ok(u64::MAX),
        position => position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        for (text, written) in [
            ("bytes=0-0", "bytes=0-0"),
            ("Bytes=500-", "bytes=500-"),
            ("bytes= -500 ,0-1", "bytes=-500,0-1"),
            ("bytes=0-0,,1-1", "bytes=0-0,1-1"),
            ("bytes=5-99999999999999999999", "bytes=5-18446744073709551615"),
            ("bytes=99999999999999999999-", "bytes=18446744073709551615-"),
        ] {
            let ranges: Ranges = text.parse().unwrap();
            assert_eq!(ranges.to_string(), written);
            assert_eq!(written.parse(), Ok(ranges));
        }
        for bad in ["", "bytes", "bytes=", "items=0-1", "bytes=a-", "bytes=-", "bytes=2-1", "bytes=+1-2"] {
            assert!(bad.parse::<Ranges>().is_err(), "{bad}");
        }
        let many = format!("bytes={}", vec!["0-0"; Ranges::MAX + 1].join(","));
        assert!(many.parse::<Ranges>().is_err());
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        let resolve = |text: &str, size| text.parse::<Ranges>().unwrap().resolve(size);
        let range = |first, last| ByteRange::new(first, last).unwrap();
        assert_eq!(resolve("bytes=5-", 10), Satisfied::One(range(5, 9)));
        assert_eq!(resolve("bytes=5-100", 10), Satisfied::One(range(5, 9)));
        assert_eq!(resolve("bytes=5-99999999999999999999", 10), Satisfied::One(range(5, 9)));
        assert_eq!(resolve("bytes=-99999999999999999999", 10), Satisfied::One(range(0, 9)));
        assert_eq!(resolve("bytes=99999999999999999999-", 10), Satisfied::None);
        assert_eq!(resolve("bytes=-100", 10), Satisfied::One(range(0, 9)));
        assert_eq!(resolve("bytes=-0", 10), Satisfied::None);
        assert_eq!(resolve("bytes=10-", 10), Satisfied::None);
        assert_eq!(resolve("bytes=0-", 0), Satisfied::None);
        assert_eq!(resolve("bytes=-0", 0), Satisfied::None);
        assert_eq!(resolve("bytes=-5", 0), Satisfied::Whole);
        assert_eq!(resolve("bytes=5-,-5", 0), Satisfied::Whole);
        assert_eq!(resolve("bytes=0-1,4-5", 10), Satisfied::Several(vec![range(0, 1), range(4, 5)]));
        assert_eq!(resolve("bytes=0-1,20-", 10), Satisfied::One(range(0, 1)));
        assert_eq!(resolve("bytes=0-,0-,0-", 10), Satisfied::Whole);
    }

    #[test]
    fn suffixes_of_no_bytes_are_left_out() {
        let without = |text: &str| text.parse::<Ranges>().unwrap().without_empty();
        assert_eq!(without("bytes=-0, 0-1,-00,-1").unwrap().to_string(), "bytes=0-1,-1");
        assert_eq!(without("bytes=-0"), None);
    }

    #[test]
    fn content_ranges_are_exact() {
        for text in ["bytes 0-4/10", "bytes 0-4/*", "bytes */10"] {
            assert_eq!(text.parse::<ContentRange>().unwrap().to_string(), text);
        }
        for bad in ["", "bytes 0-10/10", "bytes 5-4/10", "bytes */*", "bytes 0-4", "0-4/10", "items 0-4/10"] {
            assert!(bad.parse::<ContentRange>().is_err(), "{bad}");
        }
        assert_eq!("0-9".parse::<ByteRange>().unwrap().length(), 10);
        assert_eq!("bytes 0-9/*".parse::<ByteRange>().unwrap().to_string(), "0-9");
    }
}
