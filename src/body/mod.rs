//! Bytes on the move: one body type, and adapters around it.
//!
//! Frames are handed on as they came, without copying. An adapter that checks something holds the last frame back
//! until it knows: with a `Content-Length`, hyper never polls an HTTP/1 body after its last byte, so an error placed
//! behind it would be lost.

mod idle;
mod limit;
mod verify;

use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};

use self::idle::IdleTimeout;
use self::limit::Limit;
use self::verify::Verify;
use crate::error::{BoxError, Error, ErrorCode, ErrorKind};
use crate::spec::digest::{Digest, Hasher};

/// The body of a blob, of an upload, of an HTTP message.
///
/// It is `Send`, `Sync` and `Unpin`, and yields data frames only. Dropping it is how a reader says that it has left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::body::Body;
/// use tower_oci::spec::digest::Digest;
///
/// let body = Body::from("hello").verified(Digest::sha256(b"hello"), Some(5))?;
/// assert_eq!(&body.read(1024).await?[..], b"hello");
/// # Ok(()) }
/// ```
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    /// The mutex is never contended: it makes the body `Sync`, so that requests may be borrowed across an `await`.
    Stream(Mutex<Boxed>),
}

type Boxed = Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>;

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Full(Bytes::new()))
    }

    /// Any HTTP body.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let mut body = Some(body);
        // A body of ours that comes back through a generic layer is not boxed a second time.
        if let Some(ours) = (&mut body as &mut dyn std::any::Any).downcast_mut::<Option<Self>>() {
            return ours.take().unwrap_or_else(Self::empty);
        }
        match body {
            Some(body) => Self::boxed(body.map_err(|error| Error::from(error.into()))),
            None => Self::empty(),
        }
    }

    /// A stream of chunks.
    pub fn from_stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        use futures_util::TryStreamExt as _;
        Self::boxed(StreamBody::new(stream.map_ok(Frame::data).map_err(|error| Error::from(error.into()))))
    }

    fn boxed(body: impl HttpBody<Data = Bytes, Error = Error> + Send + 'static) -> Self {
        Self(Kind::Stream(Mutex::new(Box::pin(body))))
    }

    /// The bytes, when they are all there already.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            Kind::Stream(_) => None,
        }
    }

    /// How many bytes are left, where that is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Ends well only if its content has this digest and, where given, this size in bytes. Until that is known the
    /// last frame is held back; on a mismatch an error takes its place, and nothing follows.
    ///
    /// # Errors
    ///
    /// What is there already (nothing at all, or the whole content) is checked at once.
    pub fn verified(self, digest: Digest, size: Option<u64>) -> Result<Self, Error> {
        let known = if self.is_end_stream() { Some(Bytes::new()) } else { self.as_bytes().cloned() };
        if let Some(bytes) = known {
            verify::check(&bytes, &digest, size)?;
            return Ok(Self::from(bytes));
        }
        if size == Some(0) {
            verify::check(&[], &digest, size)?;
            return Ok(Self::empty());
        }
        let declared = self.size();
        if let (Some(size), Some(declared)) = (size, declared)
            && size != declared
        {
            return Err(Error::corrupt(format!("{digest} has {size} bytes, but {declared} were announced")));
        }
        Ok(Self::boxed(Verify::new(self, digest, size.or(declared))))
    }

    /// Like [`Body::verified`], for the rest of content of which `hasher` has seen the first `taken` bytes.
    pub(crate) fn verified_from(self, hasher: Hasher, taken: u64, digest: Digest, size: Option<u64>) -> Self {
        Self::boxed(Verify::resumed(self, hasher, taken, digest, size))
    }

    /// Fails with `413` once more than `max` bytes have come.
    #[must_use]
    pub fn limited(self, max: u64, what: &'static str) -> Self {
        match &self.0 {
            Kind::Full(bytes) if bytes.len() as u64 <= max => self,
            _ => Self::boxed(Limit::new(self, max, what)),
        }
    }

    /// Fails with `504` when a frame takes longer than `limit` to come. There is no limit on the whole.
    #[must_use]
    pub fn idle_timeout(self, limit: Duration) -> Self {
        match &self.0 {
            Kind::Full(_) => self,
            Kind::Stream(_) => Self::boxed(IdleTimeout::new(self, limit)),
        }
    }

    /// Keeps `guard` until the body has ended or is dropped: a permit, a counter.
    #[must_use]
    pub fn guarded(self, guard: impl Send + 'static) -> Self {
        match &self.0 {
            Kind::Full(_) => self,
            Kind::Stream(_) => Self::boxed(Guarded { body: self, guard: Some(guard) }),
        }
    }

    /// Reads the whole body, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// What the body fails with; `TooLarge` when more than `max` bytes come.
    pub async fn read(self, max: usize) -> Result<Bytes, Error> {
        let mut body = match self.0 {
            Kind::Full(bytes) if bytes.len() <= max => return Ok(bytes),
            Kind::Full(_) => return Err(too_large("body", max as u64)),
            Kind::Stream(body) => body.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
        };
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if first.len() + all.len() + data.len() > max {
                return Err(too_large("body", max as u64));
            }
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

fn too_large(what: &str, max: u64) -> Error {
    Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, format!("the {what} is larger than {max} bytes"))
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Full(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size() {
            Some(size) => write!(f, "Body({size} bytes)"),
            None => f.write_str("Body(..)"),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let body = match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Full(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(body) => body.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner),
        };
        let last = loop {
            // Trailers have no meaning in this protocol; they are not passed on.
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) if !frame.is_data() => {}
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                last => break last,
            }
        };
        // Nothing is written after an error, and whoever held a connection or a permit lets it go.
        *self = Self::empty();
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.lock().is_ok_and(|body| body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.lock().map_or_else(|_| SizeHint::default(), |body| body.size_hint()),
        }
    }
}

/// A body that holds something until it has ended.
struct Guarded<G> {
    body: Body,
    guard: Option<G>,
}

impl<G: Send + 'static> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // The guard is never pinned, and the body is `Unpin`.
        let this = unpinned(&mut self);
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<G> Unpin for Guarded<G> {}

fn unpinned<'a, T: Unpin>(pinned: &'a mut Pin<&mut T>) -> &'a mut T {
    Pin::new(&mut **pinned).get_mut()
}

#[cfg(test)]
mod tests;
