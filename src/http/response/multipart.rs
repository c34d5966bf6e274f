//! `multipart/byteranges` ([RFC 9110, 14.6](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)), in both directions.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::Error;
use crate::operation::BlobPart;
use crate::spec::digest::Digest;
use crate::spec::range::{ByteRange, ContentRange, Ranges};

/// Parts of a blob, each behind a head of its own.
pub(super) struct Multipart {
    boundary: String,
    /// What is still to be sent; nothing once it has failed.
    pieces: VecDeque<Piece>,
    /// Bytes still to be sent, where no length overflows.
    left: Option<u64>,
    total: Option<u64>,
}

enum Piece {
    Head(Bytes),
    /// A part, and how many of its bytes are still to come.
    Part(Body, u64),
}

impl Multipart {
    /// The boundary is made of the blob's own digest: no content can be made that contains it.
    pub(super) fn new(digest: &Digest, size: Option<u64>, kind: &HeaderValue, parts: Vec<BlobPart>) -> Self {
        let boundary = digest.hex().get(..60).unwrap_or_default().to_owned();
        let kind = String::from_utf8_lossy(kind.as_bytes()).into_owned();
        let mut pieces = VecDeque::with_capacity(parts.len() * 2 + 1);
        let mut start = "";
        for part in parts {
            let range = ContentRange::Part(part.range, size);
            let head =
                format!("{start}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
            start = "\r\n";
            pieces.push_back(Piece::Head(head.into()));
            pieces.push_back(Piece::Part(part.body, part.range.length()));
        }
        pieces.push_back(Piece::Head(format!("{start}--{boundary}--\r\n").into()));
        let left = pieces.iter().try_fold(0u64, |sum, piece| {
            sum.checked_add(match piece {
                Piece::Head(head) => head.len() as u64,
                Piece::Part(_, length) => *length,
            })
        });
        Self { boundary, pieces, left, total: left }
    }

    pub(super) fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::from_maybe_shared(Bytes::from(text))
            .unwrap_or(HeaderValue::from_static("multipart/byteranges"))
    }

    /// The length of everything.
    pub(super) fn length(&self) -> Option<u64> {
        self.total
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.pieces.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl HttpBody for Multipart {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            let data = match this.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Head(head)) => {
                    let head = std::mem::take(head);
                    this.pieces.pop_front();
                    head
                }
                // A part is over once its bytes are counted, whatever its body would still say.
                Some(Piece::Part(_, 0)) => {
                    this.pieces.pop_front();
                    continue;
                }
                Some(Piece::Part(body, left)) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        let Some(rest) = left.checked_sub(data.len() as u64) else {
                            return this.fail(Error::corrupt("a part of a blob is longer than its range"));
                        };
                        *left = rest;
                        data
                    }
                    Some(Err(error)) => return this.fail(error),
                    None => return this.fail(Error::corrupt("a part of a blob is shorter than its range")),
                },
            };
            this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.pieces.is_empty() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

/// The boundary in a `Content-Type` of this kind.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (!boundary.is_empty() && boundary.len() <= 70).then(|| boundary.to_owned())
}

/// The parts in `content`, with the size of the whole where it is told; `None` when it isn't what it should be.
pub(super) fn parse(boundary: &str, content: &Bytes) -> Option<(Vec<BlobPart>, Option<u64>)> {
    let delimiter = format!("--{boundary}");
    let (mut parts, mut size) = (Vec::new(), None);
    // There may be a preamble.
    let mut at = find(content, delimiter.as_bytes())?.checked_add(delimiter.len())?;
    loop {
        let rest = content.get(at..)?;
        if rest.starts_with(b"--") {
            return (!parts.is_empty()).then_some((parts, size));
        }
        if parts.len() == Ranges::MAX {
            return None;
        }
        let head_end = find(rest, b"\r\n\r\n")?;
        let (range, of) = part_range(std::str::from_utf8(rest.get(..head_end)?).ok()?)?;
        if size.is_some() && of != size {
            return None;
        }
        size = of;
        let start = at.checked_add(head_end)?.checked_add(4)?;
        let end = start.checked_add(usize::try_from(range.length()).ok()?)?;
        let after = content.get(end..)?.strip_prefix(b"\r\n")?;
        if !after.starts_with(delimiter.as_bytes()) {
            return None;
        }
        parts.push(BlobPart::new(range, Body::from(content.slice(start..end))));
        at = end.checked_add(2)?.checked_add(delimiter.len())?;
    }
}

fn part_range(head: &str) -> Option<(ByteRange, Option<u64>)> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-range"))?;
    match value.parse().ok()? {
        ContentRange::Part(range, size) => Some((range, size)),
        ContentRange::Unsatisfied(_) => None,
    }
}

fn find(content: &[u8], what: &[u8]) -> Option<usize> {
    content.windows(what.len()).position(|window| window == what)
}
