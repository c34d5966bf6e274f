use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use crate::spec::digest::Digest;
use crate::store::blobs::{BlobInfo, Usage};

/// How long a use isn't written down in the store after another one was.
const TOUCHED_FOR: Duration = Duration::from_secs(60 * 60);

/// What is known of the blobs in a store, by their last use. Each takes about 300 bytes.
#[derive(Debug, Default)]
pub(super) struct Index {
    blobs: BTreeMap<Digest, Entry>,
    /// The blobs by their last use.
    uses: BTreeMap<Use, Digest>,
    pins: BTreeMap<Digest, usize>,
    bytes: u64,
    next: u64,
    latest: Option<SystemTime>,
    /// What was removed since a page of the store's list was asked for, as long as it hasn't come.
    removed: Option<BTreeSet<Digest>>,
}

/// When a blob was used. Of two uses at the same moment the one that was noted later has the higher number.
type Use = (SystemTime, u64);

#[derive(Debug)]
struct Entry {
    size: u64,
    used: Use,
    /// When its use was written down in the store.
    touched: SystemTime,
}

/// What is to be done about a blob that was pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// Nothing: its use was written down a short while ago, or somebody else does it.
    Noted,
    /// Its use is to be written down.
    Due,
    /// It isn't known whether it is there.
    Unknown,
}

impl Index {
    /// The blob is there, and it is used now.
    pub(super) fn used(&mut self, digest: Digest, size: u64, now: SystemTime) {
        self.put(digest, size, now, now);
    }

    /// The blob isn't there.
    pub(super) fn remove(&mut self, digest: Digest) {
        if let Some(removed) = &mut self.removed {
            removed.insert(digest);
        }
        self.take(digest);
    }

    /// Somebody reads the blob now.
    pub(super) fn pin(&mut self, digest: Digest, now: SystemTime) -> Pinned {
        let pins = self.pins.entry(digest).or_default();
        *pins += 1;
        let is_first = *pins == 1;
        let Some(entry) = self.blobs.get(&digest) else {
            return if is_first { Pinned::Unknown } else { Pinned::Noted };
        };
        let (size, touched) = (entry.size, entry.touched);
        let is_due = now.duration_since(touched).is_ok_and(|ago| ago >= TOUCHED_FOR);
        self.put(digest, size, now, if is_due { now } else { touched });
        if is_due { Pinned::Due } else { Pinned::Noted }
    }

    pub(super) fn unpin(&mut self, digest: Digest) {
        if let Some(pins) = self.pins.get_mut(&digest) {
            *pins -= 1;
            if *pins == 0 {
                self.pins.remove(&digest);
            }
        }
    }

    pub(super) fn is_known(&self, digest: Digest) -> bool {
        self.blobs.contains_key(&digest)
    }

    pub(super) fn is_pinned(&self, digest: Digest) -> bool {
        self.pins.contains_key(&digest)
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::new(self.blobs.len() as u64, self.bytes)
    }

    /// What was used longest ago and isn't read now, of `bytes` or a little more in all; none when that isn't enough.
    pub(super) fn oldest(&self, bytes: u64) -> Option<Vec<Digest>> {
        let (mut found, mut sum) = (Vec::new(), 0_u64);
        for digest in self.uses.values() {
            if sum >= bytes {
                break;
            }
            if let Some(entry) = self.blobs.get(digest).filter(|_| !self.is_pinned(*digest)) {
                sum = sum.saturating_add(entry.size);
                found.push(*digest);
            }
        }
        (sum >= bytes).then_some(found)
    }

    /// The blob can't be removed; others are taken first from now on.
    pub(super) fn postpone(&mut self, digest: Digest, now: SystemTime) {
        if let Some(Entry { size, touched, .. }) = self.take(digest) {
            self.put(digest, size, now, touched);
        }
    }

    /// A page of the store's list is asked for now. Answers what [`Index::merge`] wants to know of this moment.
    pub(super) fn page(&mut self) -> u64 {
        self.removed = Some(BTreeSet::new());
        self.next
    }

    /// The page that was asked for doesn't come.
    pub(super) fn no_page(&mut self) {
        self.removed = None;
    }

    /// A page of the store's list is all there was `after` that blob, up to and with `last`, at the moment `asked`. What
    /// was noted since then is newer.
    pub(super) fn merge(
        &mut self,
        asked: u64,
        after: Option<Digest>,
        last: Option<Digest>,
        page: &[BlobInfo],
        now: SystemTime,
    ) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let to = last.map_or(Bound::Unbounded, Bound::Included);
        let listed: BTreeSet<Digest> = page.iter().map(|blob| blob.digest).collect();
        let inside = self.blobs.range((from, to));
        let vanished = inside.filter(|(digest, entry)| entry.used.1 < asked && !listed.contains(digest));
        for digest in vanished.map(|(digest, _)| *digest).collect::<Vec<_>>() {
            self.take(digest);
        }
        let removed = self.removed.take().unwrap_or_default();
        for blob in page.iter().filter(|blob| !removed.contains(&blob.digest)) {
            // A clock that goes wrong must not keep a blob for ever.
            let used = blob.used.min(now);
            match self.blobs.get(&blob.digest) {
                Some(known) if known.used.0 >= used || known.used.1 >= asked => {}
                // Others use it too, or have brought it.
                _ => self.insert(blob.digest, blob.size, used, used),
            }
        }
    }

    /// Notes a use `now`, which is after all others even if the clock was set back.
    fn put(&mut self, digest: Digest, size: u64, now: SystemTime, touched: SystemTime) {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        if let Some(removed) = &mut self.removed {
            removed.remove(&digest);
        }
        self.insert(digest, size, now, touched);
    }

    fn insert(&mut self, digest: Digest, size: u64, used: SystemTime, touched: SystemTime) {
        self.take(digest);
        let used = (used, self.next);
        self.next += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.uses.insert(used, digest);
        self.blobs.insert(digest, Entry { size, used, touched });
    }

    fn take(&mut self, digest: Digest) -> Option<Entry> {
        let entry = self.blobs.remove(&digest)?;
        self.uses.remove(&entry.used);
        self.bytes = self.bytes.saturating_sub(entry.size);
        Some(entry)
    }
}
