use std::time::Duration;

use super::{ManualClock, Time, is_absent, is_there};
use crate::error::{Error, ErrorKind};
use crate::store::Records;

/// Checks that `records`, which has to be empty and to have room for two records and no more, refuses what it has no room
/// for, and evicts nothing; afterwards it is empty again.
///
/// The records are of less than 100 bytes each. `clock` is that of [`conformance`](super::conformance).
///
/// # Errors
///
/// What the store fails with where it shouldn't.
///
/// # Panics
///
/// When the store does something else than it should.
pub async fn full(records: &dyn Records, clock: Option<&ManualClock>) -> Result<(), Error> {
    let (time, second) = (Time(clock), Duration::from_secs(1));
    records.put("suite/a", "1".into(), time.now() + second).await?;
    records.put("suite/b", "1".into(), time.later()).await?;
    is_refused(records, "suite/c", &time).await;
    is_there(records, "suite/a", &"1".into()).await?;
    is_absent(records, "suite/c", "when there was no room").await?;
    // A replacement needs no room, and neither does what has ended already.
    records.put("suite/b", "2".into(), time.later()).await?;
    records.put("suite/c", "2".into(), time.now() - second).await?;
    is_refused(records, "suite/c", &time).await;
    // What has ended makes some.
    time.pass(second).await;
    records.put("suite/c", "3".into(), time.later()).await?;
    is_refused(records, "suite/a", &time).await;
    is_there(records, "suite/b", &"2".into()).await?;
    is_there(records, "suite/c", &"3".into()).await?;
    // And so does what is removed.
    assert!(records.remove("suite/b").await?);
    records.put("suite/a", "4".into(), time.later()).await?;
    assert!(records.remove("suite/a").await?);
    assert!(records.remove("suite/c").await?);
    Ok(())
}

async fn is_refused(records: &dyn Records, key: &str, time: &Time<'_>) {
    let kind = records.put(key, "9".into(), time.later()).await.map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::Unavailable), "`{key}` into a full store");
}
