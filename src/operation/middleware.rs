//! Layers made of functions.
//!
//! [`from_fn`] makes a layer over all operations, [`on`] one over a single operation, which lets all others pass.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::error::Error;
//! use tower_oci::operation::middleware::{Next, from_fn, on};
//! use tower_oci::operation::{Access, DeleteBlob, GetManifest, Handlers, Registry, Request};
//!
//! let registry = ServiceBuilder::new()
//!     // A guard lets pass what it knows, and nothing else.
//!     .layer(from_fn(|request: Request, next: Next| async move {
//!         match request.operation().access() {
//!             Access::Ping | Access::Pull => next.run(request).await,
//!             _ => Err(Error::denied("this registry is read-only")),
//!         }
//!     }))
//!     .layer(on(|request: Request<GetManifest>, next: Next<GetManifest>| async move {
//!         if request.operation().repository.is_under("secret") {
//!             return Err(Error::manifest_unknown("no such manifest"));
//!         }
//!         next.run(request).await
//!     }))
//!     .service(Handlers::new());
//!
//! let digest = tower_oci::spec::digest::Digest::sha256(b"");
//! let request = Request::new(DeleteBlob::new("a/b".parse()?, digest));
//! assert_eq!(registry.send(request).await.unwrap_err().to_string(), "this registry is read-only");
//! # Ok(()) }
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::call::{Call, Operation, Request, Response};
use super::registry::{BoxFuture, BoxRegistry, Registry};
use crate::error::Error;

/// The rest of the stack.
pub struct Next<O = Operation> {
    inner: BoxRegistry,
    operation: PhantomData<fn(O)>,
}

impl<O> Next<O> {
    fn new(inner: BoxRegistry) -> Self {
        Self { inner, operation: PhantomData }
    }

    /// The rest of the stack as a registry, for other operations than the one at hand.
    #[must_use]
    pub fn registry(&self) -> &BoxRegistry {
        &self.inner
    }
}

impl Next {
    /// Goes on with `request`.
    ///
    /// # Errors
    ///
    /// What the rest of the stack fails with.
    pub async fn run(mut self, request: Request) -> Result<Response, Error> {
        self.inner.call(request).await
    }
}

impl<O: Call> Next<O> {
    /// Goes on with `request`.
    ///
    /// # Errors
    ///
    /// What the rest of the stack fails with.
    pub async fn run(self, request: Request<O>) -> Result<Response<O::Reply>, Error> {
        self.inner.send(request).await
    }
}

impl<O> Clone for Next<O> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<O> fmt::Debug for Next<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

type Function =
    Arc<dyn Fn(Request, BoxRegistry) -> BoxFuture<'static, Result<Response, Error>> + Send + Sync>;

/// A layer made of a function; see [`from_fn`] and [`on`].
#[derive(Clone)]
pub struct FromFnLayer(Function);

/// The service of a [`FromFnLayer`]. It is always ready.
#[derive(Clone)]
pub struct FromFn {
    function: Function,
    inner: BoxRegistry,
}

/// A layer over all operations: `function` gets each request and the rest of the stack.
pub fn from_fn<F, Fut>(function: F) -> FromFnLayer
where
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Error>> + Send + 'static,
{
    FromFnLayer(Arc::new(move |request, inner| Box::pin(function(request, Next::new(inner)))))
}

/// A layer over the operation `O`: `function` gets its requests and the rest of the stack; all others pass.
///
/// The function may answer with the reply alone or in a [`Response`].
pub fn on<O, F, Fut, T>(function: F) -> FromFnLayer
where
    O: Call,
    F: Fn(Request<O>, Next<O>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Error>> + Send + 'static,
    T: Into<Response<O::Reply>>,
{
    FromFnLayer(Arc::new(move |request: Request, mut inner| match request.downcast::<O>() {
        Ok(request) => {
            let future = function(request, Next::new(inner));
            Box::pin(async move { Ok(future.await?.into().erase()) })
        }
        Err(request) => inner.call(request),
    }))
}

impl<R: Registry> Layer<R> for FromFnLayer {
    type Service = FromFn;

    fn layer(&self, inner: R) -> FromFn {
        FromFn { function: Arc::clone(&self.0), inner: BoxRegistry::new(inner) }
    }
}

impl Service<Request> for FromFn {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        (self.function)(request, self.inner.clone())
    }
}

impl fmt::Debug for FromFnLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFnLayer")
    }
}

impl fmt::Debug for FromFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}
