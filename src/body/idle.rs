use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Body;
use crate::error::Error;

/// A body that fails when a frame takes too long to come.
///
/// The clock runs only while the body is polled and has nothing: a slow reader is not the upstream's fault.
pub(super) struct IdleTimeout {
    body: Body,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    failed: bool,
}

impl IdleTimeout {
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit, sleep: None, waiting: false, failed: false }
    }
}

impl HttpBody for IdleTimeout {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.failed {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame);
        }
        let limit = this.limit;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !this.waiting {
            this.waiting = true;
            // A limit too large for the clock is no limit.
            if let Some(deadline) = Instant::now().checked_add(limit) {
                sleep.as_mut().reset(deadline);
            }
        }
        std::task::ready!(sleep.as_mut().poll(cx));
        this.failed = true;
        let seconds = limit.as_secs_f64();
        Poll::Ready(Some(Err(Error::timed_out(format!(
            "nothing came for {seconds} s in the middle of a body"
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
