use std::time::Duration;

use super::{Time, is_absent, is_there};
use crate::error::Error;
use crate::store::Records;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn are_kept_to(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let end = time.now() + SECOND;
    records.put("suite/soon", "1".into(), end).await?;
    records.put("suite/gone", "1".into(), end).await?;
    records.put("suite/later", "1".into(), time.later()).await?;
    if time.0.is_some() {
        time.pass(SECOND - Duration::from_micros(1)).await;
        is_there(records, "suite/soon", &"1".into()).await?;
        time.pass(Duration::from_micros(1)).await;
    } else {
        time.pass(SECOND).await;
    }
    is_absent(records, "suite/soon", "when its moment has come").await?;
    assert!(!records.remove("suite/gone").await?, "what has ended can't be removed");
    is_there(records, "suite/later", &"1".into()).await?;
    // What has ended may come again.
    records.put("suite/soon", "2".into(), time.later()).await?;
    is_there(records, "suite/soon", &"2".into()).await?;
    assert!(records.remove("suite/soon").await?);
    assert!(records.remove("suite/later").await?);
    Ok(())
}

pub(super) async fn are_those_of_the_last_put(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let (soon, later) = (time.now() + SECOND, time.later());
    for (key, ends) in [("suite/longer", [soon, later]), ("suite/shorter", [later, soon])] {
        for end in ends {
            records.put(key, "1".into(), end).await?;
        }
    }
    time.pass(SECOND).await;
    is_there(records, "suite/longer", &"1".into()).await?;
    is_absent(records, "suite/shorter", "when its new moment has come").await?;
    assert!(records.remove("suite/longer").await?);
    Ok(())
}

/// A record that has ended when it is put is none, and takes the place of the one that was there.
pub(super) async fn may_have_passed(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let past = [time.now() - SECOND, std::time::SystemTime::UNIX_EPOCH];
    for end in past {
        records.put("suite/past", "1".into(), end).await?;
        is_absent(records, "suite/past", "when its moment had come before").await?;
        records.put("suite/past", "1".into(), time.later()).await?;
        records.put("suite/past", "2".into(), end).await?;
        is_absent(records, "suite/past", "when its moment had come before").await?;
    }
    Ok(())
}

/// As many as there may be end at one moment, and as many come after them.
pub(super) async fn come_for_many(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let keys: Vec<String> = (0..super::RECORDS).map(|number| format!("suite/many/{number}")).collect();
    let end = time.now() + 2 * SECOND;
    for key in &keys {
        records.put(key, "1".into(), end).await?;
    }
    time.pass(2 * SECOND).await;
    for key in keys.iter().rev() {
        records.put(key, "2".into(), time.later()).await?;
    }
    for key in &keys {
        is_there(records, key, &"2".into()).await?;
        assert!(records.remove(key).await?, "{key}");
    }
    Ok(())
}
