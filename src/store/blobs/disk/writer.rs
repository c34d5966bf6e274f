use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use bytes::Bytes;

use super::Inner;
use super::layout::{failed, make_directory, private_file, read_at, remove_file, write_at};
use super::read::BLOCK;
use super::spool::{DiskSpool, Waiting};
use crate::error::{Error, ErrorKind};
use crate::operation::BoxFuture;
use crate::rt::{Begun, blocking};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::store::blobs::fill::{agree, check_size};
use crate::store::blobs::store::{BlobWriter, Spool};

/// Writes into a file of its own in `partial/`, in large pieces, while more is taken in.
///
/// What is done on another thread is done by [`Shared`], which outlives a future that is dropped meanwhile.
pub(super) struct DiskWriter {
    shared: Arc<Shared>,
    /// What is being written now. When it fails, the spool says so to whoever writes next.
    flush: Option<Begun<Result<(), Error>>>,
}

struct Shared {
    store: Arc<Inner>,
    spool: Arc<DiskSpool>,
    algorithm: Algorithm,
    /// Held while the file is written; never taken while the spool is locked.
    sink: Mutex<Sink>,
}

struct Sink {
    partial: Option<Partial>,
    hasher: Hasher,
    /// How much was written to the file and hashed.
    size: u64,
}

/// A file that is removed unless it has got its name among the blobs.
struct Partial {
    path: PathBuf,
    file: Arc<File>,
    is_kept: bool,
}

impl DiskWriter {
    pub(super) fn new(store: &Arc<Inner>, algorithm: Algorithm) -> Self {
        let sink = Sink { partial: None, hasher: Hasher::new(algorithm), size: 0 };
        let (store, spool) = (Arc::clone(store), Arc::new(DiskSpool::new(store.buffers.clone())));
        let shared = Arc::new(Shared { store, spool, algorithm, sink: Mutex::new(sink) });
        Self { shared, flush: None }
    }
}

impl Shared {
    /// Writes what waits in memory.
    fn flush(&self) -> Result<(), Error> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = self
            .append(&mut sink)
            .and_then(|(file, pieces, length)| self.spool.flushed(&file, pieces, length));
        if self.spool.is_given_up() {
            sink.partial = None;
        }
        flushed
    }

    /// Writes and hashes what waits in memory. Answers the file, and the number and length of those pieces.
    fn append(&self, sink: &mut Sink) -> Result<(Arc<File>, usize, u64), Error> {
        let pieces = self.spool.tail()?;
        let file = match &sink.partial {
            Some(partial) => Ok(Arc::clone(&partial.file)),
            None => {
                Partial::create(&self.store).map(|partial| Arc::clone(&sink.partial.insert(partial).file))
            }
        };
        let start = sink.size;
        let mut end = start;
        let written = file.and_then(|file| {
            for piece in &pieces {
                write_at(&file, end, piece)?;
                end += piece.len() as u64;
            }
            Ok(file)
        });
        let file = written.map_err(|error| {
            let error = failed("writing a blob", error);
            self.spool.fail(&error);
            error
        })?;
        pieces.iter().for_each(|piece| sink.hasher.update(piece));
        sink.size = end;
        Ok((file, pieces.len(), end - start))
    }

    fn commit(&self, digest: Digest, size: u64) -> Result<(), Error> {
        check_size(digest, size, self.spool.written())?;
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, ..) = self.append(&mut sink)?;
        let keeping = |error| failed(format_args!("keeping {digest}"), error);
        let found = if digest.algorithm() == self.algorithm {
            sink.hasher.clone().finish()
        } else {
            hash(&file, digest.algorithm()).map_err(keeping)?
        };
        agree(digest, size, found, sink.size)?;
        let Some(partial) = &mut sink.partial else {
            return Err(Error::internal("a blob that was written has no file"));
        };
        self.store.keep(partial, digest).map_err(keeping)?;
        self.spool.commit();
        Ok(())
    }

    /// Removes the file, whose content stays readable for those who follow.
    fn let_go(&self) {
        self.spool.let_go();
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).partial = None;
    }

    /// Removes the file, and waits for that if another thread writes it now; else that thread does it.
    fn give_up(&self, wait: bool) {
        if !self.spool.give_up() {
            return;
        }
        let sink = match self.sink.try_lock() {
            Ok(sink) => Some(sink),
            Err(TryLockError::Poisoned(sink)) => Some(sink.into_inner()),
            Err(TryLockError::WouldBlock) if wait => {
                Some(self.sink.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut sink) = sink {
            sink.partial = None;
        }
    }
}

impl Inner {
    /// Keeps `content`, all of which is at hand.
    pub(super) fn put(&self, digest: Digest, size: Option<u64>, content: &[u8]) -> Result<u64, Error> {
        let length = content.len() as u64;
        let size = size.unwrap_or(length);
        check_size(digest, size, length)?;
        agree(digest, size, Digest::of(digest.algorithm(), content), length)?;
        let keeping = |error| failed(format_args!("keeping {digest}"), error);
        let mut partial = Partial::create(self).map_err(keeping)?;
        write_at(&partial.file, 0, content).map_err(keeping)?;
        self.keep(&mut partial, digest).map_err(keeping)?;
        Ok(size)
    }

    /// Gives a file that was checked its name among the blobs.
    fn keep(&self, partial: &mut Partial, digest: Digest) -> io::Result<()> {
        if self.sync {
            partial.file.sync_all()?;
        }
        self.name(&partial.path, digest)?;
        partial.is_kept = true;
        Ok(())
    }

    /// Gives a file that is as it should be its name among the blobs.
    pub(super) fn name(&self, file: &Path, digest: Digest) -> io::Result<()> {
        let path = self.layout.blob(digest);
        let Some(shard) = path.parent() else { return Err(io::ErrorKind::InvalidFilename.into()) };
        // The directory is there but for the first of its blobs.
        match fs::rename(file, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(shard)?;
                fs::rename(file, &path)?;
            }
            renamed => renamed?,
        }
        if self.sync {
            // The directories above may be new too.
            let mut above = shard.ancestors().take_while(|above| above.starts_with(self.layout.blobs()));
            above.try_for_each(sync_directory)?;
        }
        Ok(())
    }
}

/// Makes the names in a directory last. Only on Unix can a directory be opened for that.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn hash(file: &File, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut offset = 0;
    loop {
        let bytes = read_at(file, offset, BLOCK)?;
        hasher.update(&bytes);
        if bytes.len() < BLOCK {
            return Ok(hasher.finish());
        }
        offset += bytes.len() as u64;
    }
}

impl Partial {
    fn create(store: &Inner) -> io::Result<Self> {
        let path = store.instance.partial(store.next.fetch_add(1, Ordering::Relaxed));
        let file = Arc::new(private_file(&path, true)?);
        Ok(Self { path, file, is_kept: false })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = remove_file(&self.path)
        {
            tracing::warn!(%error, "a partial blob can't be removed from the store");
        }
    }
}

impl BlobWriter for DiskWriter {
    fn written(&self) -> u64 {
        self.shared.spool.written()
    }

    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let waiting = self.shared.spool.push(data)?;
            if waiting == Waiting::Little {
                return Ok(());
            }
            if let Some(flush) = &mut self.flush {
                if waiting == Waiting::Enough && !flush.is_over() {
                    return Ok(());
                }
                let flushed = flush.await;
                self.flush = None;
                flushed??;
            }
            let shared = Arc::clone(&self.shared);
            self.flush = Some(Begun::new(move || shared.flush()));
            Ok(())
        })
    }

    fn spool(&self) -> Arc<dyn Spool> {
        Arc::clone(&self.shared.spool) as Arc<dyn Spool>
    }

    fn commit(mut self: Box<Self>, digest: Digest, size: u64) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            // What it fails with, the spool tells.
            if let Some(flush) = self.flush.take() {
                let _ = flush.await;
            }
            let shared = Arc::clone(&self.shared);
            let committed = move || {
                let committed = shared.commit(digest, size);
                match &committed {
                    Err(error) if error.kind() == ErrorKind::Corrupt => shared.give_up(true),
                    Err(_) => shared.let_go(),
                    Ok(()) => {}
                }
                committed
            };
            blocking(committed).await?
        })
    }

    fn abort(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let flush = self.flush.take();
            let shared = Arc::clone(&self.shared);
            // A runtime that goes away leaves it to the drop.
            let _ = blocking(move || shared.give_up(true)).await;
            if let Some(flush) = flush {
                let _ = flush.await;
            }
        })
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        self.shared.give_up(false);
    }
}

impl fmt::Debug for DiskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWriter")
            .field("written", &self.written())
            .field("is_idle", &self.flush.as_ref().is_none_or(Begun::is_over))
            .finish_non_exhaustive()
    }
}
