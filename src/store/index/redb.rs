use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    BackendError, Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable, StorageBackend,
    Table, TableDefinition,
};

use super::group::{Group, Job, again};
use super::{Batch, Index, View, Work};
use crate::error::Error;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");

/// An index in a file, in the format of [redb](https://docs.rs/redb). One process opens it at a time, once.
///
/// What was written is in the hands of the system when [`write`](Index::write) returns, so that a process that is
/// killed loses nothing. With [`sync`](RedbIndexBuilder::sync) it is on the disk itself. Writes that come while another
/// one is committed are committed together.
///
/// After a process that was killed, opening reads the whole file once. When the disk has failed, every call fails until
/// the index is opened again.
pub struct RedbIndex {
    database: Database,
    group: Group,
    sync: bool,
}

impl RedbIndex {
    /// Opens the index in the file `path`, which is made if need be, with the settings of [`RedbIndex::builder`].
    /// It blocks the thread.
    ///
    /// # Errors
    ///
    /// When the file can't be made or read, is no index, or is open elsewhere.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).open()
    }

    /// Settings for an index in the file `path`.
    pub fn builder(path: impl Into<PathBuf>) -> RedbIndexBuilder {
        RedbIndexBuilder { path: path.into(), sync: false, cache_bytes: 64 << 20 }
    }

    /// Runs the work of `jobs` in one transaction. One that fails after it has written makes a second try without it
    /// necessary.
    fn commit(&self, jobs: &[Arc<Job>]) {
        loop {
            let waiting: Vec<&Arc<Job>> = jobs.iter().filter(|job| !job.is_settled()).collect();
            if waiting.is_empty() {
                return;
            }
            match self.transaction(&waiting) {
                Ok(true) => waiting.iter().for_each(|job| job.settle(Ok(()))),
                Ok(false) => {}
                Err(error) => waiting.iter().for_each(|job| job.settle(Err(again(&error)))),
            }
        }
    }

    /// Answers whether all was committed that hasn't failed.
    fn transaction(&self, jobs: &[&Arc<Job>]) -> Result<bool, Error> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let (mut is_changed, mut is_broken) = (false, false);
        {
            let table = transaction.open_table(TABLE).map_err(failed)?;
            let mut batch = Writing { table, is_changed: false };
            for job in jobs {
                batch.is_changed = false;
                let result = (job.work())(&mut batch);
                is_changed |= batch.is_changed;
                if let Err(error) = result {
                    is_broken = batch.is_changed;
                    job.settle(Err(error));
                }
                if is_broken {
                    break;
                }
            }
        }
        if is_changed && !is_broken {
            transaction.commit().map_err(failed)?;
        } else {
            transaction.abort().map_err(failed)?;
        }
        Ok(!is_broken)
    }
}

/// Settings of a [`RedbIndex`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RedbIndexBuilder {
    path: PathBuf,
    sync: bool,
    cache_bytes: usize,
}

impl RedbIndexBuilder {
    /// Whether what is written is on the disk itself before [`write`](Index::write) returns (default: no).
    ///
    /// Without it nothing is lost when the process is killed, but when the machine loses power the index may be damaged,
    /// or even be beyond use. With it, each group of writes costs the disk a flush or two.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// How much memory its cache may take, in bytes: 64 MiB when not set.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Opens the index. It blocks the thread.
    ///
    /// # Errors
    ///
    /// When the file can't be made or read, is no index, or is open elsewhere.
    pub fn open(self) -> Result<RedbIndex, Error> {
        let file = private_file(&self.path).map_err(|error| opening_failed(&self.path, error))?;
        let backend = FileBackend::new(file).map_err(|error| opening_failed(&self.path, error))?;
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        let database = if self.sync {
            builder.create_with_backend(backend)
        } else {
            builder.create_with_backend(Unsynced(backend))
        };
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Error::unavailable(format!("the index `{}` is open elsewhere", self.path.display()))
            }
            error => opening_failed(&self.path, error),
        })?;
        let index = RedbIndex { database, group: Group::default(), sync: self.sync };
        // So that every read finds the table.
        let transaction = index.database.begin_write().map_err(failed)?;
        transaction.open_table(TABLE).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(index)
    }
}

impl Index for RedbIndex {
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(TABLE).map_err(failed)?;
        work(&Reading(table))
    }

    fn write(&self, work: Work) -> Result<(), Error> {
        self.group.run(work, |jobs| self.commit(jobs))
    }
}

impl fmt::Debug for RedbIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbIndex").field("sync", &self.sync).finish_non_exhaustive()
    }
}

struct Reading<T>(T);

impl<T: ReadableTable<&'static [u8], &'static [u8]>> View for Reading<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        get(&self.0, key)
    }

    fn scan(
        &self,
        first: &[u8],
        end: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        scan(&self.0, first, end, each)
    }
}

struct Writing<'a> {
    table: Table<'a, &'static [u8], &'static [u8]>,
    is_changed: bool,
}

impl View for Writing<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        get(&self.table, key)
    }

    fn scan(
        &self,
        first: &[u8],
        end: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        scan(&self.table, first, end, each)
    }
}

impl Batch for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.is_changed = true;
        self.table.insert(key, value).map(drop).map_err(failed)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.is_changed = true;
        self.table.remove(key).map(|old| old.is_some()).map_err(failed)
    }
}

fn get(table: &impl ReadableTable<&'static [u8], &'static [u8]>, key: &[u8]) -> Result<Option<Bytes>, Error> {
    let found = table.get(key).map_err(failed)?;
    Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    first: &[u8],
    end: &[u8],
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), Error> {
    if first >= end {
        return Ok(());
    }
    let range = (Bound::Included(first), Bound::Excluded(end));
    for entry in table.range::<&[u8]>(range).map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        if !each(key.value(), value.value()) {
            break;
        }
    }
    Ok(())
}

/// A file whose writes reach the system, but not necessarily the disk.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

/// Opens a file for reading and writing, for this user alone, and makes it if need be.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn opening_failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable(format!("opening the index `{}` failed: {error}", path.display())).with_source(error)
}

/// The error for people. The message names no path: it may reach clients.
fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    Error::unavailable(format!("the index failed: {error}")).with_source(error)
}
