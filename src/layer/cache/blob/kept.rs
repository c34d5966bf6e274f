use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::outside;
use crate::body::Body;
use crate::error::Error;
use crate::layer::cache::account::Pin as Pinned;
use crate::layer::cache::layer::Shared;
use crate::layer::cache::service::Session;
use crate::operation::{Blob, BlobContent, BlobPart, GetBlob};
use crate::spec::digest::Digest;
use crate::spec::range::{ByteRange, Satisfied};
use crate::store::blobs::{StoredBlob, counted, get_for};

/// Whether the store has the blob and can give it out.
pub(super) async fn is_kept(session: &Session, digest: Digest) -> bool {
    open(session, digest, None).await.is_some()
}

/// What was asked for of the blob, if the store has it.
///
/// # Errors
///
/// When no range lies within the blob. A store that fails counts as one that has nothing.
pub(super) async fn read(session: &Session, asked: &GetBlob) -> Result<Option<Blob>, Error> {
    let (shared, digest) = (&session.shared, asked.digest);
    let range = asked.range.as_ref().filter(|_| asked.conditions.allow_range(&digest));
    if !asked.head && range.is_none() {
        let opened = open(session, digest, None).await;
        return Ok(
            opened.map(|(blob, pin)| Blob::whole(digest, Some(blob.size), served(shared, blob.body, pin)))
        );
    }
    if asked.head {
        return Ok(stat(shared, digest).await.map(|size| Blob::head(digest, Some(size))));
    }
    // Before it is looked up, so that it isn't evicted in between.
    let pin = Arc::new(shared.account.pin(digest));
    let Some(size) = stat(shared, digest).await else { return Ok(None) };
    match range.map_or(Satisfied::Whole, |range| range.resolve(size)) {
        Satisfied::None => Err(outside(digest, size)),
        Satisfied::One(range) => Ok(open(session, digest, Some(range)).await.map(|(blob, pin)| {
            Blob::part(digest, size, BlobPart::new(range, served(shared, blob.body, pin)))
        })),
        Satisfied::Several(ranges) => Ok(Some(parts(session, digest, size, ranges, pin))),
        Satisfied::Whole => {
            let opened = open(session, digest, None).await;
            Ok(opened.map(|(blob, pin)| Blob::whole(digest, Some(size), served(shared, blob.body, pin))))
        }
    }
}

/// Several parts. Each is opened when it is its turn, so that a request with many costs no more than one.
fn parts(session: &Session, digest: Digest, size: u64, ranges: Vec<ByteRange>, pin: Arc<Pinned>) -> Blob {
    let part = |range: ByteRange| {
        let start = (session.clone(), None::<Body>);
        let pieces = stream::try_unfold(start, move |(session, opened)| async move {
            let mut body = match opened {
                Some(body) => body,
                None => match get_for(&*session.shared.store, session.facts(), digest, Some(range)).await? {
                    Some(blob) => blob.body,
                    None => return Err(Error::unavailable(format!("{digest} isn't kept any more"))),
                },
            };
            let Some(frame) = body.frame().await else { return Ok(None) };
            Ok(Some((frame?.into_data().unwrap_or_default(), (session, Some(body)))))
        });
        let body = Body::new(counted(pieces, digest, range.length()));
        BlobPart::new(range, served(&session.shared, body, Arc::clone(&pin)))
    };
    let parts = ranges.into_iter().map(part).collect();
    Blob { digest, size: Some(size), media_type: None, content: BlobContent::Parts(parts) }
}

async fn stat(shared: &Shared, digest: Digest) -> Option<u64> {
    match shared.store.stat(digest).await {
        Ok(Some(size)) => Some(size),
        Ok(None) => {
            shared.account.gone(digest);
            None
        }
        Err(error) => {
            tracing::warn!(%digest, %error, "a kept blob can't be looked up");
            None
        }
    }
}

async fn open(
    session: &Session,
    digest: Digest,
    range: Option<ByteRange>,
) -> Option<(StoredBlob, Arc<Pinned>)> {
    // Before it is opened, so that it isn't evicted in between.
    let shared = &session.shared;
    let pin = Arc::new(shared.account.pin(digest));
    match get_for(&*shared.store, session.facts(), digest, range).await {
        Ok(Some(blob)) => Some((blob, pin)),
        Ok(None) => {
            shared.account.gone(digest);
            None
        }
        Err(error) => {
            tracing::warn!(%digest, %error, "a kept blob can't be read");
            None
        }
    }
}

/// A body from the store, counted, with what keeps the blob there.
fn served(shared: &Arc<Shared>, body: Body, pin: Arc<Pinned>) -> Body {
    if let Some(bytes) = body.as_bytes() {
        shared.counters.bytes_served.add(bytes.len() as u64);
        return body;
    }
    Body::new(Served { body, shared: Arc::clone(shared), _pin: pin })
}

struct Served {
    body: Body,
    shared: Arc<Shared>,
    _pin: Arc<Pinned>,
}

impl HttpBody for Served {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.shared.counters.bytes_served.add(length);
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
