use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::Instant;

use super::ask::{Landed, Landing};
use super::transfer::Transfer;
use crate::layer::cache::layer::Shared;
use crate::layer::cache::scope::Reader;
use crate::layer::cache::settings::Abandoned;
use crate::spec::digest::Digest;
use crate::store::recent::lock;

/// What a cache is asking upstreams for, and what is on its way from them.
#[derive(Default)]
pub(in crate::layer::cache) struct Transfers(Mutex<State>);

#[derive(Default)]
struct State {
    flights: BTreeMap<Asked, Waiting>,
    transfers: BTreeMap<Digest, Arc<Transfer>>,
}

/// A question to an upstream. Those who have the same one at the same time share the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) reader: Reader,
    pub(super) digest: Digest,
    pub(super) head: bool,
}

/// How a reader gets at a blob that isn't kept.
pub(super) enum Joined {
    /// It is on its way.
    Transfer(Seat),
    /// The upstream is being asked.
    Flight(Waiting),
    /// The upstream is to be asked, and the answer to be told here.
    First(Flight, Waiting),
}

/// Where the answer to a question is told, and since when it is being asked.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) told: watch::Receiver<Landed>,
    pub(super) since: Instant,
}

impl Transfers {
    /// How many transfers run now.
    pub(in crate::layer::cache) fn running(&self) -> u64 {
        lock(&self.0).transfers.len() as u64
    }

    /// A seat at the transfer of `digest`, if it is on its way.
    pub(super) fn seat(&self, shared: &Arc<Shared>, digest: Digest) -> Option<Seat> {
        let state = lock(&self.0);
        state.transfers.get(&digest).map(|transfer| Seat::take(shared, transfer))
    }

    /// Joins the transfer, where the reader may follow it without asking; else those who ask the same; or begins.
    pub(super) fn join(&self, shared: &Arc<Shared>, asked: Asked, is_granted: bool) -> Joined {
        let mut state = lock(&self.0);
        if is_granted && let Some(transfer) = state.transfers.get(&asked.digest) {
            return Joined::Transfer(Seat::take(shared, transfer));
        }
        if let Some(flight) = state.flights.get(&asked) {
            return Joined::Flight(flight.clone());
        }
        let (landed, told) = watch::channel(None);
        let waiting = Waiting { told, since: Instant::now() };
        state.flights.insert(asked.clone(), waiting.clone());
        Joined::First(Flight { shared: Arc::clone(shared), asked, landed }, waiting)
    }

    /// Begins the transfer of `digest`, or answers with a seat at the one that somebody else has begun.
    pub(super) fn begin(
        &self,
        shared: &Arc<Shared>,
        digest: Digest,
        size: Option<u64>,
    ) -> Result<(Arc<Transfer>, Seat), Seat> {
        let mut state = lock(&self.0);
        if let Some(transfer) = state.transfers.get(&digest) {
            return Err(Seat::take(shared, transfer));
        }
        let transfer = Arc::new(Transfer::new(digest, size));
        state.transfers.insert(digest, Arc::clone(&transfer));
        let seat = Seat::take(shared, &transfer);
        Ok((transfer, seat))
    }

    /// The transfer isn't to be followed by anybody who doesn't do so already.
    pub(super) fn remove(&self, transfer: &Arc<Transfer>) {
        lock(&self.0).remove(transfer);
    }
}

impl State {
    fn remove(&mut self, transfer: &Arc<Transfer>) {
        let found = self.transfers.get(&transfer.digest);
        if found.is_some_and(|found| Arc::ptr_eq(found, transfer)) {
            self.transfers.remove(&transfer.digest);
        }
    }

    /// Whether a transfer whose last reader has left may go on beside those that do so already.
    fn may_go_on(&self, shared: &Shared, left: &Arc<Transfer>) -> bool {
        let settings = &shared.settings;
        if settings.abandoned == Abandoned::IsDropped {
            return false;
        }
        let rest = |transfer: &Transfer| {
            let written = transfer.progress().written;
            let at_most = settings.max_blob.map(|max| max.saturating_sub(written));
            transfer.remaining().or(at_most).unwrap_or(settings.detached_bytes)
        };
        let (mut count, mut bytes) = (1, rest(left));
        for transfer in self.transfers.values() {
            let is_detached = transfer.readers.load(Ordering::Relaxed) == 0 && transfer.is_running();
            if is_detached && !Arc::ptr_eq(transfer, left) {
                count += 1;
                bytes = bytes.saturating_add(rest(transfer));
            }
        }
        count <= settings.detached && bytes <= settings.detached_bytes
    }
}

/// A reader's place at a transfer. When the last one is given back before the end, the transfer goes on or is dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    transfer: Arc<Transfer>,
}

impl Seat {
    /// The list of transfers must be locked.
    fn take(shared: &Arc<Shared>, transfer: &Arc<Transfer>) -> Self {
        transfer.readers.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), transfer: Arc::clone(transfer) }
    }
}

impl Clone for Seat {
    fn clone(&self) -> Self {
        let _locked = lock(&self.shared.transfers.0);
        Self::take(&self.shared, &self.transfer)
    }
}

impl Deref for Seat {
    type Target = Transfer;

    fn deref(&self) -> &Transfer {
        &self.transfer
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.transfers.0);
        let is_last = self.transfer.readers.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && self.transfer.is_running() && !state.may_go_on(&self.shared, &self.transfer) {
            state.remove(&self.transfer);
            self.transfer.abandoned.notify_one();
        }
    }
}

/// A question that is being asked. Dropped without an answer, it tells that there won't be one.
pub(super) struct Flight {
    shared: Arc<Shared>,
    pub(super) asked: Asked,
    landed: watch::Sender<Landed>,
}

impl Flight {
    /// Tells the answer to all who wait for it. Who asks from now on asks anew.
    pub(super) fn land(self, landing: Landing) {
        self.leave();
        self.landed.send_replace(Some(Arc::new(landing)));
    }

    fn leave(&self) {
        let mut state = lock(&self.shared.transfers.0);
        let ours = state.flights.get(&self.asked);
        if ours.is_some_and(|ours| ours.told.same_channel(&self.landed.subscribe())) {
            state.flights.remove(&self.asked);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}
