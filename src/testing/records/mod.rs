//! The suite for stores of records: what every [`Records`] does, seen from outside.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::store::MemoryRecords;
//! use tower_oci::testing::records::{CAPACITY, RECORDS, ManualClock, conformance};
//!
//! let clock = ManualClock::new();
//! let records = MemoryRecords::with_capacity(RECORDS).max_bytes(CAPACITY).clock(clock.clock());
//! conformance(&records, Some(&clock)).await?;
//! # Ok(()) }
//! ```

mod clock;
mod ends;
mod full;
mod values;

use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use self::clock::ManualClock;
pub use self::full::full;
use crate::error::Error;
use crate::store::Records;

/// How many bytes of keys and values a store must have room for while the suite runs: 48 MiB.
pub const CAPACITY: usize = 48 << 20;

/// How many records it must have room for: 200.
pub const RECORDS: usize = 200;

/// Checks that `records`, which has to be empty, does what [`Records`] says; afterwards it is empty again.
///
/// It needs a tokio runtime, and room for [`RECORDS`] records and [`CAPACITY`] bytes. The store goes by `clock`, which
/// the suite moves on; where there is none it waits, for some seconds. What a store does that is full is for [`full`].
///
/// # Errors
///
/// What the store fails with where it shouldn't.
///
/// # Panics
///
/// When the store does something else than it should.
pub async fn conformance(records: &dyn Records, clock: Option<&ManualClock>) -> Result<(), Error> {
    let time = Time(clock);
    values::come_back(records, &time).await?;
    values::are_apart(records, &time).await?;
    values::come_from_several_at_once(records, &time).await?;
    ends::are_kept_to(records, &time).await?;
    ends::are_those_of_the_last_put(records, &time).await?;
    ends::may_have_passed(records, &time).await?;
    ends::come_for_many(records, &time).await
}

/// The time that a store goes by.
struct Time<'a>(Option<&'a ManualClock>);

impl Time<'_> {
    fn now(&self) -> SystemTime {
        self.0.map_or_else(SystemTime::now, ManualClock::now)
    }

    fn later(&self) -> SystemTime {
        self.now() + Duration::from_secs(3600)
    }

    async fn pass(&self, time: Duration) {
        match self.0 {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }
}

/// `length` bytes that differ by `seed` and don't repeat with any power of two.
fn content(length: usize, seed: u8) -> Bytes {
    let pattern: Vec<u8> = (0..251).map(|byte| byte ^ seed).collect();
    let mut content = pattern.repeat(length.div_ceil(pattern.len()));
    content.truncate(length);
    content.into()
}

async fn is_there(records: &dyn Records, key: &str, value: &Bytes) -> Result<(), Error> {
    let found = records.get(key).await?;
    let length = found.as_ref().map(Bytes::len);
    assert!(found.as_ref() == Some(value), "`{key}` of {} bytes came back as {length:?}", value.len());
    Ok(())
}

/// Checks that nobody can see `key`.
async fn is_absent(records: &dyn Records, key: &str, when: &str) -> Result<(), Error> {
    assert_eq!(records.get(key).await?.map(|value| value.len()), None, "get `{key}` {when}");
    assert!(!records.remove(key).await?, "remove `{key}` {when}");
    Ok(())
}
