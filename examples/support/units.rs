//! Sizes and times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, more than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u64);

/// Suffixes of sizes, each 1024 times the one before.
const SUFFIXES: [char; 4] = ['K', 'M', 'G', 'T'];

impl Size {
    pub(crate) const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(crate) const fn gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let found = (10..)
            .step_by(10)
            .zip(SUFFIXES)
            .find_map(|(shift, suffix)| Some((upper.strip_suffix(suffix)?, shift)));
        let (number, shift) = found.unwrap_or((&upper, 0));
        let bytes = digits(number).and_then(|number| number.checked_mul(1 << shift));
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err("a size is a number of bytes, or of K, M, G, T, as in 500M or 20G".to_owned()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SUFFIXES.iter().enumerate().rev().find(|(index, _)| self.0 >> (10 * (index + 1)) > 0);
        let Some((index, suffix)) = unit else { return write!(f, "{} B", self.0) };
        // In tenths of the unit, rounded down: no size is shown as more than it is.
        let tenths = (u128::from(self.0) * 10) >> (10 * (index + 1));
        match tenths % 10 {
            0 => write!(f, "{} {suffix}iB", tenths / 10),
            tenth => write!(f, "{}.{tenth} {suffix}iB", tenths / 10),
        }
    }
}

/// A time such as `90s`, `5m`, `1h` or `7d`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];
    units
        .into_iter()
        .find_map(|(suffix, seconds)| digits(text.strip_suffix(suffix)?)?.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "a time is a number of s, m, h or d, as in 90s or 1h".to_owned())
}

/// Digits and nothing else, not even a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
