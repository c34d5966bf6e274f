use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Limiter;
use crate::error::Error;
use crate::operation::{BoxFuture, Operation, Registry, Request, Response};

/// Puts a [`Limit`] over a registry; see [the module](super).
#[derive(Clone)]
pub struct LimitLayer {
    limiter: Limiter,
    is_free: Arc<dyn Fn(&Operation) -> bool + Send + Sync>,
}

impl LimitLayer {
    /// Counts every operation, pings included.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, is_free: Arc::new(|_| false) }
    }

    /// Counts pulls as Docker Hub does: each manifest that is got, and neither `HEAD`s nor blobs. An index and the
    /// manifest of one platform in it are two. Lists and writes aren't counted either.
    #[must_use]
    pub fn pulls(limiter: Limiter) -> Self {
        Self::new(limiter).free(is_no_pull)
    }

    /// Doesn't count the operations for which `is_free` answers true. Further operations may come: name those that are
    /// free, and not those that aren't.
    #[must_use]
    pub fn free(mut self, is_free: impl Fn(&Operation) -> bool + Send + Sync + 'static) -> Self {
        self.is_free = Arc::new(is_free);
        self
    }
}

fn is_no_pull(operation: &Operation) -> bool {
    // Named one by one: an operation that is added has to be looked at.
    match operation {
        Operation::GetManifest(get) => get.head,
        Operation::Ping(_)
        | Operation::PutManifest(_)
        | Operation::DeleteManifest(_)
        | Operation::GetBlob(_)
        | Operation::DeleteBlob(_)
        | Operation::StartUpload(_)
        | Operation::UploadChunk(_)
        | Operation::FinishUpload(_)
        | Operation::UploadStatus(_)
        | Operation::CancelUpload(_)
        | Operation::ListTags(_)
        | Operation::ListReferrers(_)
        | Operation::ListRepositories(_) => true,
    }
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}

impl<R: Registry> Layer<R> for LimitLayer {
    type Service = Limit<R>;

    fn layer(&self, inner: R) -> Limit<R> {
        Limit { inner, layer: self.clone() }
    }
}

/// The service of a [`LimitLayer`]; see [the module](super). It is ready when the inner one is.
#[derive(Clone)]
pub struct Limit<R> {
    inner: R,
    layer: LimitLayer,
}

impl<R> fmt::Debug for Limit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Limit<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let LimitLayer { limiter, is_free } = &self.layer;
        if !is_free(request.operation())
            && let Err(error) = limiter.check(request.extensions())
        {
            return Box::pin(ready(Err(error)));
        }
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}
