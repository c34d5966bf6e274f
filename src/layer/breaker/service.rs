use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::circuit::Circuits;
use crate::error::Error;
use crate::operation::{BoxFuture, Registry, Request, Response, UpstreamId};

/// The service of a [`BreakerLayer`](super::BreakerLayer); see [the module](super). It is ready when the inner service
/// is.
#[derive(Clone)]
pub struct Breaker<R> {
    inner: R,
    circuits: Arc<Circuits>,
}

impl<R> Breaker<R> {
    pub(super) fn new(inner: R, circuits: Arc<Circuits>) -> Self {
        Self { inner, circuits }
    }
}

impl<R> fmt::Debug for Breaker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("circuits", &self.circuits).finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Breaker<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let upstream = request.extensions().get::<UpstreamId>().cloned();
        let passage = match Circuits::admit(&self.circuits, upstream) {
            Ok(passage) => passage,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let future = self.inner.call(request);
        Box::pin(async move {
            let answer = future.await.map_err(Into::into);
            passage.settle(answer.as_ref().err());
            answer
        })
    }
}
