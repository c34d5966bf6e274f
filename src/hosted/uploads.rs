use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::upload::Upload;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::operation::UploadId;
use crate::spec::digest::hex;
use crate::spec::name::Repository;

/// How long an upload has been idle at least before it makes place for a new one.
const SPARED: Duration = Duration::from_secs(60);

/// The open uploads. The lock is held for look-ups only: whoever writes to an upload takes it out.
#[derive(Debug)]
pub(super) struct Uploads {
    slots: Mutex<HashMap<UploadId, Slot>>,
    max: usize,
    timeout: Duration,
}

#[derive(Debug)]
struct Slot {
    repository: Repository,
    touched: Instant,
    received: u64,
    /// Absent while a request writes to it.
    upload: Option<Box<Upload>>,
}

impl Uploads {
    pub(super) fn new(max: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), max, timeout })
    }

    /// How many are open, after those that have expired are gone.
    pub(super) fn len(&self) -> usize {
        self.slots().len()
    }

    /// Gives back what uploads have that have been idle for too long; every look-up does it too.
    pub(super) fn expire(&self) {
        drop(self.slots());
    }

    pub(super) fn open(&self, repository: Repository, upload: Upload) -> Result<UploadId, Error> {
        let id = random_id()?;
        let mut slots = self.slots();
        make_place(&mut slots, self.max)?;
        let slot = Slot { repository, touched: Instant::now(), received: 0, upload: Some(Box::new(upload)) };
        slots.insert(id.clone(), slot);
        Ok(id)
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
        slots.remove(id);
        Ok(())
    }

    /// Takes an upload out to write to it.
    pub(super) fn take(self: &Arc<Self>, repository: &Repository, id: &UploadId) -> Result<Lease, Error> {
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
    fn slots(&self) -> MutexGuard<'_, HashMap<UploadId, Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is being written to is not idle; its request has a time-out of its own.
        slots.retain(|_, slot| slot.upload.is_none() || slot.touched.elapsed() < self.timeout);
        slots
    }
}

/// An upload that is being written to. On drop it goes back, also when the request was given up in the middle; what
/// has come stays.
#[derive(Debug)]
pub(super) struct Lease {
    uploads: Arc<Uploads>,
    id: UploadId,
    upload: Option<Box<Upload>>,
}

impl Lease {
    /// The upload; absent once it has been ended.
    pub(super) fn upload(&mut self) -> Result<&mut Upload, Error> {
        self.upload.as_deref_mut().ok_or_else(|| unknown(&self.id))
    }

    /// Ends the upload, unless it was cancelled in the meantime.
    pub(super) fn end(mut self) -> Result<Box<Upload>, Error> {
        let known = self.uploads.slots().remove(&self.id).is_some();
        self.upload.take().filter(|_| known).ok_or_else(|| unknown(&self.id))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Cancelled in the meantime: it just goes.
        if let Some(slot) = self.uploads.slots().get_mut(&self.id) {
            slot.touched = Instant::now();
            slot.received = upload.received();
            slot.upload = Some(upload);
        }
    }
}

fn find<'a>(
    slots: &'a mut HashMap<UploadId, Slot>,
    repository: &Repository,
    id: &UploadId,
) -> Result<&'a mut Slot, Error> {
    slots.get_mut(id).filter(|slot| slot.repository == *repository).ok_or_else(|| unknown(id))
}

/// The same whether it never was, has ended, has expired, or belongs to another repository.
fn unknown(id: &UploadId) -> Error {
    let id = id.as_str().get(..64).unwrap_or(id.as_str());
    Error::new(ErrorKind::NotFound, ErrorCode::BlobUploadUnknown, format!("no upload `{id}` is open here"))
}

fn make_place(slots: &mut HashMap<UploadId, Slot>, max: usize) -> Result<(), Error> {
    if slots.len() < max {
        return Ok(());
    }
    let idle = slots.iter().filter(|(_, slot)| slot.upload.is_some() && slot.touched.elapsed() >= SPARED);
    match idle.min_by_key(|(_, slot)| slot.touched).map(|(id, _)| id.clone()) {
        Some(oldest) => {
            slots.remove(&oldest);
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

fn random_id() -> Result<UploadId, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("the system has no randomness").with_source(error))?;
    hex(&bytes).parse()
}
