use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Extensions;
use tokio::time::Instant;

use super::failure::Failure;
use super::transfers::{Asked, Flight, Joined, Seat, Waiting};
use super::{fill, kept};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::layer::cache::flight::within;
use crate::layer::cache::service::Session;
use crate::layer::cache::visibility::Access;
use crate::operation::{
    Blob, BlobContent, GetBlob, Request, Response, Verified, WithoutRedirect, WithoutVerification,
};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;

/// What is told to those who share a question: nothing yet, or the answer.
pub(super) type Landed = Option<Arc<Landing>>;

/// What an upstream answered, for all who asked.
pub(super) struct Landing {
    pub(super) outcome: Outcome,
    /// The type that the upstream serves it with.
    pub(super) media_type: Option<MediaType>,
    /// What the answer says beside the content.
    pub(super) facts: Extensions,
}

pub(super) enum Outcome {
    Failed(Failure),
    /// It is on its way.
    Transfer(Seat),
    /// It is in the store. Whether the upstream was asked.
    Kept(bool),
    /// It isn't kept. One of those who asked can have the answer, the others ask for themselves.
    Passed(Mutex<Option<Response<Blob>>>),
    /// Size and existence, to a `HEAD`.
    Head(Option<u64>),
}

impl Landing {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, media_type: None, facts: Extensions::new() }
    }
}

/// What came of a question.
pub(super) enum Answer {
    /// Nobody had to ask.
    Transfer(Seat),
    /// The upstream is being asked.
    Asked(Asking),
    /// So much is going on already that it can't be asked in a task of its own.
    Full,
}

/// A reader's place among those who wait for an answer.
pub(super) struct Asking {
    digest: Digest,
    waiting: Waiting,
    /// Whether this is the reader for whom it is asked.
    pub(super) is_first: bool,
}

impl Asking {
    /// The answer of the upstream.
    pub(super) async fn landed(&mut self) -> Result<Arc<Landing>, Error> {
        let landed = self.waiting.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        landed.ok_or_else(|| Error::unavailable(format!("the request for {} was ended", self.digest)))
    }

    /// Whether the answer is there in time for a reader that came at `came`.
    pub(super) async fn lands_within(&mut self, came: Instant, limit: Duration) -> bool {
        let since = came.min(self.waiting.since);
        within(since, limit, self.waiting.told.wait_for(Option::is_some)).await.is_some()
    }
}

/// Asks the upstream, together with those who have the same question.
pub(super) fn ask(session: &Session, asked: &GetBlob, is_granted: bool) -> Answer {
    let (shared, digest) = (&session.shared, asked.digest);
    let question = Asked { reader: session.reader.clone(), digest, head: asked.head };
    match shared.transfers.join(shared, question, is_granted && !asked.head) {
        Joined::Transfer(seat) => Answer::Transfer(seat),
        Joined::Flight(waiting) => Answer::Asked(Asking { digest, waiting, is_first: false }),
        Joined::First(flight, waiting) => {
            // In a task of its own, so that a caller who leaves doesn't end it for the others.
            if !shared.tasks.spawn(Box::pin(fly(session.clone(), flight))) {
                return Answer::Full;
            }
            Answer::Asked(Asking { digest, waiting, is_first: true })
        }
    }
}

/// What every request for content says: it comes here, and it is checked here.
pub(super) fn mark(request: &mut Request<GetBlob>) {
    request.extensions_mut().insert(WithoutRedirect::new());
    request.extensions_mut().insert(WithoutVerification::new());
}

/// Asks, tells the answer, and brings the blob where that is to be done.
async fn fly(session: Session, flight: Flight) {
    let digest = flight.asked.digest;
    let is_granted = session.shared.visibility.sees(&session.reader, digest) == Access::Granted;
    // It may have come since this reader looked for it.
    if !flight.asked.head && is_granted && kept::is_kept(&session, digest).await {
        return flight.land(Landing::new(Outcome::Kept(false)));
    }
    let repository = session.repository().clone();
    let operation = match flight.asked.head {
        true => GetBlob::head(repository, digest),
        false => GetBlob::new(repository, digest),
    };
    let response = session.ask(operation, mark).await.and_then(|response| agreed(digest, response));
    match response {
        Ok(response) => admitted(session, flight, response).await,
        Err(error) => {
            if error.kind() == ErrorKind::NotFound {
                session.shared.visibility.gone(&session.reader.scope, digest);
            }
            flight.land(Landing::new(Outcome::Failed(Failure::from(&error))));
        }
    }
}

/// The upstream let this reader in.
async fn admitted(session: Session, flight: Flight, response: Response<Blob>) {
    let shared = Arc::clone(&session.shared);
    let (blob, mut facts) = response.into_parts();
    let Blob { digest, size, media_type, content } = blob;
    let body = match content {
        BlobContent::Whole(body) => body,
        // It is elsewhere, say, though it was asked for here.
        content => {
            let response = Response::from_parts(Blob { digest, size, media_type, content }, facts);
            return flight.land(Landing::new(Outcome::Passed(Mutex::new(Some(response)))));
        }
    };
    shared.visibility.saw(&session.reader, digest);
    let is_verified = facts.remove::<Verified>().is_some();
    let landing = |outcome| Landing { outcome, media_type: media_type.clone(), facts: facts.clone() };
    if flight.asked.head {
        return flight.land(landing(Outcome::Head(size)));
    }
    // What somebody else brings, or has brought, serves this reader as well from now on.
    if let Some(seat) = shared.transfers.seat(&shared, digest) {
        return flight.land(landing(Outcome::Transfer(seat)));
    }
    if kept::is_kept(&session, digest).await {
        return flight.land(landing(Outcome::Kept(true)));
    }
    let body = body.idle_timeout(shared.settings.read_timeout);
    let Some(place) = fill::place(&shared, digest, size).await else {
        let outcome = match checked(body, digest, size, is_verified) {
            Ok(body) => {
                let blob =
                    Blob { digest, size, media_type: media_type.clone(), content: BlobContent::Whole(body) };
                let mut response = Response::from_parts(blob, facts.clone());
                response.extensions_mut().insert(Verified::new());
                Outcome::Passed(Mutex::new(Some(response)))
            }
            Err(error) => Outcome::Failed(Failure::from(&error)),
        };
        return flight.land(landing(outcome));
    };
    match shared.transfers.begin(&shared, digest, size) {
        Err(seat) => flight.land(landing(Outcome::Transfer(seat))),
        Ok((transfer, seat)) => {
            flight.land(landing(Outcome::Transfer(seat)));
            fill::fill(shared, transfer, body, place).await;
        }
    }
}

/// The answer, if it is to what was asked, and doesn't contradict itself.
fn agreed(digest: Digest, mut response: Response<Blob>) -> Result<Response<Blob>, Error> {
    let blob = response.reply_mut();
    if blob.digest != digest {
        return Err(Error::corrupt(format!("the blob {digest} was answered with {}", blob.digest)));
    }
    if let BlobContent::Whole(body) = &blob.content
        && let (Some(size), Some(announced)) = (blob.size, body.size())
        && size != announced
        && !body.as_bytes().is_some_and(|bytes| bytes.is_empty())
    {
        return Err(Error::corrupt(format!("{digest} has {size} bytes, but {announced} were announced")));
    }
    Ok(response)
}

fn checked(body: Body, digest: Digest, size: Option<u64>, is_verified: bool) -> Result<Body, Error> {
    if is_verified { Ok(body) } else { body.verified(digest, size) }
}
