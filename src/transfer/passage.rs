use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::progress::Tally;
use crate::body::Body;
use crate::error::Error;

/// One blob on its way, once: how much of it has gone, and why its source ended early, if it did.
#[derive(Debug)]
pub(super) struct Passage {
    tally: Arc<Tally>,
    moved: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl Passage {
    pub(super) fn new(tally: &Arc<Tally>) -> Arc<Self> {
        Arc::new(Self { tally: Arc::clone(tally), moved: AtomicU64::new(0), failure: Mutex::new(None) })
    }

    /// The content, counted.
    pub(super) fn body(self: &Arc<Self>, body: Body) -> Body {
        // What is there as a whole stays so: it can be sent again by whoever sends it.
        if body.as_bytes().is_some() { body } else { Body::new(Counted { body, passage: Arc::clone(self) }) }
    }

    /// What the source failed with: the destination isn't to blame for that.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// All `size` bytes are where they should be.
    pub(super) fn arrived(&self, size: u64) {
        let rest = size.saturating_sub(self.moved.swap(size, Ordering::AcqRel));
        self.tally.change(|progress| {
            progress.bytes_done = progress.bytes_done.saturating_add(rest);
            progress.blobs_done += 1;
        });
    }

    /// What has gone has gone in vain.
    pub(super) fn undo(&self) {
        let moved = self.moved.swap(0, Ordering::AcqRel);
        if moved > 0 {
            self.tally.change(|progress| progress.bytes_done = progress.bytes_done.saturating_sub(moved));
        }
    }

    fn count(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::AcqRel);
        self.tally.change(|progress| progress.bytes_done = progress.bytes_done.saturating_add(bytes));
    }
}

struct Counted {
    body: Body,
    passage: Arc<Passage>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.passage.count(frame.data_ref().map_or(0, |data| data.len() as u64));
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let told =
                    Error::new(error.kind(), error.code(), error.message()).with_status(error.status());
                *self.passage.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some(Err(told))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
