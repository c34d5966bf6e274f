use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, too_large};
use crate::error::Error;

/// A body that fails once it is longer than it may be.
pub(super) struct Limit {
    body: Body,
    left: u64,
    max: u64,
    what: &'static str,
    failed: bool,
}

impl Limit {
    pub(super) fn new(body: Body, max: u64, what: &'static str) -> Self {
        Self { body, left: max, max, what, failed: false }
    }
}

impl HttpBody for Limit {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else { return Poll::Ready(None) };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.failed = true;
                Poll::Ready(Some(Err(too_large(self.what, self.max))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
