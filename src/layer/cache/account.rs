use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::spec::digest::Digest;
use crate::store::blobs::Usage;
use crate::store::recent::lock;

/// What is in the store.
#[derive(Debug)]
pub(super) struct Account {
    max_size: Option<u64>,
    blobs: Mutex<BTreeMap<Digest, u64>>,
}

impl Account {
    pub(super) fn new(max_size: Option<u64>) -> Self {
        Self { max_size, blobs: Mutex::default() }
    }

    /// Whether there is room for `size` more bytes.
    pub(super) async fn make_room(&self, size: u64) -> bool {
        let Some(max) = self.max_size else { return true };
        self.usage().bytes.saturating_add(size) <= max
    }

    pub(super) fn kept(&self, digest: Digest, size: u64) {
        lock(&self.blobs).insert(digest, size);
    }

    pub(super) fn gone(&self, digest: Digest) {
        lock(&self.blobs).remove(&digest);
    }

    /// Keeps the blob in the store while it is read.
    pub(super) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        Pin { _account: Arc::clone(self), _digest: digest }
    }

    pub(super) fn usage(&self) -> Usage {
        let blobs = lock(&self.blobs);
        Usage::new(blobs.len() as u64, blobs.values().sum())
    }
}

/// A blob that is being read.
#[derive(Debug)]
pub(super) struct Pin {
    _account: Arc<Account>,
    _digest: Digest,
}
