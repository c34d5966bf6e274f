use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorCode, ErrorKind};

/// How often something is tried in all. What the leaf below tries again by itself comes on top.
const TRIES: u32 = 3;

/// The pause before the second try; it doubles before the next.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest `Retry-After` that is waited for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Does `work` until it is done, or fails in a way that another try won't mend.
pub(super) async fn retried<T>(work: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(pause) = pause(&error, tries) else { return Err(error) };
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        tries += 1;
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
