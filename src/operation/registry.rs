use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::ServiceExt as _;
use tower_service::Service;

use super::call::{Call, Request, Response};
use crate::error::Error;

/// A boxed future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The name for a tower service from [`Request`] to [`Response`].
///
/// It is implemented for every such service that can be cloned and shared; bound on it where a registry is taken:
/// `fn mount<R: Registry>(registry: R)`.
pub trait Registry:
    Service<Request, Response = Response, Error: Into<Error>, Future: Send> + Clone + Send + Sync + 'static
{
    /// Sends one operation and waits for its own kind of reply.
    ///
    /// It works on a clone, waits until that is ready, and so needs no `&mut`.
    ///
    /// # Errors
    ///
    /// What the registry fails with, or an internal error when it answers with the reply of another operation.
    fn send<O: Call>(
        &self,
        request: Request<O>,
    ) -> impl Future<Output = Result<Response<O::Reply>, Error>> + Send {
        let registry = self.clone();
        async move {
            let response = registry.oneshot(request.erase()).await.map_err(Into::into)?;
            response.try_map(TryInto::try_into)
        }
    }

    /// Erases the type.
    fn boxed_registry(self) -> BoxRegistry {
        BoxRegistry::new(self)
    }
}

impl<S> Registry for S where
    S: Service<Request, Response = Response, Error: Into<Error>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A registry whose type is erased; clones share it.
///
/// It is always ready: the inner service's readiness is awaited within the call.
#[derive(Clone)]
pub struct BoxRegistry(Arc<dyn Erased>);

impl BoxRegistry {
    /// Erases the type of `registry`.
    pub fn new<R: Registry>(registry: R) -> Self {
        Self(Arc::new(registry))
    }
}

impl fmt::Debug for BoxRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxRegistry")
    }
}

impl Service<Request> for BoxRegistry {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

trait Erased: Send + Sync {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Error>>;
}

impl<R: Registry> Erased for R {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Error>> {
        let registry = self.clone();
        Box::pin(async move { registry.oneshot(request).await.map_err(Into::into) })
    }
}
