//! Records in an index.

mod layout;

use std::fmt;
#[cfg(feature = "redb")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use self::layout::Moment;
use super::index::{Batch, Index, answers};
use super::records::Records;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::BoxFuture;
use crate::rt::{Clock, blocking};

/// Records in an [`Index`], up to a number and a total size: in a file, they outlive the process.
///
/// It is full when either limit is reached by *live* records: then it refuses, and evicts nothing. Records whose moment
/// has come make room first: every write takes out a few of them, and [`IndexRecords::sweep`] all. A value has up to
/// [`IndexRecords::MAX_VALUE`] bytes, a key up to [`IndexRecords::MAX_KEY`].
///
/// What was put outlives the process if the index does: over a `RedbIndex` it is there after a kill, and writes that come
/// at the same time are committed together. A call whose future is dropped may still take effect.
///
/// All its keys in the index begin with one of the letters `E`, `P`, `R` and `U`; clones share it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use std::time::{Duration, SystemTime};
/// use tower_oci::store::index::MemoryIndex;
/// use tower_oci::store::{IndexRecords, Records};
///
/// let records = IndexRecords::new(MemoryIndex::new()).max_bytes(1 << 30);
/// let expires = SystemTime::now() + Duration::from_secs(60);
/// records.put("example/1", "value".into(), expires).await?;
/// assert_eq!(records.get("example/1").await?.as_deref(), Some(&b"value"[..]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct IndexRecords {
    index: Arc<dyn Index>,
    limits: Limits,
    clock: Clock,
}

/// How much is kept, what has ended and wasn't swept yet included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many records.
    pub records: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    records: u64,
    bytes: u64,
}

impl IndexRecords {
    /// The longest value, in bytes: 64 MiB.
    pub const MAX_VALUE: usize = MAX_VALUE;

    /// The longest key, in bytes: 1 KiB.
    pub const MAX_KEY: usize = 1024;

    /// How many live records there may be unless [`IndexRecords::max_records`] says otherwise: a million.
    pub const DEFAULT_MAX_RECORDS: u64 = 1_000_000;

    /// The total size of keys and values unless [`IndexRecords::max_bytes`] says otherwise: 1 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// Records in `index`, with those that are there already.
    pub fn new(index: impl Index) -> Self {
        let limits = Limits { records: Self::DEFAULT_MAX_RECORDS, bytes: Self::DEFAULT_MAX_BYTES };
        Self { index: Arc::new(index), limits, clock: Clock::system() }
    }

    /// Records in the file `path`, which is made if need be, without those that have ended meanwhile. One process opens
    /// it at a time, once.
    ///
    /// What was put outlives the process, but isn't safe from a loss of power, which may put the file beyond use: see
    /// [`RedbIndexBuilder::sync`](super::index::RedbIndexBuilder::sync).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("records");
    /// use std::time::{Duration, SystemTime};
    /// use tower_oci::store::{IndexRecords, Records};
    ///
    /// let expires = SystemTime::now() + Duration::from_secs(60);
    /// IndexRecords::open(&path).await?.put("example/1", "value".into(), expires).await?;
    /// // Or another process, later.
    /// let records = IndexRecords::open(&path).await?;
    /// assert_eq!(records.get("example/1").await?.as_deref(), Some(&b"value"[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the file can't be made or read, holds something else, or is open elsewhere.
    #[cfg(feature = "redb")]
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let index = blocking(move || super::index::RedbIndex::open(path)).await??;
        let records = Self::new(index);
        records.sweep().await?;
        Ok(records)
    }

    /// The same for up to `max_records` live records.
    #[must_use]
    pub fn max_records(mut self, max_records: u64) -> Self {
        self.limits.records = max_records;
        self
    }

    /// The same for up to `max_bytes` of keys and values.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.limits.bytes = max_bytes;
        self
    }

    /// The same with another clock: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How much is kept.
    ///
    /// # Errors
    ///
    /// When the index is out of order, or its records are of another version.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let index = Arc::clone(&self.index);
        blocking(move || answers::read(&*index, layout::usage)).await?
    }

    /// Takes out all records that have ended, a thousand at a time. Answers how many those were.
    ///
    /// Writes do so little by little. This is for the start of a process, and for one that hardly writes.
    ///
    /// # Errors
    ///
    /// When the index is out of order, or its records are of another version.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let mut swept = 0;
        loop {
            let now = Moment::new(self.clock.now());
            let some = self.write(move |batch| changed(batch, |batch, usage| sweep(batch, usage, now, MANY)));
            match some.await? {
                0 => return Ok(swept),
                some => swept += some as u64,
            }
        }
    }

    /// Writes on a thread where it holds up nothing else.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Batch) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let index = Arc::clone(&self.index);
        blocking(move || answers::write(&*index, work)).await?
    }

    async fn put(&self, key: &str, value: Bytes, expires: SystemTime) -> Result<(), Error> {
        check(key)?;
        if value.len() > MAX_VALUE {
            let message =
                format!("a record of {} bytes is more than the {MAX_VALUE} that may be kept", value.len());
            return Err(Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message));
        }
        let (limits, key, end): (_, Arc<str>, _) = (self.limits, key.into(), Moment::new(expires));
        loop {
            let (key, value, now) = (Arc::clone(&key), value.clone(), Moment::new(self.clock.now()));
            let put = self.write(move |batch| {
                changed(batch, |batch, usage| limits.put(batch, usage, &key, &value, end, now))
            });
            match put.await? {
                Put::Done => return Ok(()),
                Put::Full(error) => return Err(error),
                Put::Sweeping => {}
            }
        }
    }
}

/// What came of putting a record. Whatever it is, what was swept on the way is to be kept.
enum Put {
    Done,
    /// There is no room, but some was made and there may be more to sweep.
    Sweeping,
    Full(Error),
}

impl Limits {
    fn put(
        self,
        batch: &mut dyn Batch,
        usage: &mut Usage,
        key: &str,
        value: &[u8],
        end: Moment,
        now: Moment,
    ) -> Result<Put, Error> {
        let swept = sweep(batch, usage, now, SOME)?;
        let (old, more) = (layout::head(batch, key)?, (key.len() + value.len()) as u64);
        if end > now {
            let replaced = old.map(|old| old.weight(key));
            if let Some(error) = self.full(*usage, replaced, more) {
                return Ok(if swept == SOME { Put::Sweeping } else { Put::Full(error) });
            }
        }
        if let Some(old) = old {
            layout::delete(batch, key, old)?;
            usage.less(old.weight(key));
        }
        if end > now {
            layout::insert(batch, key, value, end)?;
            usage.more(more);
        }
        Ok(Put::Done)
    }

    /// Why there is no room for `more` bytes, in place of the record of so many that is `replaced`.
    fn full(self, usage: Usage, replaced: Option<u64>, more: u64) -> Option<Error> {
        let others = usage.bytes.saturating_sub(replaced.unwrap_or_default());
        let what = if replaced.is_none() && usage.records >= self.records {
            format!("{} of {} records", usage.records, self.records)
        } else if others.saturating_add(more) > self.bytes {
            format!("{} of {} bytes, and {more} more were to be kept", usage.bytes, self.bytes)
        } else {
            return None;
        };
        Some(Error::unavailable(format!("the record store is full: it holds {what}; try again later")))
    }
}

impl Usage {
    fn more(&mut self, bytes: u64) {
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn less(&mut self, bytes: u64) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Does `work` and writes down what it has made of the usage.
fn changed<T>(
    batch: &mut dyn Batch,
    work: impl FnOnce(&mut dyn Batch, &mut Usage) -> Result<T, Error>,
) -> Result<T, Error> {
    let before = layout::usage(batch)?;
    let mut usage = before;
    let answer = work(batch, &mut usage)?;
    if usage != before {
        layout::set_usage(batch, usage)?;
    }
    Ok(answer)
}

/// Takes out up to `max` records that have ended. Answers how many.
fn sweep(batch: &mut dyn Batch, usage: &mut Usage, now: Moment, max: usize) -> Result<usize, Error> {
    let ended = layout::ended(batch, now, max)?;
    for (key, head) in &ended {
        layout::delete(batch, key, *head)?;
        usage.less(head.weight(key));
    }
    Ok(ended.len())
}

/// Takes out what is under `key`. Answers whether it was live.
fn remove(batch: &mut dyn Batch, usage: &mut Usage, key: &str, now: Moment) -> Result<bool, Error> {
    let Some(old) = layout::head(batch, key)? else { return Ok(false) };
    layout::delete(batch, key, old)?;
    usage.less(old.weight(key));
    Ok(old.end > now)
}

fn check(key: &str) -> Result<(), Error> {
    if key.len() <= IndexRecords::MAX_KEY {
        return Ok(());
    }
    Err(Error::internal(format!(
        "a record's key of {} bytes is longer than {}",
        key.len(),
        IndexRecords::MAX_KEY
    )))
}

impl Records for IndexRecords {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move {
            let (index, key): (_, Box<str>) = (Arc::clone(&self.index), key.into());
            let now = Moment::new(self.clock.now());
            blocking(move || answers::read(&*index, |view| layout::value(view, &key, now))).await?
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expires: SystemTime,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.put(key, value, expires))
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let (key, now): (Box<str>, _) = (key.into(), Moment::new(self.clock.now()));
            self.write(move |batch| changed(batch, |batch, usage| remove(batch, usage, &key, now))).await
        })
    }
}

impl fmt::Debug for IndexRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexRecords")
            .field("index", &self.index)
            .field("max_records", &self.limits.records)
            .field("max_bytes", &self.limits.bytes)
            .finish()
    }
}

const MAX_VALUE: usize = 64 << 20;

/// How many records that have ended a put takes out: more than it adds, so that they don't gather.
const SOME: usize = 32;

/// And a sweep at a time.
const MANY: usize = 1000;

#[cfg(test)]
mod tests;
