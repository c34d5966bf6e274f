use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::Stream;
use tower::ServiceExt as _;
use tower_service::Service;

use super::request::BuildRequest;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::spec::digest::Digest;

/// The name for a tower service from [`BuildRequest`] to [`Build`]: an engine.
///
/// It is implemented for every such service that can be cloned and shared. It fails when a build can't begin; what
/// goes wrong later is the last item of the [`Build`].
pub trait Builder:
    Service<BuildRequest, Response = Build, Error: Into<Error>, Future: Send> + Clone + Send + Sync + 'static
{
    /// Erases the type.
    fn boxed_builder(self) -> BoxBuilder {
        BoxBuilder::new(self)
    }
}

impl<S> Builder for S where
    S: Service<BuildRequest, Response = Build, Error: Into<Error>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A build that goes on: what the engine says, and in the end what came of it.
///
/// The last item is [`Event::Finished`] or an error. Dropping it before ends the engine's work.
pub struct Build(Pin<Box<dyn Stream<Item = Result<Event, Error>> + Send>>);

/// Something that happens in a build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// What the engine printed: any bytes, as they came.
    Log(Bytes),
    /// The image is where it should go.
    Finished(Built),
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// The digest of the manifest, or of the index, that was pushed.
    pub digest: Digest,
}

impl Built {
    /// An image with the digest `digest`.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { digest }
    }
}

impl Build {
    /// What `events` yields. It must end with [`Event::Finished`] or an error.
    pub fn new(events: impl Stream<Item = Result<Event, Error>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }
}

impl Stream for Build {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Build")
    }
}

/// A builder whose type is erased; clones share it.
///
/// It is always ready: the inner service's readiness is awaited within the call.
#[derive(Clone)]
pub struct BoxBuilder(Arc<dyn Erased>);

impl BoxBuilder {
    /// Erases the type of `builder`.
    pub fn new<B: Builder>(builder: B) -> Self {
        Self(Arc::new(builder))
    }
}

impl Service<BuildRequest> for BoxBuilder {
    type Response = Build;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Build, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: BuildRequest) -> Self::Future {
        self.0.call(request)
    }
}

impl fmt::Debug for BoxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxBuilder")
    }
}

trait Erased: Send + Sync {
    fn call(&self, request: BuildRequest) -> BoxFuture<'static, Result<Build, Error>>;
}

impl<B: Builder> Erased for B {
    fn call(&self, request: BuildRequest) -> BoxFuture<'static, Result<Build, Error>> {
        let builder = self.clone();
        Box::pin(async move { builder.oneshot(request).await.map_err(Into::into) })
    }
}
