use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Rate;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::operation::{ClientAddress, Identity};

/// How much each caller may ask for. Clones count together; see [the module](super) for who a caller is.
///
/// It is a value of its own, for whatever is asked for: [`LimitLayer`](super::LimitLayer) asks it about operations, an
/// endpoint asks it about its requests.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_oci::layer::limit::{Limiter, Rate};
/// use tower_oci::operation::Identity;
///
/// let builds = Limiter::new(Rate::per_hour(20)).anonymous(Rate::per_hour(2)).of("builds");
/// let mut request = http::Request::new(());
/// assert!(builds.check(request.extensions()).is_ok());
/// assert!(builds.check(request.extensions()).is_ok());
/// let error = builds.check(request.extensions()).unwrap_err();
/// assert_eq!(error.to_string(), "too many builds: 2 per hour are allowed without a login; try again in 1800 s");
///
/// request.extensions_mut().insert(Identity::named("ann"));
/// assert!(builds.check(request.extensions()).is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct Limiter {
    named: Rate,
    anonymous: Option<Rate>,
    what: Arc<str>,
    max_callers: usize,
    start: Instant,
    callers: Arc<Mutex<Callers>>,
}

impl Limiter {
    /// How many callers with a name, and how many addresses, are remembered unless [`Limiter::max_callers`] says
    /// otherwise: 65,536. Each takes about 200 bytes.
    pub const DEFAULT_MAX_CALLERS: usize = 65_536;

    /// Lets each caller have `rate`.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            named: rate,
            anonymous: None,
            what: "requests".into(),
            max_callers: Self::DEFAULT_MAX_CALLERS,
            start: Instant::now(),
            callers: Arc::default(),
        }
    }

    /// Lets each address have `rate` from which a caller without a name comes. It counts anew.
    #[must_use]
    pub fn anonymous(mut self, rate: Rate) -> Self {
        self.anonymous = Some(rate);
        self.anew()
    }

    /// Calls what is counted `what` in errors, a plural: `requests` when not set.
    #[must_use]
    pub fn of(mut self, what: &str) -> Self {
        self.what = what.into();
        self
    }

    /// How many callers with a name are remembered, and how many addresses, at least one. Where there are more, those are
    /// forgotten first that have used least of their rate: they may have it all again. It counts anew.
    #[must_use]
    pub fn max_callers(mut self, max_callers: usize) -> Self {
        self.max_callers = max_callers.max(1);
        self.anew()
    }

    fn anew(mut self) -> Self {
        self.callers = Arc::default();
        self
    }

    /// Counts one request of the caller that these facts tell of.
    ///
    /// # Errors
    ///
    /// [`TooManyRequests`](ErrorKind::TooManyRequests) with a `Retry-After` when the caller has had as many as it may
    /// have. Such a request isn't counted.
    pub fn check(&self, facts: &http::Extensions) -> Result<(), Error> {
        let now = self.start.elapsed();
        let identity = Identity::of(facts);
        let mut callers = self.lock();
        let (rate, taken) = match identity.name() {
            Some(name) => (self.named, callers.named.take(name.into(), self.named, now, self.max_callers)),
            None => {
                let rate = self.anonymous.unwrap_or(self.named);
                let network = Network::of(facts.get());
                (rate, callers.networks.take(network, rate, now, self.max_callers))
            }
        };
        drop(callers);
        let is_anonymous = identity.is_anonymous() && self.anonymous.is_some();
        taken.map_err(|wait| self.refusal(rate, is_anonymous, wait))
    }

    fn refusal(&self, rate: Rate, is_anonymous: bool, wait: Duration) -> Error {
        // A client that comes a moment too early has come in vain.
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        let whose = if is_anonymous { " without a login" } else { "" };
        let what = &self.what;
        let message = format!("too many {what}: {rate} are allowed{whose}; try again in {seconds} s");
        Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
            .with_retry_after(RetryAfter::Delay(Duration::from_secs(seconds)))
    }

    fn lock(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many callers are remembered.
    #[cfg(test)]
    pub(super) fn callers(&self) -> (usize, usize) {
        let callers = self.lock();
        (callers.named.len(), callers.networks.len())
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("of", &self.what)
            .field("rate", &self.named)
            .field("anonymous", &self.anonymous)
            .field("max_callers", &self.max_callers)
            .finish_non_exhaustive()
    }
}

/// Callers with a name and without are remembered apart: whoever has many addresses makes us forget no name.
#[derive(Default)]
struct Callers {
    named: Buckets<Arc<str>>,
    networks: Buckets<Network>,
}

/// What counts as one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Network {
    V4([u8; 4]),
    /// The first 64 bits: what one customer has at least, who may choose among all below.
    V6([u8; 8]),
    /// All callers of which nothing is known.
    Unknown,
}

impl Network {
    fn of(address: Option<&ClientAddress>) -> Self {
        match address.map(|address| address.ip()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
            None => Self::Unknown,
        }
    }
}

/// The buckets that aren't full, each by the moment at which it will be, counted from the limiter's start.
struct Buckets<K> {
    full: HashMap<K, Duration>,
    order: BTreeSet<(Duration, K)>,
}

impl<K: Clone + Ord + std::hash::Hash> Buckets<K> {
    fn take(&mut self, key: K, rate: Rate, now: Duration, max: usize) -> Result<(), Duration> {
        let known = self.full.get(&key).copied();
        let full = rate.take(known.unwrap_or(now), now)?;
        if let Some(known) = known {
            self.order.remove(&(known, key.clone()));
            self.full.remove(&key);
        }
        // Those that are full again need no remembering. Two go for one that comes, so that they don't gather.
        for _ in 0..2 {
            if self.order.first().is_some_and(|(full, _)| *full <= now) {
                self.forget_first();
            }
        }
        while self.order.len() >= max {
            self.forget_first();
        }
        self.full.insert(key.clone(), full);
        self.order.insert((full, key));
        Ok(())
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.full.remove(&key);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.full.len(), self.order.len());
        self.full.len()
    }
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { full: HashMap::new(), order: BTreeSet::new() }
    }
}
