use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use tokio::time::Instant;

use crate::error::RetryAfter;

/// How often, and after which pauses, a read is tried again that failed for reasons that may pass: 429, 502, 503,
/// 504, and connections that can't be made or break off before an answer.
///
/// The pause before the n-th retry is `first_delay × factor^(n-1)`, at most `longest_delay`, more or less by `jitter`. An
/// upstream's `Retry-After` is honoured; one beyond `longest_retry_after` isn't waited for, but passed on. All retries
/// of one upstream together are bounded by a budget: one for every five requests, and a reserve of ten that fills by
/// one in a second.
///
/// ```
/// use std::time::Duration;
/// use tower_oci::client::RetryPolicy;
///
/// let patient = RetryPolicy::new().tries(8).longest_delay(Duration::from_secs(5));
/// assert_ne!(format!("{patient:?}"), format!("{:?}", RetryPolicy::never()));
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    tries: u32,
    first_delay: Duration,
    factor: f64,
    jitter: f64,
    longest_delay: Duration,
    longest_retry_after: Duration,
    random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl RetryPolicy {
    /// 5 tries in all, 500 ms, factor 2, jitter a quarter, 10 s at most, `Retry-After` up to 15 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tries: 5,
            first_delay: Duration::from_millis(500),
            factor: 2.0,
            jitter: 0.25,
            longest_delay: Duration::from_secs(10),
            longest_retry_after: Duration::from_secs(15),
            random: Arc::new(random),
        }
    }

    /// One try only.
    #[must_use]
    pub fn never() -> Self {
        Self::new().tries(1)
    }

    /// How many tries in all; at least one.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// The pause before the first retry.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// By what the pause grows from one retry to the next; at least 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// By which part of itself a pause is longer or shorter, at random: from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.clamp(0.0, 1.0);
        self
    }

    /// The longest pause, but for what `Retry-After` demands.
    #[must_use]
    pub fn longest_delay(mut self, delay: Duration) -> Self {
        self.longest_delay = delay;
        self
    }

    /// The longest `Retry-After` that is waited for.
    #[must_use]
    pub fn longest_retry_after(mut self, delay: Duration) -> Self {
        self.longest_retry_after = delay;
        self
    }

    /// Where the jitter comes from, in place of the system's random numbers: values from 0 to 1.
    #[must_use]
    pub fn random(mut self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// The pause before the retry number `retry`, from 0; none when it should not be made.
    pub(super) fn pause(&self, retry: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if retry.saturating_add(1) >= self.tries {
            return None;
        }
        let back_off = self.back_off(retry);
        match retry_after {
            Some(demanded) if demanded > self.longest_retry_after => None,
            Some(demanded) => Some(back_off.max(demanded)),
            None => Some(back_off),
        }
    }

    /// The pause before the retry number `retry`, from 0, however many there were.
    pub(super) fn back_off(&self, retry: u32) -> Duration {
        let longest = self.longest_delay.as_secs_f64();
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        let seconds = (self.first_delay.as_secs_f64() * self.factor.powi(exponent)).min(longest);
        let jitter = 1.0 + self.jitter * (2.0 * (self.random)().clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(seconds * jitter).unwrap_or(self.longest_delay)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("tries", &self.tries)
            .field("first_delay", &self.first_delay)
            .field("factor", &self.factor)
            .field("jitter", &self.jitter)
            .field("longest_delay", &self.longest_delay)
            .field("longest_retry_after", &self.longest_retry_after)
            .finish_non_exhaustive()
    }
}

/// Without randomness there is still the back-off itself.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// How many retries an upstream may cost, beside its requests.
///
/// Without it, an upstream that is out of order gets several times its usual load, from every instance.
pub(super) struct Budget(Mutex<Balance>);

struct Balance {
    /// In thousandths of a retry.
    left: u64,
    refilled: Instant,
}

impl Budget {
    const RETRY: u64 = 1000;
    const PER_REQUEST: u64 = Self::RETRY / 5;
    const RESERVE: u64 = 10 * Self::RETRY;
    const MOST: u64 = 100 * Self::RETRY;

    pub(super) fn new() -> Self {
        Self(Mutex::new(Balance { left: Self::RESERVE, refilled: Instant::now() }))
    }

    /// A request was made.
    pub(super) fn deposit(&self) {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balance.left = (balance.left + Self::PER_REQUEST).min(Self::MOST);
    }

    /// Whether a retry may be made; it is counted then.
    pub(super) fn withdraw(&self) -> bool {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = u64::try_from(balance.refilled.elapsed().as_millis()).unwrap_or(u64::MAX);
        // What is left of a millisecond counts the next time, however often it is asked.
        balance.refilled =
            balance.refilled.checked_add(Duration::from_millis(elapsed)).unwrap_or_else(Instant::now);
        if balance.left < Self::RESERVE {
            // A thousandth of a retry in a millisecond: one in a second.
            balance.left = balance.left.saturating_add(elapsed).min(Self::RESERVE);
        }
        match balance.left.checked_sub(Self::RETRY) {
            Some(left) => {
                balance.left = left;
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

/// What a response says of when to come back, if it can be read.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // A number that is too large to be a number is a very long time.
        return Some(RetryAfter::Delay(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX)))));
    }
    httpdate::parse_http_date(text).ok().map(RetryAfter::At)
}

/// The time to wait by a response's `Retry-After`. A date is taken from the response's own `Date`, where there is
/// one: the two clocks need not agree.
pub(super) fn demanded_delay(headers: &HeaderMap) -> Option<Duration> {
    let date = headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Some(retry_after(headers)?.delay_from(date.unwrap_or_else(SystemTime::now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::new().random(|| 0.5)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_grow_to_their_limit_and_end() {
        let pauses: Vec<_> = (0..5).map(|retry| policy().pause(retry, None)).collect();
        assert_eq!(pauses, [Some(ms(500)), Some(ms(1000)), Some(ms(2000)), Some(ms(4000)), None]);
        assert_eq!(policy().tries(20).pause(10, None), Some(ms(10_000)));
        assert_eq!(policy().tries(u32::MAX).pause(u32::MAX - 2, None), Some(ms(10_000)));
        assert_eq!(RetryPolicy::never().pause(0, None), None);
    }

    #[test]
    fn jitter_is_a_quarter_either_way() {
        assert_eq!(policy().random(|| 0.0).pause(0, None), Some(ms(375)));
        assert_eq!(policy().random(|| 1.0).pause(0, None), Some(ms(625)));
        let pause = RetryPolicy::new().pause(0, None).unwrap();
        assert!(ms(375) <= pause && pause <= ms(625), "{pause:?}");
    }

    #[test]
    fn what_is_demanded_is_waited_for_unless_it_is_too_long() {
        assert_eq!(policy().pause(0, Some(ms(3000))), Some(ms(3000)));
        assert_eq!(policy().pause(0, Some(ms(0))), Some(ms(500)));
        assert_eq!(policy().pause(0, Some(ms(15_000))), Some(ms(15_000)));
        assert_eq!(policy().pause(0, Some(ms(15_001))), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let headers = |pairs: &[(http::HeaderName, &str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let retry_after = header::RETRY_AFTER;
        assert_eq!(demanded_delay(&headers(&[(retry_after.clone(), "7")])), Some(ms(7000)));
        let both = headers(&[
            (retry_after.clone(), "Tue, 24 Nov 2026 03:00:09 GMT"),
            (header::DATE, "Tue, 24 Nov 2026 03:00:00 GMT"),
        ]);
        assert_eq!(demanded_delay(&both), Some(ms(9000)));
        let past = headers(&[(retry_after.clone(), "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(demanded_delay(&past), Some(ms(0)));
        for bad in ["soon", "-1", "", "1.5"] {
            assert_eq!(demanded_delay(&headers(&[(retry_after.clone(), bad)])), None, "{bad}");
        }
        let huge = headers(&[(retry_after, "99999999999999999999999")]);
        assert_eq!(demanded_delay(&huge), Some(Duration::from_secs(u64::from(u32::MAX))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_a_fifth_of_the_requests_and_a_reserve() {
        let budget = Budget::new();
        let spend = || std::iter::from_fn(|| budget.withdraw().then_some(())).count();
        assert_eq!(spend(), 10, "the reserve");
        (0..100).for_each(|_| budget.deposit());
        assert_eq!(spend(), 20, "a fifth of a hundred");
        tokio::time::advance(ms(3000)).await;
        assert_eq!(spend(), 3, "one in a second");
        tokio::time::advance(ms(3_600_000)).await;
        assert_eq!(spend(), 10, "but no more than the reserve");
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(spend(), 100, "and a busy day saves a hundred at most");
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_fills_however_often_it_is_asked() {
        let budget = Budget::new();
        while budget.withdraw() {}
        let mut retries = 0;
        for _ in 0..8_000 {
            tokio::time::advance(Duration::from_micros(250)).await;
            retries += u32::from(budget.withdraw());
        }
        assert_eq!(retries, 2, "one in a second");
    }
}
