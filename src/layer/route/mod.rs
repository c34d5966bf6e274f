//! Which upstream a name means.
//!
//! A [`Router`] looks at three things, in this order:
//!
//! 1. an [`Origin`] that a layer outside of it has set: it is believed;
//! 2. the first component of the name, when it is a configured host or alias: `quay.io/a/b` means the repository `a/b`
//!    of quay.io. A component that looks like a host and isn't configured is `NAME_UNKNOWN`, never a request;
//! 3. the parameter `ns` of a read, among the configured hosts only; it is echoed as `OCI-Namespace`. On writes it is
//!    ignored, as is the name of the service itself;
//! 4. the default, if there is one.
//!
//! Then the repository is the upstream's, the request carries an [`UpstreamId`], and names in replies are mapped back
//! to what the client asked for. A ping is answered here: it has come through every guard outside of this layer.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::error::Error;
//! use tower_oci::layer::route::{RouteLayer, Routes};
//! use tower_oci::operation::{Handlers, ListTags, Registry, Request, Tags, UpstreamId};
//!
//! let routes = Routes::new()
//!     .host("quay.io".parse()?)
//!     .alias("hub", "docker.io".parse()?)?
//!     .default_host("docker.io".parse()?);
//! let registry = ServiceBuilder::new().layer(RouteLayer::new(routes)).service(Handlers::new().on(
//!     |request: Request<ListTags>| async move {
//!         let upstream = request.extensions().get::<UpstreamId>().cloned();
//!         assert_eq!(upstream.map(|id| id.to_string()).as_deref(), Some("docker.io"));
//!         let repository = request.into_operation().repository;
//!         assert_eq!(repository.as_str(), "library/busybox");
//!         Ok(Tags::new(repository, vec!["latest".parse()?], None))
//!     },
//! ));
//! let tags = registry.send(Request::new(ListTags::new("hub/busybox".parse()?))).await?.into_reply();
//! assert_eq!(tags.repository.as_str(), "hub/busybox");
//! # Ok(()) }
//! ```

mod routes;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

pub use self::routes::Routes;
use self::routes::Target;
use crate::error::Error;
use crate::operation::{
    Access, BoxFuture, Namespace, Operation, Origin, Pong, Registry, Reply, Request, Response, UpstreamId,
};
use crate::spec::name::Repository;

/// Puts a [`Router`] over a registry; see [the module](self).
#[derive(Clone, Debug)]
pub struct RouteLayer {
    routes: Arc<Routes>,
}

impl RouteLayer {
    /// A router with these routes.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self { routes: Arc::new(routes) }
    }
}

impl<R: Registry> Layer<R> for RouteLayer {
    type Service = Router<R>;

    fn layer(&self, inner: R) -> Router<R> {
        Router { inner, routes: Arc::clone(&self.routes) }
    }
}

/// The service of a [`RouteLayer`]; see [the module](self).
#[derive(Clone)]
pub struct Router<R> {
    inner: R,
    routes: Arc<Routes>,
}

impl<R> fmt::Debug for Router<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Router<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // A ping means this service, unless a layer of ours asks another registry.
        if matches!(request.operation(), Operation::Ping(_)) && request.extensions().get::<Origin>().is_none()
        {
            return Box::pin(std::future::ready(Ok(Response::from(Pong::new()).erase())));
        }
        let routed = match self.route(&mut request) {
            Ok(routed) => routed,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let future = self.inner.call(request);
        Box::pin(async move { Ok(routed.map_back(future.await.map_err(Into::into)?)) })
    }
}

/// What must be undone in the answer.
struct Routed {
    asked: Option<Repository>,
    namespace: Option<Namespace>,
}

impl<R> Router<R> {
    fn route(&self, request: &mut Request) -> Result<Routed, Error> {
        let origin = request.extensions().get::<Origin>().map(|origin| origin.0.clone());
        let reads = matches!(request.operation().access(), Access::Pull | Access::Catalog);
        let namespace =
            request.extensions().get::<Namespace>().filter(|_| reads && origin.is_none()).cloned();
        let namespace = namespace.filter(|namespace| !self.routes.is_own(&namespace.0));
        let asked = request.operation().repository().cloned();
        let (target, by_namespace) = match (&origin, &asked) {
            (Some(host), Some(asked)) => (Target::host(host.clone()).under(asked.clone())?, false),
            (Some(host), None) => (Target::host(host.clone()), false),
            (None, asked) => {
                self.routes.resolve(asked.as_ref(), namespace.as_ref().map(|namespace| &namespace.0))?
            }
        };
        if let Operation::StartUpload(upload) = request.operation_mut()
            && let Some(mount) = &mut upload.mount
            && let Some(from) = &mount.from
        {
            // A blob can be mounted only within one registry. From elsewhere, known or not, the client uploads it: some
            // take for the same registry what only has the same host.
            let from = match &origin {
                // Its names are those of that registry.
                Some(host) => Target::host(host.clone()).under(from.clone()),
                None => self.routes.resolve(Some(from), None).map(|(from, _)| from),
            };
            match from {
                Ok(from) if from.id() == target.id() => mount.from = from.repository().cloned(),
                _ => upload.mount = None,
            }
        }
        request.extensions_mut().insert::<UpstreamId>(target.id());
        if let (Some(repository), Some(mapped)) =
            (request.operation_mut().repository_mut(), target.repository())
        {
            repository.clone_from(mapped);
        }
        Ok(Routed { asked, namespace: namespace.filter(|_| by_namespace) })
    }
}

impl Routed {
    fn map_back(self, mut response: Response) -> Response {
        if let (Reply::Tags(tags), Some(asked)) = (response.reply_mut(), self.asked) {
            tags.repository = asked;
        }
        if let Some(namespace) = self.namespace {
            response.extensions_mut().insert(namespace);
        }
        response
    }
}

#[cfg(test)]
mod tests;
