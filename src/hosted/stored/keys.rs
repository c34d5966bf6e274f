use crate::error::Error;

/// What a record is about: the first byte of its key. The parts of the key follow, with a zero byte between them, which
/// no name, tag, digest or identity has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// `<repository> <blob>`: a blob that the repository shows.
    Link = b'b',
    /// `<repository> <manifest>`: the bytes of a manifest.
    Content = b'c',
    /// `<repository> <subject> <manifest>`: a referrer, as it is listed.
    Referrer = b'f',
    /// `<repository> <manifest> <tag>`: the tags, the other way round.
    Tagged = b'g',
    /// `<blob> <repository>`: the links, the other way round.
    Shown = b'l',
    /// `<repository> <manifest>`: what has to be known of a manifest.
    Manifest = b'm',
    /// `<id>`: an open upload.
    Upload = b'p',
    /// `<repository>`: a repository with anything in it.
    Repository = b'r',
    /// `<repository> <tag>`: the digest that it names.
    Tag = b't',
    /// `<repository> <blob> <manifest>`: a manifest that needs the blob.
    User = b'u',
    /// The version of this scheme.
    Version = b'v',
}

impl Kind {
    pub(super) fn key(self, parts: &[&str]) -> Vec<u8> {
        let mut key = vec![self as u8];
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                key.push(0);
            }
            key.extend_from_slice(part.as_bytes());
        }
        key
    }

    /// The keys that begin with `parts` and have one more.
    pub(super) fn below(self, parts: &[&str]) -> Span {
        let mut first = self.key(parts);
        if parts.is_empty() {
            return Span { first, end: vec![self as u8 + 1] };
        }
        let mut end = first.clone();
        first.push(0);
        end.push(1);
        Span { first, end }
    }
}

/// Neighbouring keys.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) first: Vec<u8>,
    pub(super) end: Vec<u8>,
}

impl Span {
    /// Those behind the one whose last part is `last`.
    pub(super) fn after(mut self, last: &str) -> Self {
        self.first.extend_from_slice(last.as_bytes());
        self.first.push(0);
        self
    }
}

/// The parts of a key.
pub(super) fn parts<const N: usize>(key: &[u8]) -> Result<[&str; N], Error> {
    let text = key.get(1..).and_then(|text| std::str::from_utf8(text).ok());
    let parts: Option<Vec<&str>> = text.map(|text| text.split('\0').collect());
    parts.and_then(|parts| parts.try_into().ok()).ok_or_else(unreadable)
}

/// The last part of a key, as what it has to be.
pub(super) fn last<T: std::str::FromStr>(key: &[u8]) -> Result<T, Error> {
    let text = key.rsplit(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(unreadable)
}

/// The only part of a key, as what it has to be.
pub(super) fn only<T: std::str::FromStr>(key: &[u8]) -> Result<T, Error> {
    let [part] = parts(key)?;
    part.parse().map_err(|_| unreadable())
}

/// A record that this version didn't write, or that was damaged.
pub(super) fn unreadable() -> Error {
    Error::internal("a record of the registry's index can't be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_keys_below_and_no_others() {
        let below = Kind::Tag.below(&["a"]);
        let within = |key: Vec<u8>| below.first <= key && key < below.end;
        assert!(within(Kind::Tag.key(&["a", "x"])));
        assert!(within(Kind::Tag.key(&["a", "~~~"])));
        for other in [Kind::Tag.key(&["a"]), Kind::Tag.key(&["a-b", "x"]), Kind::Tag.key(&["a/b", "x"])] {
            assert!(!within(other));
        }
        assert!(!within(Kind::User.key(&["a", "x"])));
        let rest = below.clone().after("x");
        assert!(rest.first > Kind::Tag.key(&["a", "x"]) && rest.first < Kind::Tag.key(&["a", "x-"]));
        let all = Kind::Repository.below(&[]);
        assert!(all.first < Kind::Repository.key(&["a"]) && Kind::Repository.key(&["zz/zz"]) < all.end);
    }

    #[test]
    fn a_key_comes_apart_again() {
        let key = Kind::User.key(&["a/b", "c", "d"]);
        assert_eq!(parts::<3>(&key).unwrap(), ["a/b", "c", "d"]);
        assert_eq!(last::<String>(&key).unwrap(), "d");
        let error = parts::<2>(&key).unwrap_err();
        assert_eq!(error.to_string(), "a record of the registry's index can't be read");
    }
}
