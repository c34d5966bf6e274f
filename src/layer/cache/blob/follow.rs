use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::rest;
use super::transfer::{Phase, Progress};
use super::transfers::Seat;
use crate::body::Body;
use crate::error::Error;
use crate::layer::cache::service::Session;
use crate::spec::range::ByteRange;
use crate::store::blobs::{counted, piece};

/// A body that follows a transfer from its own offset at its own speed: the whole blob, or the `range` of it, which must
/// lie within.
///
/// The last byte is held back until the blob has been verified. Where the size isn't known, nobody knows which one that
/// is, so that every frame waits for the next one.
pub(super) fn follow(session: Session, seat: Seat, range: Option<ByteRange>) -> Body {
    let digest = seat.digest;
    let (next, end) = match range {
        Some(range) => (range.first(), Some(range.last().saturating_add(1))),
        None => (0, seat.known_size()),
    };
    let watch = seat.watch();
    let (first, is_whole) = (next, range.is_none());
    let follower = Follower { session, seat, watch, first, next, end, is_whole, rest: None };
    let pieces = stream::try_unfold(follower, Follower::step);
    match end {
        Some(end) => Body::new(counted(pieces, digest, end.saturating_sub(next))),
        None => Body::from_stream(pieces),
    }
}

struct Follower {
    session: Session,
    seat: Seat,
    watch: watch::Receiver<Progress>,
    /// The position of the first byte that it wanted.
    first: u64,
    /// The position of the next byte.
    next: u64,
    /// The position behind the last byte, where it is known.
    end: Option<u64>,
    is_whole: bool,
    /// Of a transfer that is lost: what the upstream answered to a request of this reader's own.
    rest: Option<Body>,
}

impl Follower {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        let piece = self.piece().await?;
        Ok(piece.map(|piece| {
            self.next += piece.len() as u64;
            self.session.shared.counters.bytes_served.add(piece.len() as u64);
            (piece, self)
        }))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(rest) = &mut self.rest {
                let Some(frame) = rest.frame().await else { return Ok(None) };
                match frame?.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => continue,
                }
            }
            let progress = *self.watch.borrow_and_update();
            let limit = match progress.phase {
                Phase::Running => match self.end {
                    Some(end) => progress.written.min(end.saturating_sub(1)),
                    None => progress.last_frame,
                },
                Phase::Verified => *self.end.get_or_insert(progress.written),
                Phase::Lost => {
                    let rest =
                        rest::fetch(&self.session, &self.seat, self.next, self.end, self.is_whole).await?;
                    self.rest = Some(rest);
                    continue;
                }
                Phase::Failed => return Err(self.seat.failure()),
            };
            if self.next < limit {
                let at_once = piece(self.next - self.first);
                let facts = self.session.facts();
                match self.seat.read_for(facts, self.next, limit - self.next, at_once).await {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(error) => self.reason(error).await?,
                }
            } else if self.end == Some(self.next) {
                return Ok(None);
            } else if progress.phase == Phase::Verified || self.watch.changed().await.is_err() {
                return Err(Error::internal(format!("{} has ended before its end", self.seat.digest)));
            }
        }
    }

    /// Why something couldn't be read back. A transfer that is about to fail has given its content up a moment before.
    async fn reason(&mut self, error: Error) -> Result<(), Error> {
        let ended = self.watch.wait_for(|progress| progress.phase != Phase::Running).await;
        match ended.map(|progress| progress.phase) {
            Ok(Phase::Lost | Phase::Failed) => Ok(()),
            _ => Err(error),
        }
    }
}
