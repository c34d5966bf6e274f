use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::absent::Absence;
use super::catalog;
use super::policy::{Decision, Policy};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{
    Access, BoxFuture, Identity, ListRepositories, Operation, Registry, Request, Response,
};

/// Puts an [`Authorize`] over a registry; see [the module](crate::layer::authorize).
#[derive(Clone)]
pub struct AuthorizeLayer {
    policy: Arc<dyn Policy>,
}

impl AuthorizeLayer {
    /// A layer that asks `policy`.
    pub fn new(policy: impl Policy) -> Self {
        Self { policy: Arc::new(policy) }
    }
}

impl fmt::Debug for AuthorizeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer").finish_non_exhaustive()
    }
}

impl<R: Registry> Layer<R> for AuthorizeLayer {
    type Service = Authorize<R>;

    fn layer(&self, inner: R) -> Authorize<R> {
        Authorize { inner, policy: Arc::clone(&self.policy) }
    }
}

/// The service of an [`AuthorizeLayer`]; see [the module](crate::layer::authorize). It is ready when the inner one is.
#[derive(Clone)]
pub struct Authorize<R> {
    inner: R,
    policy: Arc<dyn Policy>,
}

impl<R> fmt::Debug for Authorize<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Authorize<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let caller = Identity::of(request.extensions());
        let absence = Absence::of(request.operation());
        let decision = judge(&*self.policy, &caller, request.operation());
        if decision != Decision::Allow {
            return Box::pin(std::future::ready(match absence {
                _ if caller.is_anonymous() => Err(unauthorized()),
                Some(absence) if decision == Decision::Hide => absence.answer(),
                _ => Err(denied(request.operation())),
            }));
        }
        leave_out_foreign_mount(&*self.policy, &caller, request.operation_mut());
        let request = match request.downcast::<ListRepositories>() {
            Ok(list) => {
                // Each page is asked for by a clone that waits for its own turn; the one that was polled ready would
                // keep a place that they may need.
                let inner = self.inner.clone();
                drop(std::mem::replace(&mut self.inner, inner.clone()));
                let policy = Arc::clone(&self.policy);
                return Box::pin(async move {
                    let visible = catalog::visible(inner, list, &*policy, &caller).await?;
                    Ok(Response::new(visible.into()))
                });
            }
            Err(request) => request,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            match absence {
                Some(absence) => absence.reword(answer),
                None => answer,
            }
        })
    }
}

/// What the policy says to an operation; a ping is none of its business, and what isn't known is denied.
fn judge(policy: &dyn Policy, caller: &Identity, operation: &Operation) -> Decision {
    let access = operation.access();
    match (access, operation.repository()) {
        (Access::Ping, None) => Decision::Allow,
        (Access::Pull | Access::Push | Access::Delete, repository @ Some(_))
        | (Access::Catalog, repository @ None) => policy.decide(caller, access, repository),
        _ => Decision::Deny,
    }
}

/// A mount reads from another repository than the one that the operation is about. The blob that a registry finds by
/// itself may be anywhere, so that is left out too.
fn leave_out_foreign_mount(policy: &dyn Policy, caller: &Identity, operation: &mut Operation) {
    match operation {
        Operation::StartUpload(start) => {
            start.mount.take_if(|mount| {
                let from = mount.from.as_ref();
                from.is_none_or(|from| policy.decide(caller, Access::Pull, Some(from)) != Decision::Allow)
            });
        }
        // Named one by one: an operation that is added has to be looked at, for it may be about a second repository.
        Operation::Ping(_)
        | Operation::GetManifest(_)
        | Operation::PutManifest(_)
        | Operation::DeleteManifest(_)
        | Operation::GetBlob(_)
        | Operation::DeleteBlob(_)
        | Operation::UploadChunk(_)
        | Operation::FinishUpload(_)
        | Operation::UploadStatus(_)
        | Operation::CancelUpload(_)
        | Operation::ListTags(_)
        | Operation::ListReferrers(_)
        | Operation::ListRepositories(_) => {}
    }
}

fn unauthorized() -> Error {
    Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, "authentication required")
}

fn denied(operation: &Operation) -> Error {
    let what = match operation.access() {
        Access::Pull => "pull from",
        Access::Push => "push to",
        Access::Delete => "delete from",
        Access::Catalog => return Error::denied("you may not list the repositories"),
        Access::Ping => "use",
    };
    match operation.repository() {
        Some(repository) => Error::denied(format!("you may not {what} `{repository}`")),
        None => Error::denied("you may not do that"),
    }
}
