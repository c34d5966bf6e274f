use std::sync::Arc;

use http::Extensions;

use super::kept;
use crate::error::{Error, ErrorKind};
use crate::layer::cache::blob::Failure;
use crate::layer::cache::flight::Waiting;
use crate::layer::cache::scope::Reader;
use crate::layer::cache::service::Session;
use crate::layer::cache::visibility::{Access, Document};
use crate::operation::{Conditional, GetManifest, Manifest, Response, Verified};
use crate::spec::image as spec;
use crate::spec::name::Reference;

/// A question to an upstream. Those who have the same one at the same time share the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    reader: Reader,
    reference: Reference,
    head: bool,
    /// How many changes had come this way: an answer to what was asked before one is none to what is asked after it.
    changes: u64,
}

/// What an upstream answered, for all who asked.
pub(super) struct Landing {
    pub(super) manifest: Manifest,
    /// What the answer says beside the manifest.
    pub(super) facts: Extensions,
    /// Whether it was asked at all: it may have been answered for somebody else just before.
    pub(super) was_asked: bool,
}

/// Asks the upstream what `reference` is, together with those who have the same question. None when so much is going on
/// that it can't be asked in a task of its own.
pub(super) fn ask(session: &Session, reference: &Reference, head: bool) -> Option<Waiting<Arc<Landing>>> {
    let (shared, reader) = (&session.shared, session.reader.clone());
    let changes = shared.manifests.changes();
    let question = Question { reader, reference: reference.clone(), head, changes };
    let asking = || fly(session.clone(), question.clone());
    shared.manifests.flights.fly(&shared.tasks, question.clone(), asking)
}

async fn fly(session: Session, question: Question) -> Result<Arc<Landing>, Error> {
    if let Some(manifest) = kept::known_manifest(&session, &question.reference, question.head) {
        return Ok(Arc::new(Landing { manifest, facts: Extensions::new(), was_asked: false }));
    }
    let shared = &session.shared;
    let access = shared.visibility.access(&session.reader);
    let Question { reference, head, .. } = question.clone();
    let repository = session.repository().clone();
    let operation = match head {
        true => GetManifest::head(repository, reference),
        false => GetManifest::new(repository, reference),
    };
    match session.ask(operation, |_| {}).await {
        Ok(response) => learn(&session, &question, response).map(Arc::new),
        Err(error) => {
            if error.kind() == ErrorKind::NotFound {
                absent(&session, &question, access, &error);
            }
            Err(error)
        }
    }
}

/// The answer, if it is to what was asked, and doesn't contradict itself.
fn agreed(question: &Question, manifest: Manifest, is_verified: bool) -> Result<Manifest, Error> {
    let digest = manifest.digest;
    if let Some(asked) = question.reference.digest()
        && *asked != digest
    {
        return Err(Error::corrupt(format!("the manifest {asked} was answered with {digest}")));
    }
    match &manifest.content {
        _ if question.head => {}
        None => return Err(Error::corrupt(format!("the manifest {digest} came without content"))),
        Some(_) if is_verified => {}
        Some(content) if content.len() as u64 != manifest.size || !digest.matches(content) => {
            return Err(Error::corrupt(format!("the content of the manifest {digest} is something else")));
        }
        Some(content) => {
            let is_clear = spec::Manifest::check_unambiguous(&manifest.media_type, content.clone());
            is_clear.map_err(|reason| {
                Error::bad_gateway(format!("the manifest {digest} can be mistaken: {reason}"))
            })?;
        }
    }
    Ok(manifest)
}

/// The upstream let this reader in, and told it a manifest.
fn learn(
    session: &Session,
    question: &Question,
    response: Response<Conditional<Manifest>>,
) -> Result<Landing, Error> {
    let (shared, reader) = (&session.shared, &session.reader);
    let (reply, mut facts) = response.into_parts();
    let is_verified = facts.remove::<Verified>().is_some();
    let manifest = agreed(question, reply.full()?, is_verified)?;
    let digest = manifest.digest;
    if let Some(content) = &manifest.content {
        kept::keep(shared, digest, content);
    }
    let is_checked = manifest.content.is_some();
    let document = Document { media_type: manifest.media_type.clone(), size: manifest.size, is_checked };
    if question.changes == shared.manifests.changes() {
        shared.visibility.saw_manifest(reader, digest, document);
        shared.manifests.is_present(reader, &question.reference);
        if let Reference::Tag(tag) = &question.reference {
            shared.manifests.tag(&reader.scope, tag, digest);
        }
    }
    Ok(Landing { manifest, facts, was_asked: true })
}

/// There is no such manifest, as far as this reader is told.
fn absent(session: &Session, question: &Question, access: Access, error: &Error) {
    let (shared, reader) = (&session.shared, &session.reader);
    if question.changes != shared.manifests.changes() {
        return;
    }
    shared.manifests.is_absent(reader, &question.reference, Failure::from(error));
    // To somebody who may not read here everything is absent: that says nothing to the others.
    if access == Access::Unknown {
        return;
    }
    match &question.reference {
        Reference::Tag(tag) => shared.manifests.untag(&reader.scope, tag),
        Reference::Digest(digest) => shared.visibility.gone_manifest(&reader.scope, *digest),
    }
}
