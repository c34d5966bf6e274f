use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::{Time, content, is_absent, is_there};
use crate::error::Error;
use crate::store::Records;

/// Put, get, replace, remove: nothing, little, and as much as a record may have.
pub(super) async fn come_back(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let mebi = 1 << 20;
    for length in [0, 1, 1000, mebi - 8192, mebi - 8191, mebi, 2 * mebi - 16384, 32 * mebi] {
        let key = "suite/value";
        is_absent(records, key, "before the put").await?;
        let value = content(length, 1);
        records.put(key, value.clone(), time.later()).await?;
        is_there(records, key, &value).await?;
        for other in [content(length / 3, 2), content(length.min(mebi) + 5, 3), Bytes::new()] {
            records.put(key, other.clone(), time.later()).await?;
            is_there(records, key, &other).await?;
        }
        records.put(key, value.clone(), time.later()).await?;
        is_there(records, key, &value).await?;
        assert!(records.remove(key).await?, "{length} bytes were there");
        is_absent(records, key, "after the removal").await?;
    }
    Ok(())
}

/// Keys that begin with one another, and the longest.
pub(super) async fn are_apart(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let long = format!("suite/{}", "~".repeat(506));
    let keys = ["suite/a", "suite/a/", "suite/a/1", "suite/a/10", "suite/a!", "suite/A", "suite/b", &long];
    for key in keys {
        records.put(key, key.into_value(), time.later()).await?;
    }
    for gone in keys {
        assert!(records.remove(gone).await?, "{gone}");
        is_absent(records, gone, "after the removal").await?;
        for key in keys.iter().skip_while(|key| **key != gone).skip(1) {
            is_there(records, key, &key.into_value()).await?;
        }
    }
    Ok(())
}

trait IntoValue {
    fn into_value(self) -> Bytes;
}

impl IntoValue for &str {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

pub(super) async fn come_from_several_at_once(records: &dyn Records, time: &Time<'_>) -> Result<(), Error> {
    let keys: Vec<String> = (0..64).map(|number| format!("suite/{number}")).collect();
    try_join_all(keys.iter().map(|key| records.put(key, key.as_str().into_value(), time.later()))).await?;
    // While one half is replaced the other is removed.
    let changes = keys.iter().enumerate().map(async |(number, key)| {
        if number % 2 == 0 {
            return records.put(key, "other".into(), time.later()).await;
        }
        assert!(records.remove(key).await?, "{key}");
        Ok(())
    });
    try_join_all(changes).await?;
    for (number, key) in keys.iter().enumerate() {
        if number % 2 == 0 {
            is_there(records, key, &Bytes::from("other")).await?;
        } else {
            is_absent(records, key, "after the removal").await?;
        }
    }
    // Of those who take the same one away, one does.
    for key in keys.iter().step_by(2) {
        let taken = join_all((0..3).map(|_| records.remove(key))).await;
        let taken: Result<Vec<bool>, Error> = taken.into_iter().collect();
        assert_eq!(taken?.iter().filter(|taken| **taken).count(), 1, "{key}");
    }
    // Of those who put the same one, one was the last, and it is there whole.
    let values: Vec<Bytes> = (0..8).map(|seed| content(3 << 20, seed)).collect();
    let key = "suite/same";
    try_join_all(values.iter().map(|value| records.put(key, value.clone(), time.later()))).await?;
    let last = records.get(key).await?;
    assert!(last.is_some_and(|last| values.contains(&last)), "one of them is there");
    assert!(records.remove(key).await?);
    Ok(())
}
