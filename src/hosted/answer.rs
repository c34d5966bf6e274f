use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{GetBlob, Reply, Response, Verified};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository};
use crate::spec::range::{ByteRange, Satisfied};

/// What a request for a blob is answered with.
pub(super) enum Wanted {
    Head,
    NotModified,
    Whole,
    Part(ByteRange),
    Parts(Vec<ByteRange>),
}

impl Wanted {
    pub(super) fn of(get: &GetBlob, size: u64) -> Result<Self, Error> {
        let digest = get.digest;
        if get.conditions.has(&digest) {
            return Ok(Self::NotModified);
        }
        if get.head {
            return Ok(Self::Head);
        }
        let ranges = get.range.as_ref().filter(|_| get.conditions.allow_range(&digest));
        match ranges.map(|ranges| ranges.resolve(size)) {
            None | Some(Satisfied::Whole) => Ok(Self::Whole),
            Some(Satisfied::One(range)) => Ok(Self::Part(range)),
            Some(Satisfied::Several(ranges)) => Ok(Self::Parts(ranges)),
            Some(Satisfied::None) => {
                let message = format!("no part of the range lies within the {size} bytes of {digest}");
                let (kind, code) = (ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid);
                Err(Error::new(kind, code, message).with_content_size(size))
            }
        }
    }
}

/// What is kept was hashed on its way in.
pub(super) fn verified(reply: impl Into<Reply>) -> Response {
    let mut response = Response::new(reply.into());
    response.extensions_mut().insert(Verified::new());
    response
}

pub(super) fn no_repository(repository: &Repository) -> Error {
    Error::name_unknown(format!("no repository `{repository}`"))
}

pub(super) fn no_manifest(repository: &Repository, reference: &Reference) -> Error {
    Error::manifest_unknown(format!("no manifest `{reference}` in `{repository}`"))
}

pub(super) fn no_blob(repository: &Repository, digest: &Digest) -> Error {
    Error::blob_unknown(format!("no blob {digest} in `{repository}`"))
}

pub(super) fn needed_by(digest: &Digest, manifests: usize) -> Error {
    Error::unsupported(format!(
        "{digest} is needed by {manifests} manifest(s) of this repository; delete those first"
    ))
}
