use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::Error;
use crate::spec::range::ByteRange;

/// The size in bytes of the pieces in which content is kept: large blobs need no single block of memory, and growing
/// never copies more than one piece.
const SEGMENT: usize = 1 << 20;

/// The content of a blob: pieces in order, none of them empty. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Content {
    segments: Arc<[Bytes]>,
    size: u64,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn body(&self) -> Body {
        self.slice(0, self.size)
    }

    pub(super) fn part(&self, range: ByteRange) -> Body {
        self.slice(range.first(), range.length())
    }

    pub(super) fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    fn slice(&self, first: u64, length: u64) -> Body {
        let mut skip = first;
        let mut index = 0;
        for segment in self.segments.iter() {
            let size = segment.len() as u64;
            if skip < size {
                break;
            }
            skip -= size;
            index += 1;
        }
        let mut reader = Reader { segments: Arc::clone(&self.segments), index, skip, left: length };
        match reader.next() {
            None => Body::empty(),
            Some(only) if reader.left == 0 => Body::from(only),
            Some(_) => Body::new(Reader { segments: Arc::clone(&self.segments), index, skip, left: length }),
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        let segments = if bytes.is_empty() { Arc::default() } else { Arc::from([bytes]) };
        Self { segments, size }
    }
}

/// Content on its way out.
struct Reader {
    segments: Arc<[Bytes]>,
    index: usize,
    /// Bytes to leave out of the next piece.
    skip: u64,
    left: u64,
}

impl Reader {
    fn next(&mut self) -> Option<Bytes> {
        let mut segment = self.segments.get(self.index).filter(|_| self.left > 0)?.clone();
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(segment.len());
        let mut data = segment.split_off(skip);
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.index += 1;
        self.skip = 0;
        self.left -= data.len() as u64;
        Some(data)
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.next().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Content in the making. Bytes are copied in, so that what is kept is what is counted: a frame may be a small slice
/// of a large buffer.
#[derive(Debug, Default)]
pub(super) struct Writer {
    full: Vec<Bytes>,
    open: BytesMut,
    size: u64,
}

impl Writer {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn append(&mut self, mut data: &[u8]) {
        self.size = self.size.saturating_add(data.len() as u64);
        while !data.is_empty() {
            let room = SEGMENT.saturating_sub(self.open.len());
            let (now, later) = data.split_at_checked(room).unwrap_or((data, &[]));
            self.open.extend_from_slice(now);
            if self.open.len() >= SEGMENT {
                self.full.push(std::mem::take(&mut self.open).freeze());
            }
            data = later;
        }
    }

    /// Forgets what stands behind the first `size` bytes.
    pub(super) fn truncate(&mut self, size: u64) {
        while self.size > size {
            let excess = usize::try_from(self.size - size).unwrap_or(usize::MAX);
            let cut = if self.open.is_empty() {
                let Some(mut last) = self.full.pop() else { return };
                let cut = excess.min(last.len());
                last.truncate(last.len() - cut);
                if !last.is_empty() {
                    self.full.push(last);
                }
                cut
            } else {
                let cut = excess.min(self.open.len());
                self.open.truncate(self.open.len() - cut);
                cut
            };
            self.size -= cut as u64;
        }
    }

    pub(super) fn finish(mut self) -> Content {
        if !self.open.is_empty() {
            // A buffer grows by doubling: what it has too much is given back.
            self.full.push(Bytes::copy_from_slice(&self.open));
        }
        Content { segments: self.full.into(), size: self.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[tokio::test]
    async fn any_part_of_any_content_comes_back() {
        let all = text(2 * SEGMENT + 10);
        let mut writer = Writer::default();
        for chunk in all.chunks(SEGMENT / 3 + 1) {
            writer.append(chunk);
        }
        let content = writer.finish();
        assert_eq!(content.size(), all.len() as u64);
        assert_eq!(content.segments().len(), 3);
        for (first, last) in [
            (0, 0),
            (0, SEGMENT - 1),
            (SEGMENT - 1, SEGMENT),
            (SEGMENT, 2 * SEGMENT + 9),
            (5, all.len() - 1),
            (all.len() - 1, all.len() - 1),
        ] {
            let body = content.part(ByteRange::new(first as u64, last as u64).unwrap());
            assert_eq!(body.size(), Some((last - first + 1) as u64));
            assert!(body.read(all.len()).await.unwrap() == all[first..=last], "{first}-{last}");
        }
        assert!(content.body().read(all.len()).await.unwrap() == all);
    }

    #[tokio::test]
    async fn a_truncated_content_goes_on_from_there() {
        let all = text(SEGMENT + 100);
        for keep in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 50] {
            let mut writer = Writer::default();
            writer.append(&all);
            writer.truncate(keep as u64);
            assert_eq!(writer.size(), keep as u64);
            writer.append(b"end");
            let read = writer.finish().body().read(all.len() + 3).await.unwrap();
            assert!(read == [&all[..keep], b"end"].concat(), "{keep}");
        }
    }

    #[tokio::test]
    async fn nothing_is_content_too() {
        for content in [Writer::default().finish(), Content::from(Bytes::new())] {
            assert_eq!(content.size(), 0);
            assert_eq!(content.body().size(), Some(0));
            assert_eq!(content.body().read(0).await.unwrap(), "");
        }
    }
}
