use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Inner;
use super::content::{Content, Reserved, Segments};
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::store::blobs::fill::{agree, check_size, given_up};
use crate::store::blobs::store::{BlobWriter, Spool};

pub(super) struct MemoryWriter {
    store: Arc<Inner>,
    spool: Arc<MemorySpool>,
    algorithm: Algorithm,
    hasher: Hasher,
}

struct MemorySpool(Mutex<State>);

enum State {
    Growing { segments: Segments, reserved: Reserved },
    Complete(Arc<Content>),
    GivenUp,
}

impl MemoryWriter {
    pub(super) fn new(store: Arc<Inner>, algorithm: Algorithm, reserved: Reserved) -> Self {
        let state = State::Growing { segments: Segments::default(), reserved };
        let spool = Arc::new(MemorySpool(Mutex::new(state)));
        Self { store, spool, algorithm, hasher: Hasher::new(algorithm) }
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut *self.spool.lock() {
            State::Growing { segments, reserved } => {
                reserved.grow(data.len() as u64)?;
                segments.append(data);
            }
            _ => return Err(given_up()),
        }
        self.hasher.update(data);
        Ok(())
    }

    fn keep(&self, digest: Digest, size: u64) -> Result<(), Error> {
        let mut state = self.spool.lock();
        let State::Growing { segments, reserved } = std::mem::replace(&mut *state, State::GivenUp) else {
            return Err(given_up());
        };
        check_size(digest, size, segments.size())?;
        let mut hasher = self.hasher.clone();
        if digest.algorithm() != self.algorithm {
            hasher = Hasher::new(digest.algorithm());
            segments.pieces().for_each(|piece| hasher.update(piece));
        }
        agree(digest, size, hasher.finish(), segments.size())?;
        let content = Arc::new(Content::new(segments, reserved));
        self.store.keep(digest, &content);
        *state = State::Complete(content);
        Ok(())
    }

    fn give_up(&self) {
        let mut state = self.spool.lock();
        if let State::Growing { .. } = *state {
            *state = State::GivenUp;
        }
    }
}

impl BlobWriter for MemoryWriter {
    fn written(&self) -> u64 {
        self.spool.written()
    }

    fn write(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.append(&data) })
    }

    fn spool(&self) -> Arc<dyn Spool> {
        Arc::clone(&self.spool) as Arc<dyn Spool>
    }

    fn commit(self: Box<Self>, digest: Digest, size: u64) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move { self.keep(digest, size) })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.give_up() })
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl MemorySpool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool for MemorySpool {
    fn written(&self) -> u64 {
        match &*self.lock() {
            State::Growing { segments, .. } => segments.size(),
            State::Complete(content) => content.size(),
            State::GivenUp => 0,
        }
    }

    fn read_back(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, Error>> {
        let read = match &*self.lock() {
            State::Growing { segments, .. } => Ok(segments.read(offset, max)),
            State::Complete(content) => Ok(content.read(offset, max)),
            State::GivenUp => Err(given_up()),
        };
        Box::pin(ready(read))
    }
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemorySpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySpool").field("written", &self.written()).finish()
    }
}
