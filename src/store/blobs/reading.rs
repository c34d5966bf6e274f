use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::fill::broken_off;
use super::store::{BlobStore, Spool, StoredBlob};
use crate::body::Body;
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::range::ByteRange;
#[cfg(feature = "disk")]
use crate::store::sendfile::SendFile;

/// How much of a file is read at once, in bytes. More wouldn't stay in a core's own cache until it is sent.
pub(super) const PIECE: usize = 64 * 1024;

/// How much is read at once for a reader that has only begun, and for how many bytes it has: more than Linux takes in
/// for a client that doesn't read, which is 4 MiB and a little.
const FIRST: usize = 8 * 1024;
const BEGUN: u64 = 8 * 1024 * 1024;

/// How much is read at once for a reader that was given so many bytes before. One that asks and doesn't read gets no
/// further than what the system takes in for it, and holds little.
pub(crate) fn piece(given: u64) -> usize {
    if given < BEGUN { FIRST } else { PIECE }
}

/// The blob, or the `range` of it, for the caller whose `facts` these are: its connection may be able to send files.
pub(crate) async fn get_for(
    store: &dyn BlobStore,
    facts: &http::Extensions,
    digest: Digest,
    range: Option<ByteRange>,
) -> Result<Option<StoredBlob>, Error> {
    #[cfg(feature = "disk")]
    if let Some(connection) = facts.get::<SendFile>() {
        return store.get_for(connection, digest, range).await;
    }
    #[cfg(not(feature = "disk"))]
    let _ = facts;
    store.get(digest, range).await
}

/// Some bytes of the spool from `offset` on, at most `max`, which the caller's connection can send from a file; none where
/// it can't, or not yet.
pub(crate) async fn map_back_for(
    spool: &dyn Spool,
    facts: &http::Extensions,
    offset: u64,
    max: u64,
) -> Result<Option<Bytes>, Error> {
    #[cfg(feature = "disk")]
    if let Some(connection) = facts.get::<SendFile>() {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        return spool.map_back(connection, offset, max).await;
    }
    #[cfg(not(feature = "disk"))]
    let _ = (spool, facts, offset, max);
    Ok(None)
}

/// A body of exactly `length` bytes of the blob `digest`: pieces that add up to less end in an error.
pub(crate) fn counted(
    pieces: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
    digest: Digest,
    length: u64,
) -> Body {
    Body::new(Counted { pieces, digest, length, left: length })
}

#[pin_project::pin_project]
struct Counted<S> {
    #[pin]
    pieces: S,
    digest: Digest,
    length: u64,
    /// Bytes that are still to come; none after an error.
    left: u64,
}

impl<S: Stream<Item = Result<Bytes, Error>>> HttpBody for Counted<S> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.project();
        if *this.left == 0 {
            return Poll::Ready(None);
        }
        let error = match ready!(this.pieces.poll_next(cx)) {
            Some(Ok(piece)) if piece.len() as u64 <= *this.left => {
                *this.left -= piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Some(Ok(_)) => {
                Error::corrupt(format!("more came than the {} bytes of {}", this.length, this.digest))
            }
            Some(Err(error)) => error,
            None => broken_off(*this.digest, *this.length - *this.left, *this.length),
        };
        *this.left = 0;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_has_the_bytes_it_announced_or_fails() {
        let digest = Digest::sha256(b"");
        let body = |pieces: &'static [&'static str], length| {
            counted(stream::iter(pieces.iter().map(|piece| Ok(Bytes::from(*piece)))), digest, length)
        };
        let right = body(&["ab", "c"], 3);
        assert_eq!(right.size(), Some(3));
        assert_eq!(right.read(3).await.unwrap(), "abc");
        assert!(body(&["ab"], 0).is_end_stream());
        let error = body(&["ab"], 3).read(9).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{digest} broke off after 2 of 3 bytes"));
        let mut long = body(&["ab", "cd"], 3);
        long.frame().await.unwrap().unwrap();
        let error = long.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), format!("more came than the 3 bytes of {digest}"));
        assert!(long.frame().await.is_none());
    }
}
