use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Body;
use crate::error::Error;
use crate::spec::digest::{Digest, Hasher};

/// A body that ends well only with the right digest and size.
///
/// When the size is known, the frame that completes it is held back until the digest agrees, and the check ends on
/// the count, whatever the framing. When it isn't, every frame waits for the next one, so that the last is known.
pub(super) struct Verify {
    body: Body,
    digest: Digest,
    size: Option<u64>,
    hasher: Option<Hasher>,
    /// Bytes taken from the inner body.
    taken: u64,
    /// Bytes handed on.
    given: u64,
    /// A frame that was handed on and is still to be hashed: forward first, hash then.
    unhashed: Option<Bytes>,
    /// Without a size: the frame that waits for the next.
    held: Option<Bytes>,
}

impl Verify {
    pub(super) fn new(body: Body, digest: Digest, size: Option<u64>) -> Self {
        Self::resumed(body, Hasher::new(digest.algorithm()), 0, digest, size)
    }

    /// `body` is what follows the first `taken` bytes, which `hasher` has seen.
    pub(super) fn resumed(body: Body, hasher: Hasher, taken: u64, digest: Digest, size: Option<u64>) -> Self {
        let hasher = Some(hasher);
        Self { body, digest, size, hasher, taken, given: taken, unhashed: None, held: None }
    }

    /// Ends the body with `error`: nothing is handed on after it.
    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.hasher = None;
        self.held = None;
        self.unhashed = None;
        self.body = Body::empty();
        Poll::Ready(Some(Err(error)))
    }

    fn give(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.given += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Hands the last frame on, if all agrees.
    fn finish(&mut self, last: Option<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let found = self.hasher.take().map(Hasher::finish);
        if found != Some(self.digest) {
            let found = found.map(|found| found.to_string()).unwrap_or_default();
            return self.fail(Error::corrupt(format!("the content of {} is {found}", self.digest)));
        }
        self.body = Body::empty();
        match last {
            Some(last) => self.give(last),
            None => Poll::Ready(None),
        }
    }
}

impl HttpBody for Verify {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            let Some(hasher) = &mut this.hasher else { return Poll::Ready(None) };
            if let Some(unhashed) = this.unhashed.take() {
                hasher.update(&unhashed);
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return this.fail(error),
                None => {
                    return match this.size {
                        Some(size) => {
                            let taken = this.taken;
                            this.fail(Error::corrupt(format!(
                                "{} broke off after {taken} of {size} bytes",
                                this.digest
                            )))
                        }
                        None => {
                            let held = this.held.take();
                            this.finish(held)
                        }
                    };
                }
            };
            let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else { continue };
            this.taken = this.taken.saturating_add(data.len() as u64);
            match this.size {
                Some(size) if this.taken > size => {
                    return this
                        .fail(Error::corrupt(format!("{} has more than its {size} bytes", this.digest)));
                }
                Some(size) if this.taken == size => {
                    hasher.update(&data);
                    return this.finish(Some(data));
                }
                Some(_) => {
                    this.unhashed = Some(data.clone());
                    return this.give(data);
                }
                None => {
                    this.unhashed = Some(data.clone());
                    if let Some(before) = this.held.replace(data) {
                        return this.give(before);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hasher.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.hasher.is_none() {
            return SizeHint::with_exact(0);
        }
        match self.size {
            Some(size) => SizeHint::with_exact(size.saturating_sub(self.given)),
            None => {
                let held = self.held.as_ref().map_or(0, |held| held.len() as u64);
                let inner = self.body.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(inner.lower().saturating_add(held));
                if let Some(upper) = inner.upper() {
                    hint.set_upper(upper.saturating_add(held));
                }
                hint
            }
        }
    }
}

/// Checks content that is all there.
pub(super) fn check(content: &[u8], digest: &Digest, size: Option<u64>) -> Result<(), Error> {
    if let Some(size) = size
        && size != content.len() as u64
    {
        return Err(Error::corrupt(format!("{digest} has {size} bytes, but {} came", content.len())));
    }
    let found = Digest::of(digest.algorithm(), content);
    if found != *digest {
        return Err(Error::corrupt(format!("the content of {digest} is {found}")));
    }
    Ok(())
}
