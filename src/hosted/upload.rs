use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;

use super::budget::{Budget, RECORD, Reservation};
use super::content::{Content, Writer};
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::range::ByteRange;

/// What has come of a blob, hashed as it comes.
#[derive(Debug)]
pub(super) struct Upload {
    writer: Writer,
    algorithm: Algorithm,
    hasher: Hasher,
    cost: Reservation,
}

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

impl Upload {
    pub(super) fn new(algorithm: Algorithm, budget: &std::sync::Arc<Budget>) -> Result<Self, Error> {
        Ok(Self {
            writer: Writer::default(),
            algorithm,
            hasher: Hasher::new(algorithm),
            cost: budget.reserve(RECORD)?,
        })
    }

    pub(super) fn received(&self) -> u64 {
        self.writer.size()
    }

    /// Takes a chunk. One that breaks off leaves what has come, so that the client can go on from there; one that
    /// isn't what its request said, or is over a limit, leaves nothing.
    pub(super) async fn take(&mut self, chunk: Chunk, limits: Limits) -> Result<(), Error> {
        let start = self.received();
        let expected = expected(&chunk, start)?;
        if let Some(expected) = expected
            && start.saturating_add(expected) > limits.max_blob
        {
            return Err(too_large(limits.max_blob));
        }
        let before = self.hasher.clone();
        let mut body = chunk.body.idle_timeout(limits.body_timeout);
        let refused = loop {
            let came = self.received() - start;
            let data = match body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(broken_off(error, came, self.received())),
                None => match expected {
                    Some(expected) if expected != came => break length_differs(expected, &came.to_string()),
                    _ => return Ok(()),
                },
            };
            let length = data.len() as u64;
            let came = came.saturating_add(length);
            if let Some(expected) = expected.filter(|expected| *expected < came) {
                break length_differs(expected, "more");
            }
            if start.saturating_add(came) > limits.max_blob {
                break too_large(limits.max_blob);
            }
            if let Err(full) = self.cost.grow(length) {
                break full;
            }
            self.writer.append(&data);
            self.hasher.update(&data);
        };
        self.cost.shrink(self.received() - start);
        self.writer.truncate(start);
        self.hasher = before;
        Err(refused)
    }

    /// The content, if it has this digest.
    pub(super) async fn finish(self, digest: &Digest) -> Result<(Content, Reservation), Error> {
        let content = self.writer.finish();
        let hasher = if self.algorithm == digest.algorithm() {
            self.hasher
        } else {
            // Announced by neither `digest-algorithm` nor a single request: all is hashed once more.
            let mut hasher = Hasher::new(digest.algorithm());
            for segment in content.segments() {
                hasher.update(segment);
                tokio::task::yield_now().await;
            }
            hasher
        };
        let found = hasher.finish();
        if found != *digest {
            let message = format!("the upload was finished as {digest}, but its content is {found}");
            return Err(Error::invalid(ErrorCode::DigestInvalid, message));
        }
        let mut cost = self.cost;
        cost.shrink(RECORD);
        Ok((content, cost))
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
