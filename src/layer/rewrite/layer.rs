use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::fetch::Http;
use super::memo::Memo;
use super::notes::Notes;
use super::request::Rewrite;
use super::service::Session;
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::{BoxFuture, BoxRegistry, Registry, Request, Response};
use crate::store::Records;

type PlanFor = Arc<dyn Fn(&Request) -> Option<Rewrite> + Send + Sync>;

/// Puts a [`RewriteService`] over registries; see [the module](super).
///
/// What has been derived is remembered by each service that the layer makes, and shared by the service's clones.
#[derive(Clone)]
pub struct RewriteLayer {
    plan_for: PlanFor,
    memo_bytes: usize,
    records: Option<Arc<dyn Records>>,
    record_lifetime: Duration,
    http: Option<Http>,
}

impl RewriteLayer {
    /// How many bytes of derived images are remembered by default: 64 MiB.
    pub const MEMO_BYTES: usize = 64 * 1024 * 1024;

    /// How long it is remembered by default from which source a derived digest comes: 36 hours.
    pub const RECORD_LIFETIME: Duration = Duration::from_secs(36 * 3600);

    /// Rewrites what `plan_for` says of each request; what it answers with `None` passes.
    pub fn new(plan_for: impl Fn(&Request) -> Option<Rewrite> + Send + Sync + 'static) -> Self {
        Self {
            plan_for: Arc::new(plan_for),
            memo_bytes: Self::MEMO_BYTES,
            records: None,
            record_lifetime: Self::RECORD_LIFETIME,
            http: None,
        }
    }

    /// Rewrites what a layer further out says by the extension [`Rewrite`] of a request.
    #[must_use]
    pub fn by_extension() -> Self {
        Self::new(|request| request.extensions().get().cloned())
    }

    /// Remembers up to so many bytes of derived images, in place of [`RewriteLayer::MEMO_BYTES`]. What is forgotten is
    /// derived anew when it is asked for.
    #[must_use]
    pub fn memo_bytes(mut self, bytes: usize) -> Self {
        self.memo_bytes = bytes;
        self
    }

    /// Records from which source a derived digest comes, so that another process, or this one after a restart, can
    /// derive it anew when a client asks for it by digest. Without records only this process knows. Images under a
    /// [`Pin`](super::Pin) need no record.
    #[must_use]
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(records);
        self
    }

    /// Remembers the source of a derived digest for so long after its tag was last asked for, in place of
    /// [`RewriteLayer::RECORD_LIFETIME`], give or take half of it.
    #[must_use]
    pub fn record_lifetime(mut self, lifetime: Duration) -> Self {
        self.record_lifetime = lifetime;
        self
    }

    /// Fetches layers that are kept at http and https addresses with `service`: a tower service that speaks HTTP as a
    /// client, with absolute URIs. The addresses come from whoever makes the plans, so it should be one with a guard
    /// that lets nobody reach into the inner network, and with time-outs. Without one, such layers can't be streamed.
    #[must_use]
    pub fn http<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error: Into<BoxError>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.http = Some(Http::new(service));
        self
    }
}

impl fmt::Debug for RewriteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewriteLayer")
            .field("memo_bytes", &self.memo_bytes)
            .field("records", &self.records)
            .field("record_lifetime", &self.record_lifetime)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl<R: Registry> Layer<R> for RewriteLayer {
    type Service = RewriteService;

    fn layer(&self, inner: R) -> RewriteService {
        RewriteService {
            plan_for: Arc::clone(&self.plan_for),
            inner: BoxRegistry::new(inner),
            shared: Arc::new(Shared {
                memo: Memo::new(self.memo_bytes),
                notes: Notes::new(self.records.clone(), self.record_lifetime),
                http: self.http.clone(),
            }),
        }
    }
}

/// What the clones of a service share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memo: Memo,
    pub(super) notes: Notes,
    pub(super) http: Option<Http>,
}

/// The service of a [`RewriteLayer`]; see [the module](super). It is always ready: the inner service's readiness is
/// awaited within the call.
#[derive(Clone)]
pub struct RewriteService {
    plan_for: PlanFor,
    inner: BoxRegistry,
    shared: Arc<Shared>,
}

impl fmt::Debug for RewriteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewriteService").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Service<Request> for RewriteService {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some(rewrite) = (self.plan_for)(&request) else { return self.inner.call(request) };
        // A second layer of this kind further in has its own plan, or none: this one is carried out here.
        request.extensions_mut().remove::<Rewrite>();
        let (operation, facts) = request.into_parts();
        let session = Session::new(
            Arc::clone(&self.shared),
            self.inner.clone(),
            rewrite,
            Request::from_parts((), facts),
        );
        Box::pin(session.answer(operation))
    }
}
