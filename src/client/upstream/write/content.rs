use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};

/// How long a client may send nothing in the middle of an upload.
const CLIENT_IDLE: Duration = Duration::from_secs(60);

/// What is written. It is sent once: our client won't send it again.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// There as a whole, so that it can be sent again.
    Whole(Bytes),
    /// It comes while it is sent.
    Stream(Arc<Mutex<Stream>>),
}

#[derive(Debug)]
pub(super) struct Stream {
    body: Body,
    announced: Option<u64>,
    came: u64,
    is_touched: bool,
    failure: Option<Error>,
}

impl Content {
    /// The content `body`, of `announced` bytes if that is known.
    ///
    /// # Errors
    ///
    /// When it is known already that it has another length.
    pub(super) fn new(body: Body, announced: Option<u64>) -> Result<Self, Error> {
        if let (Some(announced), Some(size)) = (announced, body.size())
            && announced != size
        {
            return Err(length_differs(announced, &size.to_string()));
        }
        if let Some(bytes) = body.as_bytes() {
            return Ok(Self::Whole(bytes.clone()));
        }
        let announced = announced.or_else(|| body.size());
        let body = body.idle_timeout(CLIENT_IDLE);
        let stream = Stream { body, announced, came: 0, is_touched: false, failure: None };
        Ok(Self::Stream(Arc::new(Mutex::new(stream))))
    }

    /// The content, to be sent. The stream stays here: what a request hasn't touched is for the next one.
    pub(super) fn body(&self) -> Body {
        match self {
            Self::Whole(bytes) => Body::from(bytes.clone()),
            Self::Stream(stream) => Body::new(Sending(Arc::clone(stream))),
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether nothing of it is gone yet.
    pub(super) fn is_intact(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(stream) => !lock(stream).is_touched,
        }
    }

    /// Why the client's part of it ended early, if it did. The upstream is not to blame for that.
    pub(super) fn failure(&self) -> Option<Error> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => lock(stream).failure.take(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.is_touched = true;
        let result = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.came = self.came.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
                match self.announced {
                    Some(announced) if announced < self.came => Err(length_differs(announced, "more")),
                    _ => Ok(frame),
                }
            }
            Some(Err(error)) => Err(left(error)),
            None => match self.announced {
                Some(announced) if announced != self.came => {
                    Err(length_differs(announced, &self.came.to_string()))
                }
                _ => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(result.map_err(|error| {
            self.body = Body::empty();
            self.announced = None;
            let told = Error::new(error.kind(), error.code(), error.message()).with_status(error.status());
            self.failure = Some(error);
            told
        })))
    }
}

/// A stream of content on its way to an upstream.
struct Sending(Arc<Mutex<Stream>>);

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        lock(&self.0).poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        let stream = lock(&self.0);
        stream.body.is_end_stream() && stream.announced.is_none_or(|announced| announced == stream.came)
    }

    fn size_hint(&self) -> SizeHint {
        let stream = lock(&self.0);
        match stream.announced {
            Some(announced) => SizeHint::with_exact(announced.saturating_sub(stream.came)),
            None => stream.body.size_hint(),
        }
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

fn length_differs(announced: u64, came: &str) -> Error {
    let message = format!("{announced} bytes were announced, but {came} came");
    Error::invalid(ErrorCode::SizeInvalid, message)
}

/// What ended a client's content early.
fn left(error: Error) -> Error {
    if error.kind() != ErrorKind::TimedOut {
        return error;
    }
    let message = format!("the client sent nothing for {} s", CLIENT_IDLE.as_secs());
    Error::new(ErrorKind::TimedOut, ErrorCode::BlobUploadInvalid, message)
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .with_source(error)
}
