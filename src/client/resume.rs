use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::operation::BoxFuture;

/// How many resumptions in a row may bring nothing.
pub(super) const MAX_FRUITLESS: u32 = 4;

/// How many resumptions one body is worth.
pub(super) const MAX_RESUMED: u32 = 32;

/// Where a body is to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The first byte that is still missing.
    pub(super) next: u64,
    /// How many resumptions before this one brought nothing.
    pub(super) fruitless: u32,
}

/// Brings the rest of a body from a position on.
pub(super) type Resume = Box<dyn Fn(Position) -> BoxFuture<'static, Result<Body, Error>> + Send>;

/// A body that goes on by a range request where it breaks off: when it fails, or ends before its end.
///
/// What comes is handed on as it is; whoever verifies it hashes the joined stream.
pub(super) struct Resuming {
    state: State,
    resume: Resume,
    /// What it is, for messages.
    what: String,
    /// The position of the next byte in the whole.
    next: u64,
    /// The position behind the last byte, where it is known.
    end: Option<u64>,
    fruitless: u32,
    resumed: u32,
}

enum State {
    Reading(Body),
    Resuming(BoxFuture<'static, Result<Body, Error>>),
    Done,
}

impl Resuming {
    /// `body`, whose bytes stand from `first` to before `end` in the whole.
    pub(super) fn new(body: Body, first: u64, end: Option<u64>, what: String, resume: Resume) -> Self {
        let state = if end.is_some_and(|end| end <= first) { State::Done } else { State::Reading(body) };
        Self { state, resume, what, next: first, end, fruitless: 0, resumed: 0 }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.state = State::Done;
        Poll::Ready(Some(Err(error)))
    }

    /// Goes on after a break, or fails with its reason.
    fn broke_off(&mut self, reason: Error) -> Result<(), Error> {
        let reason = match self.end {
            Some(end) => {
                reason.context(format_args!("{} broke off at byte {} of {end}", self.what, self.next))
            }
            None => reason.context(format_args!("{} broke off at byte {}", self.what, self.next)),
        };
        // A size over a limit or a refusal of ours would be the same again.
        let hopeless = matches!(reason.kind(), ErrorKind::Denied | ErrorKind::TooLarge | ErrorKind::Corrupt);
        if hopeless || self.fruitless >= MAX_FRUITLESS || self.resumed >= MAX_RESUMED {
            return Err(reason);
        }
        let position = Position { next: self.next, fruitless: self.fruitless };
        self.fruitless += 1;
        self.resumed += 1;
        self.state = State::Resuming((self.resume)(position));
        Ok(())
    }
}

impl HttpBody for Resuming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            let broken = match &mut this.state {
                State::Done => return Poll::Ready(None),
                State::Resuming(future) => match ready!(future.as_mut().poll(cx)) {
                    Ok(body) => {
                        this.state = State::Reading(body);
                        continue;
                    }
                    Err(error) => {
                        let context = format!("{} broke off at byte {}", this.what, this.next);
                        return this.fail(error.context(context));
                    }
                },
                State::Reading(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                        if length == 0 {
                            continue;
                        }
                        let next = this.next.saturating_add(length);
                        if let Some(end) = this.end
                            && next >= end
                        {
                            if next > end {
                                let what = &this.what;
                                let error =
                                    Error::corrupt(format!("{what} goes on behind its end at byte {end}"));
                                return this.fail(error);
                            }
                            this.state = State::Done;
                        }
                        this.next = next;
                        this.fruitless = 0;
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    None if this.end.is_none() => {
                        this.state = State::Done;
                        return Poll::Ready(None);
                    }
                    None => Error::unavailable("the upstream ended it"),
                    Some(Err(error)) => error,
                },
            };
            if let Err(error) = this.broke_off(broken) {
                return this.fail(error);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.state, self.end) {
            (State::Done, _) => SizeHint::with_exact(0),
            (_, Some(end)) => SizeHint::with_exact(end.saturating_sub(self.next)),
            (State::Reading(body), None) => {
                let mut hint = SizeHint::new();
                hint.set_lower(body.size_hint().lower());
                hint
            }
            (State::Resuming(_), None) => SizeHint::default(),
        }
    }
}

/// What tells one content from another that is there under the same name later: validators of the first answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    etag: Option<HeaderValue>,
    digest: Option<HeaderValue>,
}

/// The digest of the content, as registries tell it.
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Identity {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let get = |name: HeaderName| headers.get(name).cloned();
        Self { etag: get(header::ETAG), digest: get(DOCKER_CONTENT_DIGEST) }
    }

    /// Whether another answer is of the same content, as far as both tell.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let same = |one: &Option<HeaderValue>, other: &Option<HeaderValue>| match (one, other) {
            (Some(one), Some(other)) => weak(one) == weak(other),
            _ => true,
        };
        same(&self.etag, &other.etag) && same(&self.digest, &other.digest)
    }
}

fn weak(tag: &HeaderValue) -> &[u8] {
    tag.as_bytes().strip_prefix(b"W/").unwrap_or(tag.as_bytes())
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
