use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::circuit::Circuits;
use super::service::Breaker;
use crate::operation::Registry;
use crate::rt::Clock;

/// Puts a [`Breaker`] over a registry; see [the module](super).
///
/// The clones of a layer, and the services that they make, share the circuits: what is set later makes circuits of its
/// own.
#[derive(Clone)]
pub struct BreakerLayer {
    settings: Settings,
    circuits: Arc<Circuits>,
}

/// What a [`BreakerLayer`] is told.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) failures: u32,
    pub(super) first_delay: Duration,
    pub(super) longest_delay: Duration,
    pub(super) longest_retry_after: Duration,
    pub(super) jitter: f64,
    pub(super) random: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(super) clock: Clock,
}

impl BreakerLayer {
    /// A breaker that opens after 5 failures in a row, for 1 s at first and 60 s at most, and heeds a `Retry-After` of
    /// up to an hour.
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings {
            failures: 5,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(3600),
            jitter: 0.25,
            random: Arc::new(random),
            clock: Clock::system(),
        };
        Self { circuits: Circuits::new(settings.clone()), settings }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.circuits = Circuits::new(self.settings.clone());
        self
    }

    #[cfg(test)]
    pub(super) fn circuits(&self) -> Arc<Circuits> {
        Arc::clone(&self.circuits)
    }

    /// How many failures in a row open a circuit (default: 5); at least one.
    #[must_use]
    pub fn failures(self, count: u32) -> Self {
        self.set(|settings| settings.failures = count.max(1))
    }

    /// For how long a circuit opens at first (default: 1 s). Each time that the request after it fails too, it is twice
    /// as long.
    #[must_use]
    pub fn first_delay(self, delay: Duration) -> Self {
        self.set(|settings| settings.first_delay = delay)
    }

    /// For how long a circuit opens at most (default: 60 s), but for what a `Retry-After` demands.
    #[must_use]
    pub fn longest_delay(self, delay: Duration) -> Self {
        self.set(|settings| settings.longest_delay = delay)
    }

    /// The longest `Retry-After` that is heeded (default: an hour); a longer one counts as this.
    #[must_use]
    pub fn longest_retry_after(self, delay: Duration) -> Self {
        self.set(|settings| settings.longest_retry_after = delay)
    }

    /// By which part of itself a back-off is longer or shorter, at random: from 0 to 1 (default: a quarter), so that
    /// several instances don't come back at once.
    #[must_use]
    pub fn jitter(self, jitter: f64) -> Self {
        self.set(|settings| settings.jitter = jitter.clamp(0.0, 1.0))
    }

    /// Where the jitter comes from, in place of the system's random numbers: values from 0 to 1.
    #[must_use]
    pub fn random(self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.random = Arc::new(random))
    }

    /// Another clock for a `Retry-After` that is a date: for tests.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.set(|settings| settings.clock = clock)
    }
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("failures", &self.settings.failures)
            .field("first_delay", &self.settings.first_delay)
            .field("longest_delay", &self.settings.longest_delay)
            .field("longest_retry_after", &self.settings.longest_retry_after)
            .field("jitter", &self.settings.jitter)
            .field("circuits", &self.circuits)
            .finish_non_exhaustive()
    }
}

impl<R: Registry> Layer<R> for BreakerLayer {
    type Service = Breaker<R>;

    fn layer(&self, inner: R) -> Breaker<R> {
        Breaker::new(inner, Arc::clone(&self.circuits))
    }
}

/// Without randomness there is still the back-off itself.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
