use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::spec::digest::{Digest, hex};

/// The name of a build: `bd-` and 128 random bits as 32 lower-case hex digits.
///
/// It opens the build's log and its container file to whoever knows it, and can't be guessed. So it is abbreviated in
/// its `Debug`, and hashed in the keys of records.
///
/// ```
/// use tower_oci::build::builds::BuildId;
///
/// let id: BuildId = "bd-000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(id.to_string(), "bd-000102030405060708090a0b0c0d0e0f");
/// assert_eq!(format!("{id:?}"), "BuildId(bd-00010203..)");
/// assert!("bd-../../etc/passwd".parse::<BuildId>().is_err());
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BuildId(Arc<str>);

impl BuildId {
    pub(super) fn generate() -> Result<Self, Error> {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
        Ok(Self(format!("{PREFIX}{}", hex(&bytes)).into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its records are kept under: a hash, from which the id can't be found.
    pub(super) fn key(&self) -> String {
        Digest::sha256(self.0.as_bytes()).hex()
    }
}

impl FromStr for BuildId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let random = text.strip_prefix(PREFIX).filter(|random| random.len() == 2 * RANDOM);
        if random.is_some_and(|random| random.bytes().all(is_digit)) {
            return Ok(Self(text.into()));
        }
        // A typing error shows as much of an id as its beginning does.
        let shown: String = text.chars().take(SHOWN).collect();
        let message =
            format!("`{}..` is no build id: one is `{PREFIX}` and 32 hex digits", shown.escape_debug());
        Err(Error::invalid(ErrorCode::Unsupported, message))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({}..)", self.0.get(..SHOWN).unwrap_or_default())
    }
}

const PREFIX: &str = "bd-";
const RANDOM: usize = 16;
const SHOWN: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_read_as_they_are_written() {
        let (one, two) = (BuildId::generate().unwrap(), BuildId::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 35);
        assert_eq!(one.as_str().parse::<BuildId>().unwrap(), one);
        assert_eq!(one.key().len(), 64);
        assert!(!one.key().contains(&one.as_str()[3..11]));
    }

    #[test]
    fn what_was_not_issued_is_no_id() {
        let digits = "0".repeat(32);
        for text in [
            "",
            "bd-",
            &digits,
            &format!("bd-{}", &digits[1..]),
            &format!("bd-{digits}0"),
            &format!("bd-{}A", &digits[1..]),
            &format!("bd-{}/", &digits[1..]),
            &format!("bd-../{}", &digits[3..]),
            &format!("bd-{}é", &digits[2..]),
        ] {
            assert_eq!(text.parse::<BuildId>().unwrap_err().status(), 400, "{text}");
        }
    }
}
