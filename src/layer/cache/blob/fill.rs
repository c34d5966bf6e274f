use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream;
use http_body_util::BodyExt as _;

use super::transfer::Transfer;
use super::window::MAX_BYTES;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::layer::cache::layer::Shared;
use crate::spec::digest::{Digest, Hasher};
use crate::store::blobs::BlobWriter;

/// Where a blob is put.
pub(super) enum Place {
    /// Into memory at first: it may be small.
    Memory,
    Store(Box<dyn BlobWriter>),
}

/// Where to put a blob of `size` bytes, if it is to be kept.
pub(super) async fn place(shared: &Shared, digest: Digest, size: Option<u64>) -> Option<Place> {
    let settings = &shared.settings;
    let Some(size) = size else { return Some(Place::Memory) };
    if settings.max_blob.is_some_and(|max| size > max) {
        tracing::warn!(%digest, size, "a blob is passed through: it is larger than what is kept");
        return None;
    }
    if size <= MAX_BYTES {
        return Some(Place::Memory);
    }
    if !shared.account.make_room(size).await {
        tracing::warn!(%digest, size, "a blob is passed through: there is no room for it");
        return None;
    }
    match shared.store.create(digest.algorithm(), Some(size)).await {
        Ok(writer) => Some(Place::Store(writer)),
        Err(error) => {
            tracing::warn!(%digest, size, %error, "a blob is passed through: it can't be stored");
            None
        }
    }
}

/// Brings `body` into the transfer and the store.
pub(super) async fn fill(shared: Arc<Shared>, transfer: Arc<Transfer>, body: Body, place: Place) {
    let writer = match place {
        Place::Memory => None,
        Place::Store(writer) => Some(writer),
    };
    if let Some(writer) = &writer {
        transfer.spooled(writer.spool());
    }
    let ending = Ending { shared, transfer };
    let filling = Filling { ending: &ending, body, writer, room: 0 };
    filling.run().await;
}

/// Ends a transfer that has not come to an end: when its task is ended or panics, nobody is to wait for it.
struct Ending {
    shared: Arc<Shared>,
    transfer: Arc<Transfer>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.transfers.remove(&self.transfer);
        if self.transfer.is_running() {
            let digest = self.transfer.digest;
            self.transfer.fail(&Error::unavailable(format!("the transfer of {digest} was ended")));
        }
    }
}

struct Filling<'a> {
    ending: &'a Ending,
    body: Body,
    writer: Option<Box<dyn BlobWriter>>,
    /// For how much room was asked: where the size isn't known, for more and more.
    room: u64,
}

/// Why a transfer doesn't come to its end.
enum Stop {
    /// The content or the upstream is at fault.
    Failed(Error),
    /// The blob can't be kept.
    Lost(Error),
    /// Nobody wants it any more.
    Abandoned,
}

impl Filling<'_> {
    fn transfer(&self) -> &Transfer {
        &self.ending.transfer
    }

    async fn run(mut self) {
        let filled = self.receive().await;
        let Ending { shared, transfer } = self.ending;
        let stop = match filled {
            Ok(()) => match self.writer.take() {
                Some(writer) => self.commit(writer).await,
                None => self.put().await,
            },
            Err(stop) => Err(stop),
        };
        let Err(stop) = stop else { return };
        // Whoever is told that it failed may ask again at once.
        shared.transfers.remove(transfer);
        let writer = self.writer.take();
        match stop {
            Stop::Lost(error) => {
                let digest = transfer.digest;
                tracing::warn!(%digest, %error, "a blob is passed through from here on: it can't be kept");
                return transfer.lost(writer);
            }
            Stop::Failed(error) => transfer.fail(&error),
            Stop::Abandoned => {
                let digest = transfer.digest;
                transfer.fail(&Error::unavailable(format!("the transfer of {digest} was abandoned")));
            }
        }
        if let Some(writer) = writer {
            writer.abort().await;
        }
    }

    /// Takes the whole body in.
    async fn receive(&mut self) -> Result<(), Stop> {
        let size = self.transfer().size;
        let mut taken: u64 = 0;
        while size != Some(taken) {
            let Some(frame) = self.next().await? else { break };
            taken = taken.saturating_add(frame.len() as u64);
            if let Some(size) = size
                && taken > size
            {
                let digest = self.transfer().digest;
                return Err(Stop::Failed(Error::corrupt(format!("{digest} has more than its {size} bytes"))));
            }
            self.take(frame, taken).await?;
        }
        match size {
            Some(size) if taken < size => {
                let digest = self.transfer().digest;
                Err(Stop::Failed(Error::corrupt(format!("{digest} broke off after {taken} of {size} bytes"))))
            }
            _ => Ok(()),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        loop {
            // A body that has its frames at hand must not keep its followers from running.
            tokio::task::coop::consume_budget().await;
            let abandoned = pin!(self.ending.transfer.abandoned.notified());
            let frame = match select(abandoned, self.body.frame()).await {
                Either::Left(_) => return Err(Stop::Abandoned),
                Either::Right((frame, _)) => frame,
            };
            let Some(frame) = frame else { return Ok(None) };
            match frame.map_err(Stop::Failed)?.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            }
        }
    }

    /// Hands a frame to the followers, then to the store. `taken` are all bytes so far.
    async fn take(&mut self, frame: Bytes, taken: u64) -> Result<(), Stop> {
        let shared = &self.ending.shared;
        shared.counters.bytes_fetched.add(frame.len() as u64);
        self.transfer().push(frame.clone());
        if let Some(max) = shared.settings.max_blob
            && taken > max
        {
            return Err(Stop::Lost(Error::unavailable("it is larger than what is kept")));
        }
        if self.writer.is_none() {
            if !self.transfer().is_window_full() {
                return Ok(());
            }
            self.ask_for_room(taken).await?;
            return self.spool().await;
        }
        self.ask_for_room(taken).await?;
        if let Some(writer) = &mut self.writer {
            writer.write(frame).await.map_err(Stop::Lost)?;
        }
        self.transfer().trim();
        Ok(())
    }

    /// Where the size isn't known, room is asked for as it is needed, twice as much each time.
    async fn ask_for_room(&mut self, taken: u64) -> Result<(), Stop> {
        let is_announced = self.transfer().size.is_some_and(|size| size > MAX_BYTES);
        if is_announced || taken <= self.room {
            return Ok(());
        }
        self.room = self.transfer().size.unwrap_or_else(|| taken.saturating_mul(2));
        if self.ending.shared.account.make_room(self.room).await {
            return Ok(());
        }
        Err(Stop::Lost(Error::unavailable("there is no room for it")))
    }

    /// Goes on in the store, since there is too much for memory.
    async fn spool(&mut self) -> Result<(), Stop> {
        let (transfer, store) = (&self.ending.transfer, &self.ending.shared.store);
        let created = store.create(transfer.digest.algorithm(), transfer.size).await;
        let writer = self.writer.insert(created.map_err(Stop::Lost)?);
        for frame in transfer.frames() {
            writer.write(frame).await.map_err(Stop::Lost)?;
        }
        transfer.spooled(writer.spool());
        Ok(())
    }

    /// The end of what went into the store.
    async fn commit(&mut self, writer: Box<dyn BlobWriter>) -> Result<(), Stop> {
        let Ending { shared, transfer } = self.ending;
        let (digest, size) = (transfer.digest, writer.written());
        match writer.commit(digest, size).await {
            Ok(()) => {
                shared.account.kept(digest, size);
                transfer.verified();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => Err(Stop::Failed(error)),
            // The content may be right all the same.
            Err(error) => match transfer.hashed(size).await {
                Ok(hasher) => {
                    check(digest, hasher)?;
                    transfer.verified();
                    tracing::warn!(%digest, size, %error, "a blob is not kept");
                    Ok(())
                }
                Err(_) => Err(Stop::Lost(error)),
            },
        }
    }

    /// The end of what is all in memory: it is answered first.
    async fn put(&mut self) -> Result<(), Stop> {
        let Ending { shared, transfer } = self.ending;
        let (digest, frames) = (transfer.digest, transfer.frames());
        let mut hasher = Hasher::new(digest.algorithm());
        frames.iter().for_each(|frame| hasher.update(frame));
        check(digest, hasher)?;
        transfer.verified();
        let size = transfer.progress().written;
        if !shared.account.make_room(size).await {
            tracing::warn!(%digest, size, "a blob is not kept: there is no room for it");
            return Ok(());
        }
        let body = Body::from_stream(stream::iter(frames.into_iter().map(Ok::<_, Error>)));
        match shared.store.put(digest, Some(size), body).await {
            Ok(size) => shared.account.kept(digest, size),
            Err(error) => tracing::warn!(%digest, size, %error, "a blob is not kept"),
        }
        Ok(())
    }
}

fn check(digest: Digest, hasher: Hasher) -> Result<(), Stop> {
    let found = hasher.finish();
    if found == digest {
        return Ok(());
    }
    Err(Stop::Failed(Error::corrupt(format!("the content of {digest} is {found}"))))
}
