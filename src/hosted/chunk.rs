use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;

use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::range::ByteRange;

/// A chunk, and what its request said about it.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) range: Option<ByteRange>,
    pub(super) length: Option<u64>,
    pub(super) body: Body,
}

/// What a chunk has to keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_blob: u64,
    pub(super) body_timeout: Duration,
}

/// Where the bytes of a chunk go.
pub(super) trait Sink {
    fn append(&mut self, data: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Why a chunk didn't come whole.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The request broke off: what has come stays, so that the client can go on from there.
    BrokenOff(Error),
    /// It isn't what its request said, is over a limit, or can't be kept: it leaves nothing.
    Refused(Error),
}

impl Chunk {
    /// Gives what comes to `sink`, where `start` bytes are already.
    pub(super) async fn pour(self, start: u64, limits: Limits, sink: &mut impl Sink) -> Result<(), Stopped> {
        let expected = expected(&self, start).map_err(Stopped::Refused)?;
        if let Some(expected) = expected
            && start.saturating_add(expected) > limits.max_blob
        {
            return Err(Stopped::Refused(too_large(limits.max_blob)));
        }
        let mut body = self.body.idle_timeout(limits.body_timeout);
        let mut came: u64 = 0;
        let refused = loop {
            let data = match body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Err(Stopped::BrokenOff(broken_off(error, came, start.saturating_add(came))));
                }
                None => match expected {
                    Some(expected) if expected != came => break length_differs(expected, &came.to_string()),
                    _ => return Ok(()),
                },
            };
            came = came.saturating_add(data.len() as u64);
            if let Some(expected) = expected.filter(|expected| *expected < came) {
                break length_differs(expected, "more");
            }
            if start.saturating_add(came) > limits.max_blob {
                break too_large(limits.max_blob);
            }
            if let Err(error) = sink.append(data).await {
                break error;
            }
        };
        Err(Stopped::Refused(refused))
    }
}

/// How many bytes the request says that the chunk has.
fn expected(chunk: &Chunk, start: u64) -> Result<Option<u64>, Error> {
    if let Some(range) = chunk.range
        && range.first() != start
    {
        let message =
            format!("the chunk starts at {}, but {start} bytes of the upload have come", range.first());
        let error = Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::BlobUploadInvalid, message);
        return Err(error.with_content_size(start));
    }
    match (chunk.range.map(|range| range.length()), chunk.length) {
        (Some(range), Some(length)) if range != length => Err(Error::invalid(
            ErrorCode::SizeInvalid,
            format!("the chunk's range has {range} bytes, its announced length is {length}"),
        )),
        (range, length) => Ok(range.or(length)),
    }
}

fn length_differs(expected: u64, came: &str) -> Error {
    Error::invalid(ErrorCode::SizeInvalid, format!("{expected} bytes were announced, but {came} came"))
}

fn too_large(max: u64) -> Error {
    Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, format!("a blob may have {max} bytes at most"))
}

fn broken_off(error: Error, came: u64, received: u64) -> Error {
    let message = format!("the request broke off after {came} bytes; the upload has {received} now");
    match error.kind() {
        ErrorKind::TimedOut => Error::new(ErrorKind::TimedOut, ErrorCode::BlobUploadInvalid, message)
            .with_status(StatusCode::REQUEST_TIMEOUT)
            .with_source(error),
        // The transport's own error: the client is at fault, or has left.
        ErrorKind::Internal => Error::invalid(ErrorCode::BlobUploadInvalid, message).with_source(error),
        _ => error.context(message),
    }
}

pub(super) fn wrong_digest(wanted: &Digest, found: &Digest) -> Error {
    let message = format!("the upload was finished as {wanted}, but its content is {found}");
    Error::invalid(ErrorCode::DigestInvalid, message)
}
