use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::BodyExt as _;

use super::Inner;
use super::buffers::Buffers;
use super::layout::{failed, read_at};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::rt::blocking;
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::range::ByteRange;
use crate::store::blobs::fill::{broken_off, within};
use crate::store::blobs::reading::{PIECE, counted, piece};
use crate::store::blobs::store::StoredBlob;
use crate::store::sendfile::SendFile;

/// How much is read at once to be hashed, on another thread.
pub(super) const BLOCK: usize = 256 * 1024;

/// A blob that was found.
struct Opened {
    file: Arc<File>,
    size: u64,
    first: u64,
    length: u64,
    /// The bytes, when they are few: they were read at once.
    content: Option<Bytes>,
}

pub(super) async fn get(
    inner: &Arc<Inner>,
    connection: Option<&SendFile>,
    digest: Digest,
    range: Option<ByteRange>,
) -> Result<Option<StoredBlob>, Error> {
    let store = Arc::clone(inner);
    let opened = blocking(move || open(&store, digest, range)).await??;
    let Some(opened) = opened else { return Ok(None) };
    let Opened { file, size, first, length, content } = opened;
    let is_whole = length == size;
    if inner.verify_on_read && (!is_whole || content.is_some()) {
        let found = match &content {
            Some(content) if is_whole => Digest::of(digest.algorithm(), content),
            _ => hash(&file, digest.algorithm()).await?,
        };
        if found != digest {
            discard(inner, digest).await;
            return Ok(None);
        }
    }
    if let Some(content) = content {
        return Ok(Some(StoredBlob::new(size, Body::from(content))));
    }
    // What is hashed again is read.
    let connection = connection.filter(|_| !(inner.verify_on_read && is_whole));
    if let Some(bytes) = connection.and_then(|connection| connection.map(&file, first, length)) {
        let body = counted(mapped(inner.buffers.clone(), file, first, bytes), digest, length);
        return Ok(Some(StoredBlob::new(size, body)));
    }
    let body = counted(pieces(inner.buffers.clone(), file, digest, first, length), digest, length);
    let body = if inner.verify_on_read && is_whole { verified(inner, body, digest, size)? } else { body };
    Ok(Some(StoredBlob::new(size, body)))
}

fn open(inner: &Inner, digest: Digest, range: Option<ByteRange>) -> Result<Option<Opened>, Error> {
    let Some((file, size)) = inner.file(digest)? else { return Ok(None) };
    let (first, length) = within(digest, range, size)?;
    let mut opened = Opened { file: Arc::new(file), size, first, length, content: None };
    if let Some(few) = usize::try_from(length).ok().filter(|length| *length <= PIECE) {
        let content = read_at(&opened.file, first, few).map(Bytes::from);
        opened.content = Some(whole_piece(content, digest, first, few)?);
    }
    Ok(Some(opened))
}

fn pieces(
    buffers: Buffers,
    file: Arc<File>,
    digest: Digest,
    first: u64,
    length: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let start = (buffers, file, first, length);
    stream::try_unfold(start, move |(buffers, file, offset, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(left).unwrap_or(PIECE).min(piece(offset - first));
        let bytes = buffers.read(&file, offset, length).await?;
        let bytes = whole_piece(bytes, digest, offset, length)?;
        Ok(Some((bytes, (buffers, file, offset + length as u64, left - length as u64))))
    })
}

/// Parts of what is mapped from the file from `first` on, each when it is in the page cache, so that whoever sends it
/// doesn't wait for the disk.
fn mapped(
    buffers: Buffers,
    file: Arc<File>,
    first: u64,
    bytes: Bytes,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::try_unfold((buffers, file, first, bytes), |(buffers, file, offset, mut rest)| async move {
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.len().min(BLOCK);
        buffers.bring_in(&file, offset, length).await?;
        let frame = rest.split_to(length);
        Ok(Some((frame, (buffers, file, offset + length as u64, rest))))
    })
}

/// What was read, if it is `length` bytes.
fn whole_piece(read: io::Result<Bytes>, digest: Digest, offset: u64, length: usize) -> Result<Bytes, Error> {
    let bytes = read.map_err(|error| failed(format_args!("reading {digest}"), error))?;
    if bytes.len() < length {
        let end = offset + bytes.len() as u64;
        return Err(broken_off(digest, end, offset + length as u64));
    }
    Ok(bytes)
}

/// The digest of what is in a file now.
pub(super) async fn hash(file: &Arc<File>, algorithm: Algorithm) -> Result<Digest, Error> {
    let mut hasher = Hasher::new(algorithm);
    let mut offset = 0;
    loop {
        let source = Arc::clone(file);
        let step = move || {
            let bytes = read_at(&source, offset, BLOCK)
                .map_err(|error| failed("reading a blob to check it", error))?;
            hasher.update(&bytes);
            Ok::<_, Error>((hasher, bytes.len()))
        };
        let length;
        (hasher, length) = blocking(step).await??;
        if length < BLOCK {
            return Ok(hasher.finish());
        }
        offset += length as u64;
    }
}

/// A whole body that is hashed on its way; a damaged blob is removed when that shows.
fn verified(inner: &Arc<Inner>, body: Body, digest: Digest, size: u64) -> Result<Body, Error> {
    let start = (body.verified(digest, Some(size))?, Arc::clone(inner));
    let pieces = stream::try_unfold(start, move |(mut body, inner)| async move {
        match body.frame().await {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some((frame.into_data().unwrap_or_default(), (body, inner)))),
            Some(Err(error)) => {
                if error.kind() == ErrorKind::Corrupt {
                    discard(&inner, digest).await;
                }
                Err(error)
            }
        }
    });
    Ok(counted(pieces, digest, size))
}

/// Removes a blob that turned out damaged. Somebody may have put a sound one in its place by now: then that goes too.
async fn discard(inner: &Arc<Inner>, digest: Digest) {
    let store = Arc::clone(inner);
    match blocking(move || store.remove(digest)).await.flatten() {
        Ok(_) => tracing::warn!(%digest, "removed a damaged blob from the store"),
        Err(error) => tracing::warn!(%digest, %error, "a damaged blob can't be removed from the store"),
    }
}
