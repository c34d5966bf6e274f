use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::body::Body;
use crate::error::Error;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    Flip(u64),
    Invert,
    CutOff(u64),
    EndsEarly(u64),
    Stall(u64),
    Trickle(usize, Duration),
    /// Nothing, but its size isn't told.
    Unsized,
}

/// A body on which damage is done.
pub(super) struct Damaged {
    body: Body,
    damage: Damage,
    /// Bytes handed on.
    given: u64,
    /// What waits to be handed on in small pieces.
    held: Bytes,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether there was time to send what came before the end.
    flushed: bool,
    done: bool,
}

impl Damaged {
    pub(super) fn apply(body: Body, damage: Damage) -> Body {
        // Small content that is all there would be sent with its length, whatever the damage.
        Body::new(Self {
            body,
            damage,
            given: 0,
            held: Bytes::new(),
            sleep: None,
            flushed: false,
            done: false,
        })
    }

    /// How many bytes may still come, where the damage says so.
    fn left(&self) -> Option<u64> {
        match self.damage {
            Damage::CutOff(at) | Damage::EndsEarly(at) | Damage::Stall(at) => {
                Some(at.saturating_sub(self.given))
            }
            _ => None,
        }
    }

    fn give(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let start = self.given;
        self.given = self.given.saturating_add(data.len() as u64);
        let data = match self.damage {
            Damage::Flip(at) if start <= at && at < self.given => {
                let mut changed = data.to_vec();
                let index = usize::try_from(at - start).unwrap_or(usize::MAX);
                if let Some(byte) = changed.get_mut(index) {
                    *byte ^= 1;
                }
                changed.into()
            }
            Damage::Invert => data.iter().map(|byte| !byte).collect(),
            _ => data,
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl HttpBody for Damaged {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if this.left() == Some(0) {
            return match this.damage {
                Damage::Stall(_) => Poll::Pending,
                // A server that meets an error at once drops what it hasn't sent yet, headers included.
                Damage::CutOff(_) if !this.flushed => {
                    this.flushed = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Damage::CutOff(_) => {
                    this.done = true;
                    let given = this.given;
                    Poll::Ready(Some(Err(Error::unavailable(format!(
                        "the connection was closed after {given} bytes of the body"
                    )))))
                }
                _ => {
                    this.done = true;
                    Poll::Ready(None)
                }
            };
        }
        if this.held.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
                this.done = true;
                return Poll::Ready(None);
            };
            this.held = frame.into_data().unwrap_or_default();
        }
        let mut piece = usize::MAX;
        if let Damage::Trickle(bytes, every) = this.damage {
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            ready!(sleep.as_mut().poll(cx));
            // A time too long for the clock has passed once already; it can't be asked for again.
            if let Some(next) = Instant::now().checked_add(every) {
                sleep.as_mut().reset(next);
            }
            piece = bytes.max(1);
        }
        if let Some(left) = this.left() {
            piece = piece.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let data = this.held.split_to(piece.min(this.held.len()));
        this.give(data)
    }

    /// Never before it has been polled to its end: the damage may be there.
    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        match self.damage {
            Damage::Unsized | Damage::EndsEarly(_) => SizeHint::new(),
            _ => match self.body.size() {
                Some(size) => SizeHint::with_exact(size.saturating_add(self.held.len() as u64)),
                None => SizeHint::new(),
            },
        }
    }
}
