use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorCode, ErrorKind};

/// What one record (a tag, a manifest, a link to a blob, a repository, an open upload) counts beside its content: the
/// order of magnitude of the maps' nodes and of the longest names.
pub(super) const RECORD: u64 = 512;

/// How many bytes are kept, and how many may be.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max })
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Error> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let max = self.budget.max;
        let grown = self.budget.used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= max)
        });
        if grown.is_err() {
            return Err(Error::new(
                ErrorKind::TooLarge,
                ErrorCode::Denied,
                format!("this registry is full: it keeps at most {max} bytes; delete something first"),
            ));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
