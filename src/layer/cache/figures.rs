use std::sync::atomic::{AtomicU64, Ordering};

/// What a cache has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Requests that were answered without asking an upstream.
    pub hits: u64,
    /// Requests that an upstream was asked for, each on its own.
    pub misses: u64,
    /// Requests that were answered by what an upstream was asked for on behalf of another one at the same time.
    pub collapsed: u64,
    /// Requests that were answered with something stale, since the upstream couldn't be asked.
    pub stale: u64,
    /// Requests that were passed on, since they or their answers aren't for keeping.
    pub passed: u64,
    /// Bytes of blobs that were fetched from upstreams to be kept.
    pub bytes_fetched: u64,
    /// Bytes of blobs that were handed out, kept or on their way.
    pub bytes_served: u64,
    /// Blobs that were removed to make room.
    pub evicted: u64,
    /// Transfers of blobs that run now.
    pub transfers: u64,
    /// How many blobs are kept now.
    pub blobs: u64,
    /// Their sizes in bytes, added up.
    pub bytes: u64,
}

/// The counters behind [`Figures`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) collapsed: Counter,
    pub(super) stale: Counter,
    pub(super) passed: Counter,
    pub(super) bytes_fetched: Counter,
    pub(super) bytes_served: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            hits: self.hits.value(),
            misses: self.misses.value(),
            collapsed: self.collapsed.value(),
            stale: self.stale.value(),
            passed: self.passed.value(),
            bytes_fetched: self.bytes_fetched.value(),
            bytes_served: self.bytes_served.value(),
            ..Figures::default()
        }
    }
}
