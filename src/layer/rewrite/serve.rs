use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use super::fetch::{Fetched, Http};
use super::injected::{HttpMode, InjectedLayer, LayerSource};
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{Blob, BlobContent, BlobPart, GetBlob};
use crate::rt::blocking;
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::spec::range::{ByteRange, Satisfied};

/// How much of a file is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// A blob that is in memory.
pub(super) fn content(asked: &GetBlob, media_type: MediaType, content: &Bytes) -> Result<Blob, Error> {
    let size = content.len() as u64;
    let part = |range: ByteRange| {
        let bytes = range.slice(content).ok_or_else(|| Error::internal("a range outside of its content"))?;
        Ok(BlobPart::new(range, bytes.into()))
    };
    let answer = match wanted(asked, size)? {
        Wanted::NotModified => BlobContent::NotModified,
        Wanted::Head => BlobContent::Whole(Body::empty()),
        Wanted::Whole => BlobContent::Whole(content.clone().into()),
        Wanted::One(range) => BlobContent::Part(part(range)?),
        Wanted::Several(ranges) => {
            BlobContent::Parts(ranges.into_iter().map(part).collect::<Result<_, Error>>()?)
        }
    };
    Ok(blob(asked.digest, size, media_type, answer))
}

/// An injected layer, from wherever it is. Whole content is verified on its way; parts of what isn't in memory can't
/// be. One that is to be redirected to is fetched for a caller who reads it itself.
pub(super) async fn layer(
    asked: &GetBlob,
    layer: &InjectedLayer,
    http: Option<&Http>,
    reads_itself: bool,
) -> Result<Blob, Error> {
    let (digest, size) = (*layer.digest(), layer.size());
    let answer = match (wanted(asked, size)?, layer.source()) {
        (_, LayerSource::Bytes(bytes)) => return content(asked, MediaType::OCTET_STREAM, bytes),
        (Wanted::NotModified, _) => BlobContent::NotModified,
        (Wanted::Head, _) => BlobContent::Whole(Body::empty()),
        (Wanted::Whole, LayerSource::File(path)) => {
            BlobContent::Whole(file(path, 0, size).await?.verified(digest, Some(size))?)
        }
        (Wanted::One(range), LayerSource::File(path)) => BlobContent::Part(file_part(path, range).await?),
        (Wanted::Several(ranges), LayerSource::File(path)) => {
            let mut parts = Vec::with_capacity(ranges.len());
            for range in ranges {
                parts.push(file_part(path, range).await?);
            }
            BlobContent::Parts(parts)
        }
        (_, LayerSource::Http { uri, mode: HttpMode::Redirect }) if !reads_itself => {
            BlobContent::Redirect(uri.clone())
        }
        (wanted, LayerSource::Http { uri, .. }) => {
            let http = http.ok_or_else(|| {
                Error::internal(format!("the layer {digest} is kept elsewhere, and nothing here goes there"))
            })?;
            let fetched = match wanted {
                Wanted::One(range) => http.part(uri.clone(), range, size).await?,
                _ => Fetched::Whole(http.whole(uri.clone(), size).await?),
            };
            match fetched {
                Fetched::Whole(body) => BlobContent::Whole(body.verified(digest, Some(size))?),
                Fetched::Part(part) => BlobContent::Part(part),
            }
        }
    };
    Ok(blob(digest, size, MediaType::OCTET_STREAM, answer))
}

fn blob(digest: Digest, size: u64, media_type: MediaType, content: BlobContent) -> Blob {
    let mut blob = Blob::head(digest, Some(size));
    blob.media_type = Some(media_type);
    blob.content = content;
    blob
}

/// What a request for a blob of a known size is to be answered with.
enum Wanted {
    NotModified,
    Head,
    Whole,
    One(ByteRange),
    Several(Vec<ByteRange>),
}

fn wanted(asked: &GetBlob, size: u64) -> Result<Wanted, Error> {
    if asked.conditions.has(&asked.digest) {
        return Ok(Wanted::NotModified);
    }
    if asked.head {
        return Ok(Wanted::Head);
    }
    let ranges = asked.range.as_ref().filter(|_| asked.conditions.allow_range(&asked.digest));
    match ranges.map(|ranges| ranges.resolve(size)) {
        None | Some(Satisfied::Whole) => Ok(Wanted::Whole),
        Some(Satisfied::One(range)) => Ok(Wanted::One(range)),
        Some(Satisfied::Several(ranges)) => Ok(Wanted::Several(ranges)),
        Some(Satisfied::None) => {
            let message = format!("the range lies outside of the {size} bytes of {}", asked.digest);
            let error = Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid, message);
            Err(error.with_content_size(size))
        }
    }
}

async fn file_part(path: &Arc<Path>, range: ByteRange) -> Result<BlobPart, Error> {
    Ok(BlobPart::new(range, file(path, range.first(), range.length()).await?))
}

/// So many bytes of a file from `start` on, read as they are wanted.
async fn file(path: &Arc<Path>, start: u64, length: u64) -> Result<Body, Error> {
    let opened = Arc::clone(path);
    let opened = blocking(move || {
        let mut file = File::open(opened)?;
        file.seek(SeekFrom::Start(start))?;
        Ok::<_, io::Error>(file)
    });
    let failed = |error: io::Error| Error::internal("a layer's file can't be read").with_source(error);
    let file = opened.await?.map_err(failed)?;
    let body = stream::try_unfold((file, length), move |(file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = blocking(move || {
            let mut chunk = vec![0; length];
            let mut file = file;
            file.read_exact(&mut chunk)?;
            Ok::<_, io::Error>((file, Bytes::from(chunk)))
        });
        let (file, chunk) = read.await?.map_err(failed)?;
        let left = left - chunk.len() as u64;
        Ok::<_, Error>(Some((chunk, (file, left))))
    });
    Ok(Body::from_stream(body))
}
