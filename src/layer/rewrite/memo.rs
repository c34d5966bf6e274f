use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Mutex as Turn;

use super::tree::Tree;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::spec::digest::Digest;
use crate::store::recent::{Recent, lock};

/// Source and plan: all that a tree depends on.
pub(super) type Key = (Digest, Digest);

/// The trees that were made last, within a number of bytes, and those that are being made.
pub(super) struct Memo {
    trees: Mutex<Recent<Key, Arc<Tree>>>,
    flights: Mutex<BTreeMap<Key, Weak<Flight>>>,
}

impl Memo {
    pub(super) fn new(capacity: usize) -> Self {
        Self { trees: Mutex::new(Recent::new(capacity)), flights: Mutex::default() }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Tree>> {
        lock(&self.trees).get(key).cloned()
    }

    pub(super) fn insert(&self, key: Key, tree: &Arc<Tree>) {
        lock(&self.trees).insert(key, Arc::clone(tree), tree.weight());
    }

    /// The making of the tree `key`, shared by all who want it now.
    pub(super) fn flight(&self, key: Key) -> Boarded<'_> {
        let mut flights = lock(&self.flights);
        let flight = flights.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let flight = Arc::new(Flight::default());
            flights.insert(key, Arc::downgrade(&flight));
            flight
        });
        Boarded { memo: self, key, flight }
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trees = lock(&self.trees);
        f.debug_struct("Memo").field("trees", &trees.len()).field("bytes", &trees.weight()).finish()
    }
}

/// The making of one tree: the first one makes it, the others wait for their turn and find it made. When the first one
/// leaves, the next one takes over.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) turn: Turn<()>,
    landed: Mutex<Option<Result<Arc<Tree>, Failure>>>,
}

impl Flight {
    pub(super) fn landed(&self) -> Option<Result<Arc<Tree>, Error>> {
        let landed = lock(&self.landed);
        landed.as_ref().map(|landed| landed.as_ref().map(Arc::clone).map_err(Failure::error))
    }

    pub(super) fn land(&self, result: &Result<Arc<Tree>, Error>) {
        *lock(&self.landed) = match result {
            Ok(tree) => Some(Ok(Arc::clone(tree))),
            Err(error) => Failure::of_all(error).map(Err),
        };
    }
}

/// A place on a flight, which is forgotten when the last one leaves.
pub(super) struct Boarded<'a> {
    memo: &'a Memo,
    key: Key,
    pub(super) flight: Arc<Flight>,
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.memo.flights);
        // Nobody boards while the list is locked, so that this one is the last.
        if Arc::strong_count(&self.flight) == 1 {
            flights.remove(&self.key);
        }
    }
}

/// A failure that all who wait would meet again: one of the documents or of the upstream, not of the caller.
struct Failure {
    kind: ErrorKind,
    code: ErrorCode,
    status: http::StatusCode,
    message: String,
    retry_after: Option<RetryAfter>,
}

impl Failure {
    fn of_all(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Internal => None,
            kind => Some(Self {
                kind,
                code: error.code(),
                status: error.status(),
                message: error.message().to_owned(),
                retry_after: error.retry_after(),
            }),
        }
    }

    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.code, &self.message).with_status(self.status);
        match self.retry_after {
            Some(retry_after) => error.with_retry_after(retry_after),
            None => error,
        }
    }
}
