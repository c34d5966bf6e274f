//! Manifests: by digest for ever, by tag for a while, and what is told when the upstream can't be asked.
//!
//! What is kept ([`kept`]) goes to readers that were let in lately; for all others, and for what isn't kept, the upstream
//! is asked ([`ask`]), once for all who have the same question. What is asked, and what follows from the answers, is
//! decided in [`answer`](mod@answer).

mod answer;
mod ask;
mod kept;

pub(super) use self::kept::Manifests;
use super::service::Session;
use crate::error::Error;
use crate::operation::{CacheStatus, Conditional, GetManifest, Manifest, Reply, Response, Verified};
use crate::spec::name::Reference;

pub(super) async fn answer(session: Session, asked: GetManifest) -> Result<Response, Error> {
    if let Some(response) = kept::hit(&session, &asked) {
        return Ok(response);
    }
    // In a box of its own, so that a hit doesn't pay for it.
    Box::pin(answer::answer(session, asked)).await
}

/// What `reference` means in this repository was changed by somebody who came this way.
pub(super) fn forget(session: &Session, reference: &Reference) {
    session.shared.manifests.forget(session, reference);
}

/// The reply with what is known of it.
fn respond(
    session: &Session,
    asked: &GetManifest,
    manifest: Manifest,
    status: CacheStatus,
    facts: http::Extensions,
) -> Response {
    let reply: Reply = if asked.conditions.has(&manifest.digest) {
        Conditional::<Manifest>::NotModified(manifest.digest).into()
    } else {
        let content = if asked.head { None } else { manifest.content };
        Conditional::Full(Manifest { content, ..manifest }).into()
    };
    let mut response = Response::from_parts(reply, facts);
    response.extensions_mut().insert(Verified::new());
    session.marked(response, status)
}
