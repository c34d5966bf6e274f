use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::layer::Shared;
use super::scope::Reader;
use super::{blob, list, manifest};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{
    Access, BoxFuture, BoxRegistry, CacheStatus, Call, Forward, Operation, Registry as _, Request, Response,
};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository, Tag};

/// The service of a [`CacheLayer`](super::CacheLayer); see [the module](super). It is always ready: the inner service's
/// readiness is awaited within the call, where there is one.
#[derive(Clone)]
pub struct Cache {
    inner: BoxRegistry,
    shared: Arc<Shared>,
}

impl Cache {
    pub(super) fn new(inner: BoxRegistry, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Service<Request> for Cache {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        let (operation, facts) = request.into_parts();
        let facts = Request::from_parts((), facts);
        let Some(repository) = operation.repository() else {
            // Without a repository there is nothing that could be kept.
            let session = Pass { shared, inner, facts };
            return Box::pin(session.answer(operation, Forward::Bypass));
        };
        let reader = Reader::new(facts.extensions(), repository);
        let session = Session { shared, inner, reader, facts: Arc::new(facts) };
        match operation {
            Operation::GetBlob(asked) => Box::pin(async move {
                session.shared.visibility.recall(&session.reader).await;
                session.shared.visibility.recall_content(&session.reader.scope, asked.digest).await;
                blob::answer(session, asked).await
            }),
            Operation::GetManifest(asked) => Box::pin(manifest::answer(session, asked)),
            Operation::ListTags(asked) => Box::pin(list::tags(session, asked)),
            Operation::ListReferrers(asked) => Box::pin(list::referrers(session, asked)),
            other => Box::pin(session.other(other)),
        }
    }
}

/// One request, with what is known of who asks.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) inner: BoxRegistry,
    pub(super) reader: Reader,
    facts: Arc<Request<()>>,
}

impl Session {
    pub(super) fn repository(&self) -> &Repository {
        &self.reader.scope.repository
    }

    /// What is known of the request.
    pub(super) fn facts(&self) -> &http::Extensions {
        self.facts.extensions()
    }

    /// Asks the inner service on behalf of this caller, with the facts of the request and what `mark` adds to them.
    ///
    /// What the answer says of the caller is noted: that it may read here, or not. Whatever is asked upstream goes
    /// through here.
    pub(super) async fn ask<O: Call>(
        &self,
        operation: O,
        mark: impl FnOnce(&mut Request<O>),
    ) -> Result<Response<O::Reply>, Error> {
        let mut request = self.facts.with(operation);
        mark(&mut request);
        let answer = self.inner.send(request).await;
        match &answer {
            Ok(_) => self.shared.visibility.let_in(&self.reader),
            Err(error) if turns_away(error) => self.shared.visibility.turned_away(&self.reader),
            Err(_) => {}
        }
        answer
    }

    /// Hands the operation on as it is: its answer isn't kept.
    pub(super) async fn pass<O: Call>(&self, operation: O, why: Forward) -> Result<Response, Error> {
        self.shared.counters.passed.add(1);
        let response = self.ask(operation, |_| {}).await?.erase();
        Ok(self.marked(response, self.forwarded(why)))
    }

    /// The answer with what the cache did.
    pub(super) fn marked(&self, mut response: Response, status: CacheStatus) -> Response {
        response.extensions_mut().insert(status);
        response
    }

    pub(super) fn hit(&self) -> CacheStatus {
        CacheStatus::hit(Arc::clone(&self.shared.settings.name))
    }

    pub(super) fn forwarded(&self, why: Forward) -> CacheStatus {
        CacheStatus::forwarded(Arc::clone(&self.shared.settings.name), why)
    }

    /// What is neither read from the cache nor kept: writes above all.
    async fn other(self, operation: Operation) -> Result<Response, Error> {
        let changed = Changed::by(&operation);
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        let pass = Pass { shared, inner, facts: self.facts.with(()) };
        let answer = pass.answer(operation, Forward::Method).await;
        // A write that failed may have been done all the same.
        if let Some(changed) = changed {
            changed.forget(&self);
        }
        answer
    }
}

/// What a write changes of what is kept.
enum Changed {
    Manifest(Reference, Vec<Tag>),
    Blob(Digest),
}

impl Changed {
    fn by(operation: &Operation) -> Option<Self> {
        match operation {
            Operation::PutManifest(put) => Some(Self::Manifest(put.reference.clone(), put.tags.clone())),
            Operation::DeleteManifest(delete) => Some(Self::Manifest(delete.reference.clone(), Vec::new())),
            Operation::DeleteBlob(delete) => Some(Self::Blob(delete.digest)),
            _ => None,
        }
    }

    fn forget(self, session: &Session) {
        match self {
            Self::Manifest(reference, tags) => {
                manifest::forget(session, &reference);
                tags.into_iter().for_each(|tag| manifest::forget(session, &tag.into()));
                list::forget(session);
            }
            Self::Blob(digest) => session.shared.visibility.gone(&session.reader.scope, digest),
        }
    }
}

/// A request that passes.
struct Pass {
    shared: Arc<Shared>,
    inner: BoxRegistry,
    facts: Request<()>,
}

impl Pass {
    async fn answer(mut self, operation: Operation, why: Forward) -> Result<Response, Error> {
        let is_read = matches!(operation.access(), Access::Ping | Access::Catalog | Access::Pull);
        self.shared.counters.passed.add(u64::from(is_read));
        let mut response = self.inner.call(self.facts.with(operation)).await?;
        let status = CacheStatus::forwarded(Arc::clone(&self.shared.settings.name), why);
        response.extensions_mut().insert(status);
        Ok(response)
    }
}

/// Whether an error says that the caller may not read the repository, or that it isn't there, which may be the same.
pub(super) fn turns_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthorized)
        || error.code() == ErrorCode::NameUnknown
}

/// Whether an error says that the upstream can't be asked now, so that something stale is better than nothing.
pub(super) fn is_out_of_reach(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::BadGateway | ErrorKind::TooManyRequests
    )
}

/// An upstream that has not answered yet, after so long.
pub(super) fn slow(limit: Duration) -> Error {
    Error::timed_out(format!("it has not answered within {} s", limit.as_secs_f64()))
}
