use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::Logs;
use crate::build::builds::id::BuildId;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::Clock;

/// Logs in the memory of this process, up to a total size: then those go first that nothing was added to for longest.
#[derive(Clone)]
pub struct MemoryLogs {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

#[derive(Default)]
struct Inner {
    logs: HashMap<BuildId, Log>,
    bytes: usize,
    max_bytes: usize,
    /// Counts what is added, so that there is an order even within one instant.
    turn: u64,
}

struct Log {
    content: Vec<u8>,
    turn: u64,
    touched: SystemTime,
}

impl MemoryLogs {
    /// The total size of all logs by default: 64 MiB.
    pub const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

    /// No log yet, up to `max_bytes` in all.
    #[must_use]
    pub fn with_capacity(max_bytes: usize) -> Self {
        let inner = Inner { max_bytes, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), clock: Clock::system() }
    }

    /// The same logs with another clock: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLogs {
    fn default() -> Self {
        Self::with_capacity(Self::DEFAULT_MAX_BYTES)
    }
}

impl Inner {
    fn append(&mut self, id: &BuildId, bytes: &[u8], now: SystemTime) -> Result<u64, Error> {
        self.turn += 1;
        let turn = self.turn;
        let log =
            self.logs.entry(id.clone()).or_insert_with(|| Log { content: Vec::new(), turn, touched: now });
        if log.content.len().saturating_add(bytes.len()) > self.max_bytes {
            let message =
                format!("the log of a build is larger than the {} bytes for all logs", self.max_bytes);
            return Err(Error::unavailable(message));
        }
        log.content.extend_from_slice(bytes);
        (log.turn, log.touched) = (turn, now);
        let length = log.content.len();
        self.bytes += bytes.len();
        while self.bytes > self.max_bytes {
            let oldest = self.logs.iter().filter(|(other, _)| *other != id).min_by_key(|(_, log)| log.turn);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
            self.remove(&oldest);
        }
        Ok(length as u64)
    }

    fn remove(&mut self, id: &BuildId) {
        if let Some(log) = self.logs.remove(id) {
            self.bytes -= log.content.len();
        }
    }

    fn sweep(&mut self, before: SystemTime) {
        let old: Vec<_> =
            self.logs.iter().filter(|(_, log)| log.touched < before).map(|(id, _)| id.clone()).collect();
        for id in old {
            self.remove(&id);
        }
    }
}

impl Logs for MemoryLogs {
    fn append<'a>(&'a self, id: &'a BuildId, bytes: Bytes) -> BoxFuture<'a, Result<u64, Error>> {
        let length = self.lock().append(id, &bytes, self.clock.now());
        Box::pin(ready(length))
    }

    fn read<'a>(
        &'a self,
        id: &'a BuildId,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        let inner = self.lock();
        let read = inner.logs.get(id).map(|log| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(log.content.len());
            let to = from.saturating_add(max).min(log.content.len());
            Bytes::copy_from_slice(log.content.get(from..to).unwrap_or_default())
        });
        drop(inner);
        Box::pin(ready(Ok(read)))
    }

    fn sweep(&self, before: SystemTime) -> BoxFuture<'_, Result<(), Error>> {
        self.lock().sweep(before);
        Box::pin(ready(Ok(())))
    }
}

impl fmt::Debug for MemoryLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("MemoryLogs")
            .field("logs", &inner.logs.len())
            .field("bytes", &inner.bytes)
            .field("max_bytes", &inner.max_bytes)
            .finish()
    }
}
