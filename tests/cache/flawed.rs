//! A store that fails as a test tells it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tower_oci::error::Error;
use tower_oci::operation::BoxFuture;
use tower_oci::spec::digest::{Algorithm, Digest};
use tower_oci::spec::range::ByteRange;
use tower_oci::store::blobs::{BlobInfo, BlobStore, BlobWriter, MemoryBlobs, Spool, StoredBlob, Usage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Nothing can be begun.
    Create,
    /// It never answers who begins.
    Hang,
    /// The write with this number fails, from 0, and what comes after it.
    Write(usize),
    /// Nothing can be committed; what was written can still be read.
    Commit,
    /// Nothing can be committed, and what was written is gone.
    Gone,
    /// What was written can't be read back after the write with this number has failed.
    Unreadable(usize),
    /// What is kept can't be opened.
    Get,
    /// It takes a second to tell what it has found.
    Stat,
}

/// Blobs in memory, with a flaw.
#[derive(Clone, Debug)]
pub(crate) struct Flawed {
    blobs: MemoryBlobs,
    flaw: Arc<Mutex<Flaw>>,
}

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { blobs: MemoryBlobs::with_capacity(1 << 26), flaw: Arc::new(Mutex::new(flaw)) }
    }

    pub(crate) fn set(&self, flaw: Flaw) {
        *self.flaw.lock().unwrap() = flaw;
    }

    fn flaw(&self) -> Flaw {
        *self.flaw.lock().unwrap()
    }
}

fn broken(what: &str) -> Error {
    Error::unavailable(format!("the store is broken: {what}"))
}

impl BlobStore for Flawed {
    fn stat(&self, digest: Digest) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(async move {
            let found = self.blobs.stat(digest).await;
            if self.flaw() == Flaw::Stat {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            found
        })
    }

    fn get(
        &self,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'_, Result<Option<StoredBlob>, Error>> {
        match self.flaw() {
            Flaw::Get => Box::pin(async { Err(broken("get")) }),
            _ => self.blobs.get(digest, range),
        }
    }

    fn create(
        &self,
        algorithm: Algorithm,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, Error>> {
        Box::pin(async move {
            match self.flaw() {
                Flaw::Create => return Err(broken("create")),
                Flaw::Hang => std::future::pending().await,
                _ => {}
            }
            let inner = self.blobs.create(algorithm, size).await?;
            let spool = inner.spool();
            let kept = Mutex::new(None);
            let spool = Arc::new(FlawedSpool { spool, kept, is_broken: Mutex::new(false) });
            let writer = FlawedWriter { inner, spool, writes: 0, flaw: self.flaw() };
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn touch(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        self.blobs.touch(digest)
    }

    fn remove(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        self.blobs.remove(digest)
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, Error>> {
        self.blobs.usage()
    }

    fn list(&self, after: Option<Digest>, max: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, Error>> {
        self.blobs.list(after, max)
    }
}

#[derive(Debug)]
struct FlawedWriter {
    inner: Box<dyn BlobWriter>,
    spool: Arc<FlawedSpool>,
    writes: usize,
    flaw: Flaw,
}

impl BlobWriter for FlawedWriter {
    fn written(&self) -> u64 {
        self.inner.written()
    }

    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        let write = self.writes;
        self.writes += 1;
        match self.flaw {
            Flaw::Write(nth) if write >= nth => Box::pin(async { Err(broken("write")) }),
            Flaw::Unreadable(nth) if write >= nth => {
                *self.spool.is_broken.lock().unwrap() = true;
                Box::pin(async { Err(broken("write")) })
            }
            _ => self.inner.write(data),
        }
    }

    fn spool(&self) -> Arc<dyn Spool> {
        Arc::clone(&self.spool) as Arc<dyn Spool>
    }

    fn commit(self: Box<Self>, digest: Digest, size: u64) -> BoxFuture<'static, Result<(), Error>> {
        let Self { inner, spool, flaw, .. } = *self;
        match flaw {
            Flaw::Commit => {
                *spool.kept.lock().unwrap() = Some(inner);
                Box::pin(async { Err(broken("commit")) })
            }
            Flaw::Gone => Box::pin(async { Err(broken("commit")) }),
            _ => inner.commit(digest, size),
        }
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.inner.abort()
    }
}

struct FlawedSpool {
    spool: Arc<dyn Spool>,
    /// What keeps the content there.
    kept: Mutex<Option<Box<dyn BlobWriter>>>,
    is_broken: Mutex<bool>,
}

impl Spool for FlawedSpool {
    fn written(&self) -> u64 {
        self.spool.written()
    }

    fn read_back(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, Error>> {
        match *self.is_broken.lock().unwrap() {
            true => Box::pin(async { Err(broken("read_back")) }),
            false => self.spool.read_back(offset, max),
        }
    }
}

impl fmt::Debug for FlawedSpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlawedSpool")
    }
}
