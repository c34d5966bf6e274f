use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::records::Records;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::Clock;

/// Records in the memory of this process, up to a number and a total size. They are gone when the process ends.
///
/// It is full when either limit is reached by *live* records: then it refuses, and evicts nothing. Records whose
/// moment has come make room first. Values are kept as they are handed over: one that is a slice keeps the whole of its
/// buffer alive.
#[derive(Clone)]
pub struct MemoryRecords {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

struct Inner {
    records: HashMap<Arc<str>, Record>,
    /// The same records in the order in which they end.
    ends: BTreeSet<(SystemTime, Arc<str>)>,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
}

struct Record {
    value: Bytes,
    expires: SystemTime,
}

impl MemoryRecords {
    /// The total size of keys and values unless [`MemoryRecords::max_bytes`] says otherwise: 256 MiB.
    pub const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;

    /// A store for up to `max_records` live records, of [`MemoryRecords::DEFAULT_MAX_BYTES`] in all.
    #[must_use]
    pub fn with_capacity(max_records: usize) -> Self {
        let inner = Inner {
            records: HashMap::new(),
            ends: BTreeSet::new(),
            bytes: 0,
            max_records,
            max_bytes: Self::DEFAULT_MAX_BYTES,
        };
        Self { inner: Arc::new(Mutex::new(inner)), clock: Clock::system() }
    }

    /// The same store for up to `max_bytes` of keys and values.
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        self.lock().max_bytes = max_bytes;
        self
    }

    /// The same store with another clock: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many records there are, those included that have ended and were not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&mut self, key: &str, now: SystemTime) -> Option<Bytes> {
        let record = self.records.get(key)?;
        if record.expires > now {
            return Some(record.value.clone());
        }
        self.take(key);
        None
    }

    fn put(&mut self, key: &str, value: Bytes, expires: SystemTime, now: SystemTime) -> Result<(), Error> {
        self.sweep(now);
        if expires <= now {
            self.take(key);
            return Ok(());
        }
        let replaced = self.records.get(key).map_or(0, |old| weight(key, &old.value));
        let (records, bytes) = (self.records.len(), weight(key, &value));
        if replaced == 0 && records >= self.max_records {
            return Err(full(format_args!("{records} of {} records", self.max_records)));
        }
        if (self.bytes - replaced).saturating_add(bytes) > self.max_bytes {
            return Err(full(format_args!(
                "{} of {} bytes, and {bytes} more were to be kept",
                self.bytes, self.max_bytes
            )));
        }
        self.take(key);
        let key: Arc<str> = key.into();
        self.bytes += bytes;
        self.ends.insert((expires, Arc::clone(&key)));
        self.records.insert(key, Record { value, expires });
        Ok(())
    }

    fn take(&mut self, key: &str) -> Option<Record> {
        let (key, record) = self.records.remove_entry(key)?;
        self.bytes -= weight(&key, &record.value);
        self.ends.remove(&(record.expires, key));
        Some(record)
    }

    fn sweep(&mut self, now: SystemTime) {
        while let Some((expires, key)) = self.ends.first().cloned()
            && expires <= now
        {
            self.take(&key);
        }
    }
}

/// What a record counts for: never zero, since no key is empty.
fn weight(key: &str, value: &[u8]) -> usize {
    key.len().max(1) + value.len()
}

fn full(what: fmt::Arguments<'_>) -> Error {
    Error::unavailable(format!("the record store is full: it holds {what}; try again later"))
}

impl Records for MemoryRecords {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        let value = self.lock().get(key, self.clock.now());
        Box::pin(ready(Ok(value)))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expires: SystemTime,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let put = self.lock().put(key, value, expires, self.clock.now());
        Box::pin(ready(put))
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        let now = self.clock.now();
        let removed = self.lock().take(key).is_some_and(|record| record.expires > now);
        Box::pin(ready(Ok(removed)))
    }
}

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("MemoryRecords")
            .field("records", &inner.records.len())
            .field("max_records", &inner.max_records)
            .field("bytes", &inner.bytes)
            .field("max_bytes", &inner.max_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;

    /// A store with a clock that the test moves, in seconds.
    fn store(max_records: usize) -> (MemoryRecords, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(100));
        let read = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || at(read.load(Ordering::Relaxed)));
        (MemoryRecords::with_capacity(max_records).clock(clock), seconds)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_record_is_there_until_its_moment() {
        let (records, now) = store(10);
        records.put("a", "1".into(), at(110)).await.unwrap();
        records.put("a", "2".into(), at(120)).await.unwrap();
        now.store(119, Ordering::Relaxed);
        assert_eq!(records.get("a").await.unwrap(), Some(Bytes::from("2")));
        now.store(120, Ordering::Relaxed);
        assert_eq!(records.get("a").await.unwrap(), None);
        assert!(records.is_empty());
        assert_eq!(
            format!("{records:?}"),
            "MemoryRecords { records: 0, max_records: 10, bytes: 0, max_bytes: 268435456 }"
        );
        assert!(records.lock().ends.is_empty());
        assert!(!records.remove("a").await.unwrap());
    }

    #[tokio::test]
    async fn a_full_store_refuses_and_keeps_what_is_live() {
        let (records, now) = store(2);
        records.put("a", "1".into(), at(110)).await.unwrap();
        records.put("b", "1".into(), at(120)).await.unwrap();
        let error = records.put("c", "1".into(), at(130)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "the record store is full: it holds 2 of 2 records; try again later");
        // A replacement needs no room, and what has ended makes some.
        records.put("b", "2".into(), at(120)).await.unwrap();
        now.store(110, Ordering::Relaxed);
        records.put("c", "1".into(), at(130)).await.unwrap();
        assert_eq!(records.get("a").await.unwrap(), None);
        assert_eq!(records.get("b").await.unwrap(), Some(Bytes::from("2")));
        assert!(records.remove("b").await.unwrap());
        records.put("d", "1".into(), at(130)).await.unwrap();
    }

    #[tokio::test]
    async fn bytes_are_counted_keys_included() {
        let (records, _) = store(10);
        let records = records.max_bytes(10);
        records.put("a", "1234".into(), at(110)).await.unwrap();
        let error = records.put("b", "12345".into(), at(110)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record store is full: it holds 5 of 10 bytes, and 6 more were to be kept; try again later"
        );
        records.put("b", "1234".into(), at(110)).await.unwrap();
        // A refused replacement leaves the old value.
        records.put("b", "12345".into(), at(110)).await.unwrap_err();
        assert_eq!(records.get("b").await.unwrap(), Some(Bytes::from("1234")));
        assert_eq!(
            format!("{records:?}"),
            "MemoryRecords { records: 2, max_records: 10, bytes: 10, max_bytes: 10 }"
        );
    }
}
