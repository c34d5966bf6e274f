//! Writes, passed on.

mod content;
mod location;
mod seal;
mod send;

use std::sync::atomic::AtomicBool;

use http::uri::PathAndQuery;

use self::content::Content;
pub(super) use self::seal::Seal;
use self::send::Delivery;
use super::Inner;
use super::exchange::{Ask, Caller};
use crate::client::auth::Scopes;
use crate::client::origin::WebOrigin;
use crate::error::{Error, ErrorKind};
use crate::operation::{DeleteBlob, Operation, Response, StartUpload, UploadId};
use crate::rt::Clock;
use crate::secret::Secret;
use crate::spec::digest::Digest;

/// What an upstream needs to pass writes on.
pub(super) struct Writes {
    pub(super) seal: Seal,
    pub(super) clock: Clock,
    /// Where its uploads may lead to beside its own origin.
    pub(super) hosts: Vec<WebOrigin>,
    /// Whether it has answered a write already, so that it has asked for credentials if it wants any.
    pub(super) is_met: AtomicBool,
}

impl Inner {
    /// Passes a write on.
    pub(super) async fn write(
        &self,
        writes: &Writes,
        operation: Operation,
        caller: &Caller,
    ) -> Result<Response, Error> {
        let otherwise: Option<(Operation, Scopes)> = match &operation {
            // To our client a blob that it may not read is one that isn't there: it uploads it.
            Operation::StartUpload(start) if start.mount.is_some() && start.single.is_none() => {
                let mut upload = StartUpload::new(start.repository.clone());
                upload.algorithm = start.algorithm;
                let upload = upload.into();
                let scopes = Scopes::of(&upload);
                Some((upload, scopes))
            }
            // Docker's registry takes every `DELETE` for one of content.
            Operation::CancelUpload(cancel) => {
                let delete = DeleteBlob::new(cancel.repository.clone(), Digest::sha256(b"")).into();
                Some((cancel.clone().into(), Scopes::of(&operation).and(Scopes::of(&delete))))
            }
            _ => None,
        };
        let scopes = Scopes::of(&operation);
        match (self.deliver(writes, operation, scopes, caller).await, otherwise) {
            (Err(error), Some((operation, scopes))) if error.kind() == ErrorKind::Denied => {
                self.deliver(writes, operation, scopes, caller).await
            }
            (result, _) => result,
        }
    }

    async fn deliver(
        &self,
        writes: &Writes,
        operation: Operation,
        scopes: Scopes,
        caller: &Caller,
    ) -> Result<Response, Error> {
        let upload = match (upload(&operation), operation.repository()) {
            (Some((id, digest)), Some(repository)) => {
                let door = self.opened(writes, repository, id)?;
                let to = match digest {
                    Some(digest) => door.clone().with_digest(&digest)?,
                    None => door.clone(),
                };
                Some((to, door))
            }
            _ => None,
        };
        let announced = announced(&operation);
        let (mut ask, asked, body) = Ask::with_content(operation, caller)?;
        ask.scopes = scopes;
        let (to, door) = match upload {
            Some(places) => places,
            None => (self.at_home(&ask.path)?, self.at_home(&PathAndQuery::from_static("/v2/"))?),
        };
        // An upload's query may be a signature; the digest at its end is no secret.
        ask.hidden = door.uri.query().map(Secret::from);
        let content = Content::new(body, announced)?;
        let mut answer = self.send(&Delivery { writes, ask: &ask, to: to.clone(), door, content }).await?;
        self.relocate(writes, &asked, &to, &mut answer.response)?;
        self.read(&ask, &asked, answer).await
    }
}

/// The upload that an operation goes on with, and the digest that ends it.
fn upload(operation: &Operation) -> Option<(&UploadId, Option<Digest>)> {
    match operation {
        Operation::UploadChunk(chunk) => Some((&chunk.upload, None)),
        Operation::FinishUpload(finish) => Some((&finish.upload, Some(finish.digest))),
        Operation::UploadStatus(status) => Some((&status.upload, None)),
        Operation::CancelUpload(cancel) => Some((&cancel.upload, None)),
        _ => None,
    }
}

/// How long the content says that it is.
fn announced(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::UploadChunk(chunk) => chunk.length.or(chunk.range.map(|range| range.length())),
        Operation::FinishUpload(finish) => finish.length.or(finish.range.map(|range| range.length())),
        Operation::StartUpload(start) => start.single.as_ref()?.length,
        _ => None,
    }
}

/// Whether an operation brings content along: then it takes as long as that takes, and our client waits.
pub(super) fn brings_content(operation: &Operation) -> bool {
    match operation {
        Operation::PutManifest(_) | Operation::UploadChunk(_) | Operation::FinishUpload(_) => true,
        Operation::StartUpload(start) => start.single.is_some(),
        _ => false,
    }
}
