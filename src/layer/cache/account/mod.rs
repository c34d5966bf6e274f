mod index;
mod survey;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::index::{Index, Pinned};
use self::survey::State;
use super::figures::Counter;
use super::settings::Settings;
use crate::rt::{Clock, Tasks};
use crate::spec::digest::Digest;
use crate::store::blobs::{BlobStore, Usage};
use crate::store::recent::lock;

/// How often room is looked for again when what was removed was not enough: others may take what was freed.
const ROUNDS: usize = 4;

/// For how long it is believed that much is free, and how much that is, beside what is to stay free, in bytes: others may
/// fill the disk meanwhile.
const RECENT: Duration = Duration::from_secs(1);
const PLENTY: u64 = 256 * 1024 * 1024;

/// What is in the store: how much it is, and what goes to make room.
///
/// What is really there only the store knows, which other processes may use too. The account is filled from the store's
/// list when it is first used, is told what comes and goes, and looks through the list again from time to time.
pub(super) struct Account {
    store: Arc<dyn BlobStore>,
    tasks: Tasks,
    clock: Clock,
    max_size: Option<u64>,
    /// How many bytes stay free.
    floor: u64,
    /// How much was free when the store was asked last, without what was let in since.
    free: Mutex<Option<(SystemTime, u64)>>,
    index: Mutex<Index>,
    survey: watch::Sender<State>,
    /// Held by who removes blobs, so that others see what that brings before they remove more.
    evicting: tokio::sync::Mutex<()>,
    evicted: Counter,
}

impl Account {
    pub(super) fn new(settings: &Settings, store: Arc<dyn BlobStore>, tasks: Tasks) -> Self {
        Self {
            store,
            tasks,
            clock: Clock::system(),
            max_size: settings.max_size,
            floor: settings.free_space,
            free: Mutex::default(),
            index: Mutex::default(),
            survey: watch::Sender::new(State::default()),
            evicting: tokio::sync::Mutex::default(),
            evicted: Counter::default(),
        }
    }

    /// Whether there is room for `size` more bytes. Removes what was used longest ago where that makes it so; when it
    /// wouldn't, nothing.
    ///
    /// The room isn't reserved: several who are told so at once may bring too much together, and what is too much is
    /// removed when it has come. As long as it isn't known what is in the store, there is no room.
    pub(super) async fn make_room(self: &Arc<Self>, size: u64) -> bool {
        if self.max_size.is_some() && !self.is_surveyed().await {
            return false;
        }
        if self.missing(size).await == Some(0) {
            return true;
        }
        let _alone = self.evicting.lock().await;
        for _ in 0..ROUNDS {
            match self.missing(size).await {
                None => return false,
                Some(0) => return true,
                Some(missing) => {
                    if !(self.is_surveyed().await && self.evict(missing).await) {
                        return false;
                    }
                }
            }
        }
        self.missing(size).await == Some(0)
    }

    /// The blob is in the store now.
    pub(super) fn kept(self: &Arc<Self>, digest: Digest, size: u64) {
        let mut index = lock(&self.index);
        index.used(digest, size, self.clock.now());
        let is_over = self.max_size.is_some_and(|max| index.usage().bytes > max);
        drop(index);
        self.begin_survey();
        if is_over {
            self.trim();
        }
    }

    /// The blob isn't in the store.
    pub(super) fn gone(&self, digest: Digest) {
        lock(&self.index).remove(digest);
    }

    /// Keeps the blob in the store while it is read, which is a use of it. It need not be there.
    pub(super) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        let pinned = lock(&self.index).pin(digest, self.clock.now());
        self.begin_survey();
        if pinned != Pinned::Noted {
            self.tasks.spawn(Arc::clone(self).note(digest));
        }
        Pin { account: Arc::clone(self), digest }
    }

    /// What is in the store, as far as it is known.
    pub(super) fn usage(&self) -> Usage {
        lock(&self.index).usage()
    }

    /// How many blobs were removed to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.value()
    }

    /// How many bytes are to be removed so that there is room for `size` more; `None` where that can't be told.
    async fn missing(&self, size: u64) -> Option<u64> {
        let short = if self.has_plenty(size) {
            0
        } else {
            match self.store.free_space().await {
                Ok(free) => {
                    *lock(&self.free) = free.map(|free| (self.clock.now(), free.saturating_sub(size)));
                    free.map_or(0, |free| self.floor.saturating_add(size).saturating_sub(free))
                }
                Err(error) => {
                    tracing::warn!(%error, "how much space is free where blobs are kept can't be told");
                    return None;
                }
            }
        };
        let kept = self.usage().bytes;
        let over = self.max_size.map_or(0, |max| kept.saturating_add(size).saturating_sub(max));
        Some(over.max(short))
    }

    /// Whether so much was free a moment ago that the store need not be asked again.
    fn has_plenty(&self, size: u64) -> bool {
        let mut known = lock(&self.free);
        let Some((when, free)) = &mut *known else { return false };
        let is_recent = self.clock.now().duration_since(*when).is_ok_and(|age| age < RECENT);
        let is_plenty = *free >= self.floor.saturating_add(size).saturating_add(PLENTY);
        *free = free.saturating_sub(size);
        is_recent && is_plenty
    }

    /// Removes blobs of `bytes` in all; none where they aren't so many. Answers whether there were.
    async fn evict(&self, bytes: u64) -> bool {
        let Some(oldest) = lock(&self.index).oldest(bytes) else { return false };
        for digest in oldest {
            // It may have found a reader while others were removed.
            if lock(&self.index).is_pinned(digest) {
                continue;
            }
            match self.store.remove(digest).await {
                Ok(was_there) => {
                    lock(&self.index).remove(digest);
                    self.evicted.add(u64::from(was_there));
                    tracing::debug!(%digest, "a blob was removed to make room");
                }
                Err(error) => {
                    tracing::warn!(%digest, %error, "a blob can't be removed to make room");
                    lock(&self.index).postpone(digest, self.clock.now());
                }
            }
        }
        true
    }

    /// Removes what is too much by now.
    fn trim(self: &Arc<Self>) {
        let account = Arc::clone(self);
        self.tasks.spawn(async move {
            account.make_room(0).await;
        });
    }

    /// Writes down in the store that the blob is used, for the next process. One that wasn't known may have been brought
    /// by another process.
    async fn note(self: Arc<Self>, digest: Digest) {
        let noted = async {
            let is_there = self.store.touch(digest).await?;
            if !is_there || lock(&self.index).is_known(digest) {
                return Ok(None);
            }
            self.store.stat(digest).await
        };
        match noted.await {
            Ok(Some(size)) => lock(&self.index).used(digest, size, self.clock.now()),
            Ok(None) => {}
            Err(error) => tracing::debug!(%digest, %error, "the use of a blob can't be noted"),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("usage", &self.usage())
            .field("max_size", &self.max_size)
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

/// Keeps a blob in the store while it is read.
#[derive(Debug)]
pub(super) struct Pin {
    account: Arc<Account>,
    digest: Digest,
}

impl Drop for Pin {
    fn drop(&mut self) {
        lock(&self.account.index).unpin(self.digest);
    }
}

#[cfg(test)]
mod tests;
