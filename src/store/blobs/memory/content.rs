use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;

use crate::body::Body;
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::store::blobs::reading::counted;

/// The size in bytes of the pieces in which content is kept: large blobs need no single block of memory, and growing
/// never copies more than one piece.
pub(super) const SEGMENT: usize = 256 * 1024;

/// The content of a blob.
#[derive(Debug)]
pub(super) struct Content {
    segments: Segments,
    _reserved: Reserved,
}

impl Content {
    pub(super) fn new(mut segments: Segments, reserved: Reserved) -> Self {
        segments.seal();
        Self { segments, _reserved: reserved }
    }

    pub(super) fn size(&self) -> u64 {
        self.segments.size
    }

    pub(super) fn read(&self, offset: u64, max: usize) -> Bytes {
        self.segments.read(offset, max)
    }

    /// `length` bytes from `first` on, which must be there.
    pub(super) fn body(self: &Arc<Self>, digest: Digest, first: u64, length: u64) -> Body {
        let piece = self.read(first, usize::try_from(length).unwrap_or(usize::MAX));
        if piece.len() as u64 == length {
            return Body::from(piece);
        }
        let start = (Arc::clone(self), first, length);
        let pieces = stream::unfold(start, async |(content, offset, left)| {
            let piece = content.read(offset, usize::try_from(left).unwrap_or(usize::MAX));
            let length = piece.len() as u64;
            (!piece.is_empty()).then(|| (Ok(piece), (content, offset + length, left - length)))
        });
        counted(pieces, digest, length)
    }
}

/// Bytes in pieces of [`SEGMENT`]. They are copied in, so that what is kept is what is counted: a frame may be a small
/// slice of a large buffer.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// All of the same size but the last, and that only in what is sealed.
    full: Vec<Bytes>,
    open: Vec<u8>,
    size: u64,
}

impl Segments {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn append(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at_checked(SEGMENT - self.open.len()).unwrap_or((data, &[]));
            self.open.extend_from_slice(now);
            if self.open.len() == SEGMENT {
                self.full.push(std::mem::take(&mut self.open).into());
            }
            data = later;
        }
    }

    /// Gives back what the open piece has too much: its buffer grew by doubling.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open).into_boxed_slice().into());
        }
        self.full.shrink_to_fit();
    }

    /// Some bytes from `offset` on, at most `max`; none behind the end.
    pub(super) fn read(&self, offset: u64, max: usize) -> Bytes {
        let Ok(offset) = usize::try_from(offset) else { return Bytes::new() };
        let skip = offset % SEGMENT;
        let end = |length: usize| skip.saturating_add(max).min(length);
        match self.full.get(offset / SEGMENT) {
            Some(segment) if skip < segment.len() => segment.slice(skip..end(segment.len())),
            None if offset / SEGMENT == self.full.len() => {
                self.open.get(skip..end(self.open.len())).map(Bytes::copy_from_slice).unwrap_or_default()
            }
            _ => Bytes::new(),
        }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.full.iter().map(|segment| &segment[..]).chain([&self.open[..]])
    }
}

/// How many bytes a store may hold, and how many it does.
#[derive(Debug)]
pub(super) struct Budget {
    capacity: u64,
    used: AtomicU64,
}

impl Budget {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, used: AtomicU64::new(0) }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Whether there is room for `more` now.
    pub(super) fn check(&self, more: u64) -> Result<(), Error> {
        let used = self.used();
        if used.checked_add(more).is_some_and(|sum| sum <= self.capacity) {
            return Ok(());
        }
        Err(self.full(used, more))
    }

    fn full(&self, used: u64, more: u64) -> Error {
        let capacity = self.capacity;
        Error::unavailable(format!(
            "the blob store is full: it holds {used} of {capacity} bytes, and {more} more were to be kept"
        ))
    }
}

/// A part of a budget, given back on drop.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reserved {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    pub(super) fn grow(&mut self, more: u64) -> Result<(), Error> {
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= self.budget.capacity);
        match self.budget.used.try_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(used) => Err(self.budget.full(used, more)),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
