//! Blobs: from the store, from a transfer that is on its way, or from the upstream.
//!
//! A miss is asked for once per reader ([`ask`]), in a task that no reader can end. The first answer becomes the
//! transfer of the blob ([`fill`]), whose progress ([`transfer`]) any number of readers follow ([`follow`]). When the
//! store fails in the middle, each of them gets the rest by itself ([`rest`]).

mod ask;
mod failure;
mod fill;
mod follow;
mod kept;
mod rest;
mod transfer;
mod transfers;
mod window;

use http::Extensions;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use self::ask::{Answer, Landing, Outcome};
pub(super) use self::failure::Failure;
use self::transfer::Phase;
use self::transfers::Seat;
pub(super) use self::transfers::Transfers;
use super::service::{Session, is_out_of_reach, slow};
use super::visibility::Access;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{
    Blob, BlobContent, BlobPart, CacheStatus, Forward, GetBlob, Response, Verified, Warnings,
};
use crate::spec::digest::Digest;
use crate::spec::range::Satisfied;
use crate::store::blobs::counted;
use crate::store::recent::lock;

pub(super) async fn answer(session: Session, asked: GetBlob) -> Result<Response, Error> {
    let came = Instant::now();
    let access = session.shared.visibility.sees(&session.reader, asked.digest);
    let is_granted = access == Access::Granted;
    if is_granted && let Some(response) = known(&session, &asked, session.hit()).await? {
        return Ok(response);
    }
    match ask::ask(&session, &asked, is_granted) {
        Answer::Full => {
            tracing::warn!(digest = %asked.digest, "a blob is passed through: no more tasks may be started");
            pass(&session, asked).await
        }
        Answer::Transfer(seat) => match follow(&session, &asked, seat).await? {
            Some(blob) => Ok(collapsed(&session, Extensions::new(), blob, Forward::Miss)),
            None => pass(&session, asked).await,
        },
        Answer::Asked(mut asking) => {
            let limit = session.shared.settings.revalidation_timeout;
            if access == Access::Expired
                && !asking.lands_within(came, limit).await
                && let Ok(response) = stale(&session, &asked, slow(limit)).await
            {
                return Ok(response);
            }
            let landing = asking.landed().await?;
            landed(session, asked, &landing, access, asking.is_first).await
        }
    }
}

/// What can be answered without asking the upstream: what is kept, with `status`, or on its way.
async fn known(session: &Session, asked: &GetBlob, status: CacheStatus) -> Result<Option<Response>, Error> {
    let shared = &session.shared;
    if asked.conditions.has(&asked.digest) {
        return Ok(Some(hit(session, not_modified(asked.digest, None), status)));
    }
    if let Some(seat) = shared.transfers.seat(shared, asked.digest) {
        if asked.head && seat.known_size().is_none() {
            return Ok(None);
        }
        let blob = follow(session, asked, seat).await?;
        return Ok(blob.map(|blob| collapsed(session, Extensions::new(), blob, Forward::Miss)));
    }
    let blob = kept::read(session, asked).await?;
    Ok(blob.map(|blob| hit(session, blob, status)))
}

/// What the upstream's answer means for this reader.
async fn landed(
    session: Session,
    asked: GetBlob,
    landing: &Landing,
    access: Access,
    is_first: bool,
) -> Result<Response, Error> {
    let forward = if access == Access::Expired { Forward::Stale } else { Forward::Miss };
    let facts = landing.facts.clone();
    let forwarded = |blob| {
        if !is_first {
            return collapsed(&session, facts, blob, forward);
        }
        session.shared.counters.misses.add(1);
        respond(&session, facts, blob, session.forwarded(forward))
    };
    let mut blob = match &landing.outcome {
        Outcome::Failed(failure) => {
            let error = failure.error();
            if access == Access::Expired && is_out_of_reach(&error) {
                return stale(&session, &asked, error).await;
            }
            return Err(error);
        }
        Outcome::Head(_) if asked.conditions.has(&asked.digest) => Some(not_modified(asked.digest, None)),
        Outcome::Head(size) => Some(Blob::head(asked.digest, *size)),
        Outcome::Transfer(seat) => follow(&session, &asked, seat.clone()).await?,
        Outcome::Kept(_) if asked.conditions.has(&asked.digest) => Some(not_modified(asked.digest, None)),
        Outcome::Kept(was_asked) => match kept::read(&session, &asked).await? {
            Some(blob) if !was_asked => return Ok(hit(&session, blob, session.hit())),
            blob => blob,
        },
        Outcome::Passed(response) => {
            let is_plain = asked.range.is_none() && asked.conditions == Default::default();
            let response = if is_plain { lock(response).take() } else { None };
            let Some(response) = response else { return pass(&session, asked).await };
            session.shared.counters.passed.add(1);
            return Ok(session.marked(response.erase(), session.forwarded(Forward::Bypass)));
        }
    };
    if let Some(blob) = &mut blob {
        blob.media_type.clone_from(&landing.media_type);
    }
    match blob {
        Some(blob) => {
            let is_stored = is_first && matches!(landing.outcome, Outcome::Transfer(_));
            let mut response = forwarded(blob);
            if is_stored && let Some(status) = response.extensions_mut().get_mut::<CacheStatus>() {
                status.stored = true;
            }
            Ok(response)
        }
        None => pass(&session, asked).await,
    }
}

/// The upstream can't be asked whether this reader may still read what it has read before.
async fn stale(session: &Session, asked: &GetBlob, error: Error) -> Result<Response, Error> {
    let known = known(session, asked, session.forwarded(Forward::Stale)).await;
    let Ok(Some(mut response)) = known else { return Err(error) };
    let text = format!("stale: whether this may still be read couldn't be checked: {error}");
    response.extensions_mut().insert(Warnings::new([text]));
    Ok(response)
}

/// What was asked for of a blob that is on its way; none when it isn't any more, and the upstream is to be asked.
async fn follow(session: &Session, asked: &GetBlob, seat: Seat) -> Result<Option<Blob>, Error> {
    let digest = asked.digest;
    let mut size = seat.known_size();
    if asked.conditions.has(&digest) {
        return Ok(Some(not_modified(digest, size)));
    }
    if asked.head {
        return Ok(size.map(|size| Blob::head(digest, Some(size))));
    }
    let range = asked.range.as_ref().filter(|_| asked.conditions.allow_range(&digest));
    // A range of a blob of unknown size means nothing yet, and where there are no bytes none can be held back.
    if size.is_none() && range.is_some() || size == Some(0) {
        let mut watch = seat.watch();
        let ended = watch.wait_for(|progress| progress.phase != Phase::Running).await;
        match ended.map(|progress| progress.phase) {
            Ok(Phase::Verified) => size = seat.known_size(),
            Ok(Phase::Lost) => return Ok(None),
            _ => return Err(seat.failure()),
        }
    }
    let satisfied = match (range, size) {
        (Some(range), Some(size)) => range.resolve(size),
        _ => Satisfied::Whole,
    };
    let session = session.clone();
    Ok(Some(match (satisfied, size) {
        (Satisfied::None, Some(size)) => return Err(outside(digest, size)),
        (Satisfied::One(range), Some(size)) => {
            Blob::part(digest, size, BlobPart::new(range, follow::follow(session, seat, Some(range))))
        }
        // Several parts of what isn't there yet would each wait for their bytes, in the order of the request.
        _ => Blob::whole(digest, size, follow::follow(session, seat, None)),
    }))
}

/// Hands the request on as it is: the answer isn't kept.
async fn pass(session: &Session, asked: GetBlob) -> Result<Response, Error> {
    session.shared.counters.passed.add(1);
    let head = asked.head;
    let mut response = session.ask(asked, |_| {}).await?;
    // Nobody below may have checked it. Of a part only the length can be.
    let is_verified = response.extensions().get::<Verified>().is_some();
    let blob = response.reply_mut();
    match &mut blob.content {
        BlobContent::Whole(body) if !head && !is_verified => {
            *body = std::mem::take(body).verified(blob.digest, blob.size)?;
            response.extensions_mut().insert(Verified::new());
        }
        BlobContent::Part(part) => {
            let pieces = std::mem::take(&mut part.body).into_data_stream();
            part.body = Body::new(counted(pieces, blob.digest, part.range.length()));
        }
        _ => {}
    }
    Ok(session.marked(response.erase(), session.forwarded(Forward::Bypass)))
}

fn not_modified(digest: Digest, size: Option<u64>) -> Blob {
    Blob { digest, size, media_type: None, content: BlobContent::NotModified }
}

fn outside(digest: Digest, size: u64) -> Error {
    let message = format!("no range that was asked for lies within the {size} bytes of {digest}");
    Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid, message).with_content_size(size)
}

/// An answer that no upstream was asked for.
fn hit(session: &Session, blob: Blob, status: CacheStatus) -> Response {
    let counters = &session.shared.counters;
    match status.forward {
        None => counters.hits.add(1),
        Some(_) => counters.stale.add(1),
    }
    respond(session, Extensions::new(), blob, status)
}

/// An answer that an upstream was asked for on behalf of another reader.
fn collapsed(session: &Session, facts: Extensions, blob: Blob, forward: Forward) -> Response {
    session.shared.counters.collapsed.add(1);
    let mut status = session.forwarded(forward);
    status.collapsed = true;
    respond(session, facts, blob, status)
}

fn respond(session: &Session, facts: Extensions, blob: Blob, status: CacheStatus) -> Response {
    let is_whole = matches!(blob.content, BlobContent::Whole(_));
    let mut response = Response::from_parts(blob, facts).erase();
    if is_whole {
        response.extensions_mut().insert(Verified::new());
    }
    session.marked(response, status)
}
