use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::buffers::Buffers;
use super::layout::failed;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::store::blobs::fill::given_up;
use crate::store::blobs::reading::PIECE;
use crate::store::blobs::store::Spool;
use crate::store::sendfile::SendFile;

/// How many bytes wait in memory until they are written at once. What a blob has less than this is in no file until it
/// is committed.
pub(super) const TAIL: u64 = 256 * 1024;

/// How many bytes wait in memory at most while others are being written.
const MAX_TAIL: u64 = 1024 * 1024;

/// The same in pieces: small ones cost more than their bytes.
const TAIL_PIECES: usize = 1024;
const MAX_TAIL_PIECES: usize = 4 * TAIL_PIECES;

/// How much of the file is mapped at once, at least and at most: to map and unmap it costs as much as to copy some 64 KiB.
const LEAST_MAPPED: usize = 128 * 1024;
const MOST_MAPPED: usize = 4 * 1024 * 1024;

/// What was written so far: its beginning in a file, its end in memory.
pub(super) struct DiskSpool {
    state: Mutex<State>,
    buffers: Buffers,
}

struct State {
    phase: Phase,
    /// Where the part in memory starts. What is before is in the file.
    start: u64,
    tail: Vec<Bytes>,
    written: u64,
    file: Option<Arc<File>>,
}

enum Phase {
    Open,
    /// Writing failed, with these words. What is there can be read.
    Failed(String),
    Committed,
    /// It couldn't be committed. Whoever holds the spool can read what is there.
    LetGo,
    GivenUp,
}

impl DiskSpool {
    pub(super) fn new(buffers: Buffers) -> Self {
        let state = State { phase: Phase::Open, start: 0, tail: Vec::new(), written: 0, file: None };
        Self { state: Mutex::new(state), buffers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes more bytes into memory. Answers how much waits there now.
    pub(super) fn push(&self, data: Bytes) -> Result<Waiting, Error> {
        let mut state = self.lock();
        state.check()?;
        if !data.is_empty() {
            state.written += data.len() as u64;
            state.tail.push(data);
        }
        let (bytes, pieces) = (state.written - state.start, state.tail.len());
        Ok(match () {
            () if bytes >= MAX_TAIL || pieces >= MAX_TAIL_PIECES => Waiting::TooMuch,
            () if bytes >= TAIL || pieces >= TAIL_PIECES => Waiting::Enough,
            () => Waiting::Little,
        })
    }

    /// What is in memory, to be written.
    pub(super) fn tail(&self) -> Result<Vec<Bytes>, Error> {
        let state = self.lock();
        state.check()?;
        Ok(state.tail.clone())
    }

    /// The first `pieces` in memory, of `length` bytes in all, are in `file` now.
    pub(super) fn flushed(&self, file: &Arc<File>, pieces: usize, length: u64) -> Result<(), Error> {
        let mut state = self.lock();
        state.check()?;
        state.file = Some(Arc::clone(file));
        state.tail.drain(..pieces);
        state.start += length;
        Ok(())
    }

    pub(super) fn fail(&self, error: &Error) {
        let mut state = self.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Failed(error.to_string());
        }
    }

    /// The end stays in memory for those who follow: all of them read it now. What was given up meanwhile stays so: its
    /// bytes are gone from here.
    pub(super) fn commit(&self) {
        let mut state = self.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Committed;
        }
    }

    /// Takes no more. What is there stays for those who follow: the content may be right, and only the disk at fault.
    pub(super) fn let_go(&self) {
        let mut state = self.lock();
        if let Phase::Open | Phase::Failed(_) = state.phase {
            state.phase = Phase::LetGo;
        }
    }

    /// Answers false when there is nothing to give up.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.lock();
        if let Phase::Committed | Phase::LetGo | Phase::GivenUp = state.phase {
            return false;
        }
        state.phase = Phase::GivenUp;
        state.tail = Vec::new();
        state.file = None;
        true
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.lock().phase, Phase::GivenUp)
    }

    pub(super) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Where bytes from `offset` on are, at most `max`.
    fn find(&self, offset: u64, max: usize) -> Result<Found, Error> {
        let state = self.lock();
        if let Phase::GivenUp = state.phase {
            return Err(given_up());
        }
        match &state.file {
            Some(file) if offset < state.start => {
                let there = usize::try_from(state.start - offset).unwrap_or(usize::MAX);
                Ok(Found::InFile(Arc::clone(file), there.min(max)))
            }
            _ => Ok(Found::Bytes(state.in_memory(offset, max))),
        }
    }
}

/// How much waits in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Little,
    /// Enough to be written.
    Enough,
    /// So much that it has to be written before there is more.
    TooMuch,
}

enum Found {
    Bytes(Bytes),
    InFile(Arc<File>, usize),
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Failed(words) => Err(Error::unavailable(words)),
            Phase::Committed | Phase::LetGo | Phase::GivenUp => Err(given_up()),
        }
    }

    fn in_memory(&self, offset: u64, max: usize) -> Bytes {
        let Some(skip) = offset.checked_sub(self.start) else { return Bytes::new() };
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        for piece in &self.tail {
            if skip < piece.len() {
                return piece.slice(skip..skip.saturating_add(max).min(piece.len()));
            }
            skip -= piece.len();
        }
        Bytes::new()
    }
}

impl Spool for DiskSpool {
    fn written(&self) -> u64 {
        self.written()
    }

    fn read_back(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, Error>> {
        Box::pin(async move {
            match self.find(offset, max.min(PIECE))? {
                Found::Bytes(bytes) => Ok(bytes),
                Found::InFile(file, length) => {
                    let read = self.buffers.read(&file, offset, length).await?;
                    read.map_err(|error| failed("reading back what was written", error))
                }
            }
        })
    }

    fn map_back<'a>(
        &'a self,
        connection: &'a SendFile,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move {
            let Found::InFile(file, length) = self.find(offset, max.min(MOST_MAPPED))? else {
                return Ok(None);
            };
            if length < LEAST_MAPPED {
                return Ok(None);
            }
            self.buffers.bring_in(&file, offset, length).await?;
            Ok(connection.map(&file, offset, length as u64))
        })
    }
}

impl fmt::Debug for DiskSpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskSpool").field("written", &self.written()).finish()
    }
}
