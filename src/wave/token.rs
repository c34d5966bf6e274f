use std::fmt;
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::secret::Secret;
use crate::spec::digest::Digest;

/// What opens one image: 128 random bits and the moment at which they end, as one path component in lower case.
///
/// The moment is part of the token, so that an expired token is told from an unknown one without keeping anything of
/// it. A check sum keeps a mistyped token from being called expired; it protects nothing else, since a token that
/// nobody issued opens nothing.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    text: Secret,
    expires: u32,
}

/// Random bits, expiry in seconds since 1970, check sum.
const RANDOM: usize = 16;
const EXPIRY: usize = 4;
const CHECK: usize = 5;
const SIGNED: usize = RANDOM + EXPIRY;
const LENGTH: usize = SIGNED + CHECK;

/// RFC 4648's alphabet in lower case: letters and digits only, as a repository name wants them.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Token {
    /// The length of the text.
    pub(super) const TEXT_LENGTH: usize = LENGTH / 5 * 8;

    /// A new token that ends at `expires`, in whole seconds.
    pub(super) fn generate(expires: SystemTime) -> Result<Self, Error> {
        let mut random = [0; RANDOM];
        getrandom::fill(&mut random)
            .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
        Ok(Self::of(random, seconds(expires)))
    }

    fn of(random: [u8; RANDOM], expires: u32) -> Self {
        let mut bytes = [0; LENGTH];
        let signed = random.into_iter().chain(expires.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(signed) {
            *to = from;
        }
        let check = check(&bytes);
        for (to, from) in bytes.iter_mut().skip(SIGNED).zip(check) {
            *to = from;
        }
        Self { text: encode(&bytes).into(), expires }
    }

    /// The token that is written as `text`, if it can be one that was issued.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = decode(text)?;
        let expires = bytes.get(RANDOM..SIGNED).and_then(|bytes| bytes.try_into().ok())?;
        let intact = bytes.get(SIGNED..) == Some(&check(&bytes)[..]);
        intact.then(|| Self { text: text.into(), expires: u32::from_be_bytes(expires) })
    }

    /// The text. It is a credential.
    pub(super) fn expose(&self) -> &str {
        self.text.expose()
    }

    /// When it ends.
    pub(super) fn expires(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.expires.into())
    }

    /// What its record is kept under: a hash, from which the token can't be found.
    pub(super) fn key(&self) -> Key {
        Key(Digest::sha256(self.expose().as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The name of a token at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Digest);

impl Key {
    /// The key of its record.
    pub(super) fn record(&self) -> String {
        format!("wave/{}", self.0.hex())
    }
}

fn seconds(time: SystemTime) -> u32 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn check(bytes: &[u8; LENGTH]) -> [u8; CHECK] {
    let digest = Digest::sha256(bytes.get(..SIGNED).unwrap_or_default());
    let mut check = [0; CHECK];
    for (to, from) in check.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    check
}

/// Five bytes are eight characters, and the length is a multiple of five.
fn encode(bytes: &[u8; LENGTH]) -> String {
    let mut text = String::with_capacity(Token::TEXT_LENGTH);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let index = usize::try_from(bits >> (place * 5) & 31).unwrap_or_default();
            text.push(ALPHABET.get(index).copied().unwrap_or(b'a').into());
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; LENGTH]> {
    if text.len() != Token::TEXT_LENGTH {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (group, characters) in bytes.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut bits = 0_u64;
        for character in characters {
            let value = match character {
                b'a'..=b'z' => character - b'a',
                b'2'..=b'7' => character - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        for (to, from) in group.iter_mut().zip(bits.to_be_bytes().into_iter().skip(3)) {
            *to = from;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::name::Repository;

    #[test]
    fn a_token_is_one_component_of_a_repository_name() {
        let token = Token::of([0xff; RANDOM], 0x6666_6666);
        assert_eq!(token.expose(), "77777777777777777777777775tgmztgpb6ehaud");
        assert!(format!("wt/{}/library/busybox", token.expose()).parse::<Repository>().is_ok());
        assert_eq!(Token::parse(token.expose()), Some(token.clone()));
        assert_eq!(token.expires(), SystemTime::UNIX_EPOCH + Duration::from_secs(0x6666_6666));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn tokens_differ_and_are_found_by_a_hash() {
        let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_999);
        let (one, two) = (Token::generate(expires).unwrap(), Token::generate(expires).unwrap());
        assert_ne!(one, two);
        assert_eq!(one.expires(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let key = one.key().record();
        assert_eq!(key.len(), "wave/".len() + 64);
        assert!(!key.contains(one.expose()));
    }

    #[test]
    fn what_was_not_issued_is_no_token() {
        let token = Token::of([7; RANDOM], 1_800_000_000);
        let text = token.expose();
        let mistyped = format!("{}{}", &text[..39], if text.ends_with('a') { 'b' } else { 'a' });
        for text in
            ["", "a", &text[..39], &format!("{text}a"), &text.to_uppercase(), &mistyped, &"a".repeat(40)]
        {
            assert_eq!(Token::parse(text), None, "{text}");
        }
        assert_eq!(Token::parse(&"é".repeat(20)), None);
    }
}
