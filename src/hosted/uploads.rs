use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::operation::UploadId;
use crate::spec::digest::hex;
use crate::spec::name::Repository;

/// How long an upload has been idle at least before it makes place for a new one.
const SPARED: Duration = Duration::from_secs(60);

/// What has come of an upload.
pub(super) trait Held {
    /// How many bytes have come.
    fn received(&self) -> u64;

    /// Called when nobody writes to it any more.
    fn put_down(&mut self) {}

    /// Called, in place of [`put_down`](Held::put_down), when it was given up.
    fn abandon(&mut self) {}
}

/// The open uploads. The lock is held for look-ups only: whoever writes to an upload takes it out.
#[derive(Debug)]
pub(super) struct Uploads<U: Held> {
    slots: Mutex<HashMap<UploadId, Slot<U>>>,
    /// Nothing expires before, if it is known; locked while the slots are.
    due: Mutex<Option<Instant>>,
    max: usize,
    timeout: Duration,
}

#[derive(Debug)]
struct Slot<U> {
    repository: Repository,
    touched: Instant,
    received: u64,
    /// Absent while a request writes to it.
    upload: Option<Box<U>>,
}

impl<U: Held> Uploads<U> {
    pub(super) fn new(max: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), due: Mutex::default(), max, timeout })
    }

    /// How many are open, after those that have expired are gone.
    pub(super) fn len(&self) -> usize {
        self.slots().len()
    }

    /// Gives back what uploads have that have been idle for too long; every look-up does it too.
    pub(super) fn expire(&self) {
        drop(self.slots());
    }

    /// How many have expired and aren't gone yet.
    #[cfg(feature = "disk")]
    pub(super) fn expired(&self) -> usize {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter(|slot| slot.upload.is_some() && slot.touched.elapsed() >= self.timeout).count()
    }

    /// Opens an upload under a new identity.
    pub(super) fn open(&self, id: UploadId, repository: Repository, upload: U) -> Result<(), Error> {
        let mut slots = self.slots();
        make_place(&mut slots, self.max)?;
        let received = upload.received();
        let slot = Slot { repository, touched: Instant::now(), received, upload: Some(Box::new(upload)) };
        slots.insert(id, slot);
        Ok(())
    }

    /// Takes in an upload that was open before, and idle for so long.
    #[cfg(feature = "disk")]
    pub(super) fn restore(&self, id: UploadId, repository: Repository, upload: U, idle: Duration) {
        let now = Instant::now();
        let touched = now.checked_sub(idle).unwrap_or(now);
        let received = upload.received();
        let slot = Slot { repository, touched, received, upload: Some(Box::new(upload)) };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.insert(id, slot);
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many bytes have come.
    pub(super) fn received(&self, repository: &Repository, id: &UploadId) -> Result<u64, Error> {
        let mut slots = self.slots();
        let slot = find(&mut slots, repository, id)?;
        slot.touched = Instant::now();
        Ok(slot.received)
    }

    pub(super) fn cancel(&self, repository: &Repository, id: &UploadId) -> Result<(), Error> {
        let mut slots = self.slots();
        find(&mut slots, repository, id)?;
        abandon(slots.remove(id));
        Ok(())
    }

    /// Takes an upload out to write to it.
    pub(super) fn take(self: &Arc<Self>, repository: &Repository, id: &UploadId) -> Result<Lease<U>, Error> {
        let mut slots = self.slots();
        let slot = find(&mut slots, repository, id)?;
        slot.touched = Instant::now();
        let Some(upload) = slot.upload.take() else {
            let message = format!("another request is writing to the upload {id}");
            return Err(
                Error::invalid(ErrorCode::BlobUploadInvalid, message).with_status(StatusCode::CONFLICT)
            );
        };
        drop(slots);
        Ok(Lease { uploads: Arc::clone(self), id: id.clone(), upload: Some(upload) })
    }

    /// The uploads, without those that have been idle for too long.
    fn slots(&self) -> MutexGuard<'_, HashMap<UploadId, Slot<U>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, mut due) = (Instant::now(), self.due.lock().unwrap_or_else(PoisonError::into_inner));
        if due.is_none_or(|due| due <= now) {
            // One that is being written to is not idle; its request has a time-out of its own.
            slots.retain(|_, slot| match &mut slot.upload {
                Some(upload) if now.saturating_duration_since(slot.touched) >= self.timeout => {
                    upload.abandon();
                    false
                }
                _ => true,
            });
            let oldest = slots.values().map(|slot| slot.touched).min();
            *due = oldest.and_then(|oldest| oldest.checked_add(self.timeout));
        }
        drop(due);
        slots
    }
}

/// An upload that is being written to. On drop it goes back, also when the request was given up in the middle; what
/// has come stays.
#[derive(Debug)]
pub(super) struct Lease<U: Held> {
    uploads: Arc<Uploads<U>>,
    id: UploadId,
    upload: Option<Box<U>>,
}

impl<U: Held> Lease<U> {
    /// The upload; absent once it has been ended.
    pub(super) fn upload(&mut self) -> Result<&mut U, Error> {
        self.upload.as_deref_mut().ok_or_else(|| unknown(&self.id))
    }

    /// Ends the upload, unless it was cancelled in the meantime.
    pub(super) fn end(mut self) -> Result<Box<U>, Error> {
        if self.uploads.slots().remove(&self.id).is_none() {
            return Err(unknown(&self.id));
        }
        self.upload.take().ok_or_else(|| unknown(&self.id))
    }
}

impl<U: Held> Drop for Lease<U> {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        // What may take long comes before the lock.
        if self.uploads.slots().contains_key(&self.id) {
            upload.put_down();
        }
        match self.uploads.slots().get_mut(&self.id) {
            Some(slot) => {
                slot.touched = Instant::now();
                slot.received = upload.received();
                slot.upload = Some(upload);
            }
            // Cancelled in the meantime.
            None => upload.abandon(),
        }
    }
}

fn find<'a, U>(
    slots: &'a mut HashMap<UploadId, Slot<U>>,
    repository: &Repository,
    id: &UploadId,
) -> Result<&'a mut Slot<U>, Error> {
    slots.get_mut(id).filter(|slot| slot.repository == *repository).ok_or_else(|| unknown(id))
}

/// The same whether it never was, has ended, has expired, or belongs to another repository.
fn unknown(id: &UploadId) -> Error {
    let id = id.as_str().get(..64).unwrap_or(id.as_str());
    Error::new(ErrorKind::NotFound, ErrorCode::BlobUploadUnknown, format!("no upload `{id}` is open here"))
}

fn make_place<U: Held>(slots: &mut HashMap<UploadId, Slot<U>>, max: usize) -> Result<(), Error> {
    if slots.len() < max {
        return Ok(());
    }
    let idle = slots.iter().filter(|(_, slot)| slot.upload.is_some() && slot.touched.elapsed() >= SPARED);
    match idle.min_by_key(|(_, slot)| slot.touched).map(|(id, _)| id.clone()) {
        Some(oldest) => {
            abandon(slots.remove(&oldest));
            Ok(())
        }
        None => {
            let message =
                format!("{max} uploads are open, which is as many as may be; finish or cancel some");
            Err(Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
                .with_retry_after(RetryAfter::Delay(SPARED)))
        }
    }
}

fn abandon<U: Held>(slot: Option<Slot<U>>) {
    // Absent while somebody writes: then the lease does it.
    if let Some(mut upload) = slot.and_then(|slot| slot.upload) {
        upload.abandon();
    }
}

/// An identity that nobody can guess.
pub(super) fn random_id() -> Result<UploadId, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("the system has no randomness").with_source(error))?;
    hex(&bytes).parse()
}
