use std::fmt;
use std::time::Duration;

/// How much one caller may ask for: so many in a period, and so many at once.
///
/// It is a bucket of as many tokens as may be taken at once, which fills at the rate, evenly; each request takes one.
///
/// ```
/// use std::time::Duration;
/// use tower_oci::layer::limit::Rate;
///
/// assert_eq!(Rate::per_minute(100).burst(20).to_string(), "100 per minute, 20 at once");
/// assert_eq!(Rate::per(200, Duration::from_secs(6 * 3600)).to_string(), "200 per 6 hours");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
    burst: u32,
}

impl Rate {
    /// `count` per `period`, at least one. As many may come at once, unless [`Rate::burst`] says otherwise.
    #[must_use]
    pub fn per(count: u32, period: Duration) -> Self {
        let count = count.max(1);
        Self { count, period, burst: count }
    }

    /// `count` per second, at least one.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// `count` per minute, at least one.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// `count` per hour, at least one.
    #[must_use]
    pub fn per_hour(count: u32) -> Self {
        Self::per(count, Duration::from_secs(3600))
    }

    /// The same with `burst` at once, at least one.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst.max(1);
        self
    }

    /// Takes a token out of the bucket that will be full at `full`; what is past is full. Answers when it will be so
    /// then, or after how long there is a token again.
    ///
    /// That moment is all there is to a bucket: it has as many tokens as are missing until then.
    pub(super) fn take(self, full: Duration, now: Duration) -> Result<Duration, Duration> {
        let token = (self.period / self.count).max(Duration::from_nanos(1));
        // With so much missing, there is one token left.
        let last = token.saturating_mul(self.burst - 1);
        let missing = full.saturating_sub(now);
        match missing.checked_sub(last) {
            None | Some(Duration::ZERO) => Ok(now.saturating_add(missing).saturating_add(token)),
            Some(wait) => Err(wait),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per ", self.count)?;
        let seconds = self.period.as_secs();
        let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
        let unit = units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
        match unit.filter(|_| self.period.subsec_nanos() == 0) {
            Some((unit, name)) if seconds == *unit => f.write_str(name)?,
            Some((unit, name)) => write!(f, "{} {name}s", seconds / unit)?,
            None => write!(f, "{:?}", self.period)?,
        }
        if self.burst == self.count { Ok(()) } else { write!(f, ", {} at once", self.burst) }
    }
}
