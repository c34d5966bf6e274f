use http_body_util::BodyExt as _;

use super::store::{BlobStore, BlobWriter};
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::range::ByteRange;

/// Writes `body` and commits it.
pub(super) async fn put<S: BlobStore + ?Sized>(
    store: &S,
    digest: Digest,
    size: Option<u64>,
    body: Body,
) -> Result<u64, Error> {
    let mut writer = store.create(digest.algorithm(), size.or(body.size())).await?;
    match copy(&mut *writer, digest, size, body).await {
        Ok(size) => writer.commit(digest, size).await.map(|()| size),
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

async fn copy(
    writer: &mut dyn BlobWriter,
    digest: Digest,
    size: Option<u64>,
    mut body: Body,
) -> Result<u64, Error> {
    let announced = body.size();
    if let (Some(size), Some(announced)) = (size, announced)
        && size != announced
    {
        return Err(Error::corrupt(format!("{digest} has {size} bytes, but {announced} were announced")));
    }
    let size = size.or(announced);
    let mut taken: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        taken = taken.saturating_add(data.len() as u64);
        if let Some(size) = size
            && taken > size
        {
            return Err(Error::corrupt(format!("{digest} has more than its {size} bytes")));
        }
        writer.write(data).await?;
    }
    match size {
        Some(size) if taken < size => Err(broken_off(digest, taken, size)),
        _ => Ok(taken),
    }
}

/// Whether content that was found to be `found`, of `written` bytes, is the blob `digest` of `size` bytes.
pub(super) fn agree(digest: Digest, size: u64, found: Digest, written: u64) -> Result<(), Error> {
    check_size(digest, size, written)?;
    if found == digest {
        return Ok(());
    }
    Err(Error::corrupt(format!("the content of {digest} is {found}")))
}

/// The half of [`agree`] that needs no hash.
pub(super) fn check_size(digest: Digest, size: u64, written: u64) -> Result<(), Error> {
    if written == size {
        return Ok(());
    }
    Err(Error::corrupt(format!("{digest} has {size} bytes, but {written} came")))
}

pub(super) fn broken_off(digest: Digest, taken: u64, size: u64) -> Error {
    Error::corrupt(format!("{digest} broke off after {taken} of {size} bytes"))
}

/// First byte and length of what was asked for of a blob of `size` bytes.
pub(super) fn within(digest: Digest, range: Option<ByteRange>, size: u64) -> Result<(u64, u64), Error> {
    match range {
        None => Ok((0, size)),
        Some(range) if range.last() < size => Ok((range.first(), range.length())),
        Some(range) => {
            let message = format!("the bytes {range} don't lie within the {size} bytes of {digest}");
            Err(Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid, message)
                .with_content_size(size))
        }
    }
}

/// What a writer or a spool answers once its content was given up.
pub(super) fn given_up() -> Error {
    Error::unavailable("the content was given up before it was complete")
}
