use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::rt::Clock;

/// A time of day that stands still until it is moved on. Clones are the same.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_oci::testing::records::ManualClock;
///
/// let manual = ManualClock::new();
/// let (clock, start) = (manual.clock(), manual.now());
/// manual.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), start + Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: SystemTime,
    /// How far it was moved, in microseconds.
    moved: Arc<AtomicU64>,
}

impl ManualClock {
    /// It shows the system's time of now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: SystemTime::now(), moved: Arc::default() }
    }

    /// Moves it on, in whole microseconds.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.moved.fetch_add(by, Ordering::Relaxed);
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.start + Duration::from_micros(self.moved.load(Ordering::Relaxed))
    }

    /// The same, as what takes a clock wants it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::from_fn(move || this.now())
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
