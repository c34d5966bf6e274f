use std::time::Duration;

use tokio::time::Instant;

/// When something was, which may be before this process began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    noted: Instant,
    age_then: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self::ago(Duration::ZERO)
    }

    pub(super) fn ago(age: Duration) -> Self {
        Self { noted: Instant::now(), age_then: age }
    }

    pub(super) fn age(&self) -> Duration {
        self.noted.elapsed().saturating_add(self.age_then)
    }

    /// For how many seconds it is younger than `limit`; below zero when it isn't.
    pub(super) fn left_of(&self, limit: Duration) -> i64 {
        let (age, limit) = (self.age(), limit);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        if age < limit { seconds(limit - age) } else { -seconds(age - limit) }
    }
}
