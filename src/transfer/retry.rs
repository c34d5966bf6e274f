use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorCode, ErrorKind};

/// How often something is tried in all. What the leaf below tries again by itself comes on top.
const TRIES: u32 = 3;

/// The pause before the second try; it doubles before the next.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest `Retry-After` that is waited for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The tries of one piece of work.
#[derive(Debug)]
pub(super) struct Tries(u32);

impl Tries {
    pub(super) fn new() -> Self {
        Self(0)
    }

    /// Waits until another try makes sense after one that ended with `error`.
    ///
    /// # Errors
    ///
    /// `error` itself, when another try wouldn't mend it, or there were enough.
    pub(super) async fn again(&mut self, error: Error) -> Result<(), Error> {
        self.0 += 1;
        let Some(pause) = pause(&error, self.0) else { return Err(error) };
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause after so many tries, of which the last ended with `error`; none when there should be no other.
fn pause(error: &Error, tries: u32) -> Option<Duration> {
    let passes = matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::BadGateway | ErrorKind::TimedOut | ErrorKind::TooManyRequests
    );
    if tries >= TRIES || !(passes || error.code() == ErrorCode::BlobUploadUnknown) {
        return None;
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1));
    match error.retry_after().map(|after| after.delay_from(SystemTime::now())) {
        Some(demanded) if demanded > LONGEST_RETRY_AFTER => None,
        Some(demanded) => Some(pause.max(demanded)),
        None => Some(pause),
    }
}
