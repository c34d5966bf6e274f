use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

use crate::store::recent::lock;

/// The files that are mapped for a connection: whose bytes are at which address.
///
/// A connection has one at a time, or a few, so that they are just looked through.
#[derive(Clone, Debug, Default)]
pub(super) struct Regions(Arc<Mutex<Vec<Region>>>);

#[derive(Debug)]
struct Region {
    start: usize,
    length: usize,
    file: Arc<File>,
    /// Where in the file `start` is.
    offset: u64,
}

impl Region {
    /// How far into it `bytes` begin, if they lie within.
    fn into(&self, bytes: &[u8]) -> Option<usize> {
        let into = bytes.as_ptr().addr().checked_sub(self.start)?;
        (!bytes.is_empty() && into < self.length).then_some(into)
    }
}

/// What the bytes hold. The region is forgotten before its addresses may mean something else.
struct Mapped {
    memory: Mmap,
    regions: Regions,
}

impl Regions {
    /// Maps `length` bytes of the file from `offset` on. Nothing is read until somebody looks.
    pub(super) fn map(&self, file: &Arc<File>, offset: u64, length: usize) -> io::Result<Bytes> {
        if !cfg!(target_os = "linux") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        #[expect(
            unsafe_code,
            reason = "what is mapped must not change: a store appends to a file until it has its name, behind what is \
                      mapped of it, then replaces or removes it, and never shortens it"
        )]
        // SAFETY: as said above, of the only callers, which are stores of this crate. Who changes their files by hand
        // makes wrong blobs, or has the process ended.
        let memory = unsafe { MmapOptions::new().offset(offset).len(length).map(&**file)? };
        let region = Region { start: memory.as_ptr().addr(), length, file: Arc::clone(file), offset };
        lock(&self.0).push(region);
        Ok(Bytes::from_owner(Mapped { memory, regions: self.clone() }))
    }

    /// Which file `bytes` are mapped from, and where in it they begin.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(Arc<File>, u64)> {
        let regions = lock(&self.0);
        let (region, into) = regions.iter().find_map(|region| Some((region, region.into(bytes)?)))?;
        Some((Arc::clone(&region.file), region.offset + into as u64))
    }

    /// Whether `bytes` are mapped from a file.
    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        lock(&self.0).iter().any(|region| region.into(bytes).is_some())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let start = self.memory.as_ptr().addr();
        lock(&self.regions.0).retain(|region| region.start != start);
    }
}
