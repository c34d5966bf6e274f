use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::spec::digest::Digest;

/// Which blobs are between their store and the index: those that are put and that nobody shows yet, and those that are
/// removed since nobody shows them. A blob is never both.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: Mutex<HashMap<Digest, Held>>,
    removed: Notify,
}

#[derive(Debug)]
enum Held {
    Put(usize),
    Removed,
}

/// A blob that is held until the drop.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    digest: Digest,
}

impl Holds {
    /// Holds a blob that is going to be put and shown. Waits while it is removed.
    pub(super) async fn put(self: &Arc<Self>, digest: Digest) -> Hold {
        loop {
            let removed = self.removed.notified();
            {
                let mut held = self.lock();
                match held.entry(digest).or_insert(Held::Put(0)) {
                    Held::Put(count) => {
                        *count += 1;
                        return Hold { holds: Arc::clone(self), digest };
                    }
                    Held::Removed => {}
                }
            }
            removed.await;
        }
    }

    /// Holds a blob that is going to be removed, unless somebody has it.
    pub(super) fn remove(self: &Arc<Self>, digest: Digest) -> Option<Hold> {
        let mut held = self.lock();
        if held.contains_key(&digest) {
            return None;
        }
        held.insert(digest, Held::Removed);
        Some(Hold { holds: Arc::clone(self), digest })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.lock();
        match held.get_mut(&self.digest) {
            Some(Held::Put(count)) if *count > 1 => *count -= 1,
            Some(Held::Put(_)) => drop(held.remove(&self.digest)),
            Some(Held::Removed) => {
                held.remove(&self.digest);
                self.holds.removed.notify_waiters();
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blob_is_put_or_removed_but_never_both() {
        let holds = Arc::new(Holds::default());
        let digest = Digest::sha256(b"");
        let (one, other) = (holds.put(digest).await, holds.put(digest).await);
        drop(one);
        assert!(holds.remove(digest).is_none());
        drop(other);
        let removed = holds.remove(digest).unwrap();
        assert!(holds.remove(digest).is_none());
        let mut put = Box::pin(holds.put(digest));
        assert!(futures_util::poll!(put.as_mut()).is_pending());
        assert!(futures_util::poll!(Box::pin(holds.put(Digest::sha256(b"other")))).is_ready());
        drop(removed);
        drop(put.await);
        assert!(holds.lock().is_empty());
    }
}
