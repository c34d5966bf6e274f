use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::{Batch, Index, View, Work};
use crate::error::Error;

/// An index in the memory of this process. It is gone with the process, and nothing bounds it.
#[derive(Default)]
pub struct MemoryIndex {
    map: RwLock<Map>,
}

type Map = BTreeMap<Box<[u8]>, Bytes>;

impl MemoryIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Index for MemoryIndex {
    fn read(&self, work: &mut dyn FnMut(&dyn View) -> Result<(), Error>) -> Result<(), Error> {
        work(&*self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, mut work: Work) -> Result<(), Error> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = Transaction { map: &mut map, undo: Vec::new() };
        work(&mut transaction)?;
        // Kept from here on: a work that fails, or panics, is undone by the drop.
        transaction.undo.clear();
        Ok(())
    }
}

impl View for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn scan(
        &self,
        first: &[u8],
        end: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        if first < end {
            let range = (Bound::Included(first), Bound::Excluded(end));
            let _ = self.range::<[u8], _>(range).all(|(key, value)| each(key, value));
        }
        Ok(())
    }
}

struct Transaction<'a> {
    map: &'a mut Map,
    /// What was under each key that was changed, in the order of the changes.
    undo: Vec<(Box<[u8]>, Option<Bytes>)>,
}

impl View for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        View::get(self.map, key)
    }

    fn scan(
        &self,
        first: &[u8],
        end: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.map.scan(first, end, each)
    }
}

impl Batch for Transaction<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let old = self.map.insert(key.into(), Bytes::copy_from_slice(value));
        self.undo.push((key.into(), old));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Error> {
        let old = self.map.remove(key);
        let found = old.is_some();
        if found {
            self.undo.push((key.into(), old));
        }
        Ok(found)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        for (key, old) in self.undo.drain(..).rev() {
            match old {
                Some(old) => self.map.insert(key, old),
                None => self.map.remove(&key),
            };
        }
    }
}

impl fmt::Debug for MemoryIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.map.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("MemoryIndex").field("records", &records).finish()
    }
}
