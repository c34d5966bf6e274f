use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::BodyExt as _;

use super::ask::mark;
use super::transfer::Transfer;
use crate::body::Body;
use crate::error::Error;
use crate::layer::cache::service::Session;
use crate::operation::{BlobContent, GetBlob};
use crate::spec::range::{RangeSpec, Ranges};

/// The rest of what a reader wants of a transfer that is lost, from `next` to before `end`, by a request of its own.
///
/// What the reader has been given was not checked by anybody. A whole blob is: what was given is read back and hashed,
/// and the rest ends well only if digest and size of it all agree. A part can't be, like any part that is passed through.
pub(super) async fn fetch(
    session: &Session,
    transfer: &Transfer,
    next: u64,
    end: Option<u64>,
    is_whole: bool,
) -> Result<Body, Error> {
    let digest = transfer.digest;
    let repository = session.repository().clone();
    let hasher = match is_whole {
        true => Some(transfer.hashed(next).await?),
        false => None,
    };
    let operation = match end {
        Some(end) if !is_whole => {
            let range = RangeSpec::Span(next, end.saturating_sub(1));
            GetBlob::ranges(repository, digest, Ranges::one(range))
        }
        _ if next > 0 => GetBlob::ranges(repository, digest, Ranges::one(RangeSpec::From(next))),
        _ => GetBlob::new(repository, digest),
    };
    let blob = session.ask(operation, mark).await?.into_reply();
    let is_other = blob.digest != digest || blob.size.zip(transfer.size).is_some_and(|(new, old)| new != old);
    if is_other {
        return Err(Error::corrupt(format!("{digest} is another content by now")));
    }
    let body = match blob.content {
        BlobContent::Whole(body) => {
            Body::from_stream(cut(body, next, end.map(|end| end.saturating_sub(next))))
        }
        BlobContent::Part(part) if part.range.first() == next => part.body,
        _ => {
            return Err(Error::bad_gateway(format!(
                "byte {next} of {digest} was asked for, but something else came"
            )));
        }
    };
    let body = body.idle_timeout(session.shared.settings.read_timeout);
    Ok(match hasher {
        Some(hasher) => body.verified_from(hasher, next, digest, transfer.size.or(blob.size)),
        None => body,
    })
}

/// A body without its first `skip` bytes, of which `keep` are wanted, or all.
fn cut(body: Body, skip: u64, keep: Option<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::try_unfold((body, skip, keep), async |(mut body, mut skip, mut keep)| {
        loop {
            if keep == Some(0) {
                return Ok(None);
            }
            let Some(frame) = body.frame().await else { return Ok(None) };
            let Ok(mut data) = frame?.into_data() else { continue };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            skip -= skipped as u64;
            let mut piece = data.split_off(skipped);
            if let Some(keep) = &mut keep {
                piece.truncate(usize::try_from(*keep).unwrap_or(usize::MAX));
                *keep -= piece.len() as u64;
            }
            if !piece.is_empty() {
                return Ok(Some((piece, (body, skip, keep))));
            }
        }
    })
}
