//! Digests and the hashers that make them
//! ([image-spec, Digests](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests)).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState as _;

use crate::error::{Error, ErrorCode};

/// A registered hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256: 64 hex digits. What nearly everything uses.
    #[default]
    Sha256,
    /// SHA-512: 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of the hash in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(InvalidDigest::new(text, "its algorithm is neither sha256 nor sha512")),
        }
    }
}

/// The digest of some content: an algorithm and a hash, written `sha256:<64 hex digits in lower case>`.
///
/// A value of this type is well-formed: the algorithm is a known one, the length is exact, the digits are lower case.
/// It is small and `Copy`, and safe as a file name once the colon is replaced.
///
/// ```
/// use tower_oci::spec::digest::Digest;
///
/// let digest = Digest::sha256(b"hello");
/// let text = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
/// assert_eq!(digest.to_string(), text);
/// assert_eq!(text.parse(), Ok(digest));
/// assert!("sha256:2CF24DBA".parse::<Digest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// Of a shorter hash, the rest is zero.
    hash: [u8; 64],
}

impl Digest {
    /// The SHA-256 digest of `content`.
    #[must_use]
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The digest of `content` by `algorithm`.
    #[must_use]
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    fn from_hash(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hash = [0; 64];
        for (to, from) in hash.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { algorithm, hash }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.hash.get(..self.algorithm.size()).unwrap_or(&self.hash)
    }

    /// The hash in lower-case hex digits: what stands behind the colon.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(self.as_bytes())
    }

    /// Whether `content` has this digest.
    #[must_use]
    pub fn matches(&self, content: &[u8]) -> bool {
        Self::of(self.algorithm, content) == *self
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, encoded) =
            text.split_once(':').ok_or_else(|| InvalidDigest::new(text, "it has no colon"))?;
        let algorithm: Algorithm = algorithm
            .parse()
            .map_err(|_| InvalidDigest::new(text, "its algorithm is neither sha256 nor sha512"))?;
        if encoded.len() != algorithm.size() * 2 {
            return Err(InvalidDigest::new(text, "the number of its hex digits is wrong"));
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(encoded.as_bytes().chunks_exact(2)) {
            let mut value = 0;
            for digit in pair {
                let digit = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(InvalidDigest::new(text, "it has other than lower-case hex digits")),
                };
                value = value << 4 | digit;
            }
            *byte = value;
        }
        Ok(Self { algorithm, hash })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 128];
        let text = hex_into(self.as_bytes(), &mut text);
        write!(f, "{}:{text}", self.algorithm)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest in the making.
///
/// A clone is a snapshot: a body that breaks off goes on from where its hasher stood.
///
/// ```
/// use tower_oci::spec::digest::{Algorithm, Digest, Hasher};
///
/// let mut hasher = Hasher::new(Algorithm::Sha256);
/// hasher.update(b"hel");
/// hasher.update(b"lo");
/// assert_eq!(hasher.finish(), Digest::sha256(b"hello"));
/// ```
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(sha2::Sha512::new())),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The state: what [`Hasher::restore`] goes on from, in another process too. It isn't secret: it tells of the content
    /// as much as a digest and the last few bytes do.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha256(state) => state.serialize().to_vec(),
            State::Sha512(state) => state.serialize().to_vec(),
        }
    }

    /// The hasher whose state was [saved](Hasher::save); none when that is no state of this algorithm.
    ///
    /// A state that was made up gives a wrong digest, or one that somebody wanted: it must come from a place that is
    /// trusted.
    #[must_use]
    pub fn restore(algorithm: Algorithm, state: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => {
                State::Sha512(Box::new(sha2::Sha512::deserialize(state.try_into().ok()?).ok()?))
            }
        }))
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::from_hash(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => Digest::from_hash(Algorithm::Sha512, &state.finalize()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Sha256(_) => "Hasher(sha256)",
            State::Sha512(_) => "Hasher(sha512)",
        })
    }
}

/// A text that is no digest, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest `{text}`: {reason}")]
pub struct InvalidDigest {
    text: String,
    reason: &'static str,
}

impl InvalidDigest {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: super::name::shortened(text), reason }
    }
}

impl From<InvalidDigest> for Error {
    fn from(error: InvalidDigest) -> Self {
        Self::invalid(ErrorCode::DigestInvalid, error.to_string())
    }
}

/// `bytes` in lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.chunks(64).map(|chunk| hex_into(chunk, &mut [0; 128]).to_owned()).collect()
}

fn hex_into<'a>(bytes: &[u8], text: &'a mut [u8; 128]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            *high = digit(byte >> 4);
            *low = digit(*byte);
        }
    }
    text.get(..bytes.len() * 2).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_lower_case_digests_of_known_algorithms_are_read() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        let long = format!("sha512:{}", "f0".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
        for bad in [
            "",
            "sha256",
            "sha256:",
            &"a".repeat(64),
            &good.to_uppercase(),
            &good.replace("sha256", "sha512"),
            &good.replace("sha256", "md5"),
            &good[..good.len() - 1],
            &format!("{good}0"),
            &format!("sha256:{}", "0A".repeat(32)),
            &format!("sha256:../{}", "0".repeat(61)),
            &format!("sha256:{}é", "0".repeat(62)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_saved_hasher_goes_on() {
        let content: Vec<u8> = (0..300).map(|index| (index % 251) as u8).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for taken in [0, 1, 63, 64, 65, 127, 128, 200, 300] {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&content[..taken]);
                let state = hasher.save();
                let mut restored = Hasher::restore(algorithm, &state).unwrap();
                restored.update(&content[taken..]);
                assert_eq!(restored.finish(), Digest::of(algorithm, &content), "{algorithm} {taken}");
                assert!(Hasher::restore(algorithm, &state[1..]).is_none());
            }
        }
        assert!(Hasher::restore(Algorithm::Sha256, &Hasher::new(Algorithm::Sha512).save()).is_none());
    }

    #[test]
    fn an_error_shows_the_value_but_not_all_of_a_long_one() {
        assert_eq!(
            "md5:00".parse::<Digest>().unwrap_err().to_string(),
            "invalid digest `md5:00`: its algorithm is neither sha256 nor sha512"
        );
        assert!("x".repeat(5000).parse::<Digest>().unwrap_err().to_string().len() < 300);
    }
}
