//! One request and its response: permits, time-outs, and errors that say what happened.

use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;
use tower_service::Service;

use super::builder::Shared;
use super::target::Target;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::operation::BoxFuture;
use crate::rt::Tasks;

/// A pool of connections made by `C`.
#[derive(Clone, Debug)]
pub(super) struct Exchange<C> {
    client: Client<C, Sending>,
    shared: Arc<Shared>,
}

impl<C> Exchange<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    pub(super) fn new(connector: C, shared: Arc<Shared>) -> Self {
        let mut builder = Client::builder(Executor(shared.tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(shared.limits.pool_idle)
            .pool_max_idle_per_host(shared.limits.per_host)
            .http1_max_buf_size(MAX_BUFFER);
        #[cfg(feature = "http2")]
        builder
            .http2_adaptive_window(false)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE);
        Self { client: builder.build(connector), shared }
    }

    async fn exchange(self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let shared = &self.shared;
        let target = Target::of(request.uri())?;
        *request.version_mut() = Version::HTTP_11;
        // Ours alone to send, and only in the clear to a proxy.
        request.headers_mut().remove(header::PROXY_AUTHORIZATION);
        if let Some(authorization) = shared.proxies.to(&target).and_then(|proxy| proxy.authorization.as_ref())
            && !target.https
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, HeaderValue::clone(authorization));
        }
        let permit = shared.caps.enter(&target, shared.limits.queue).await?;
        let progress = Arc::new(Progress::start());
        let request = request.map(|body| Sending { body, progress: Arc::clone(&progress) });
        let limit = shared.limits.header;
        let response = progress.watch(limit, self.client.request(request)).await;
        let response = match response {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(failure(&target, error)),
            None => {
                let seconds = limit.as_secs_f64();
                return Err(Error::timed_out(format!("`{target}` didn't answer within {seconds} s")));
            }
        };
        Ok(response.map(|incoming| {
            let incoming = incoming.map_err(move |error| {
                Error::unavailable(format!("`{target}` broke off in the middle of a body")).with_source(error)
            });
            Body::new(incoming).idle_timeout(shared.limits.body_idle).guarded(permit)
        }))
    }
}

impl<C> Service<http::Request<Body>> for Exchange<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

/// Runs the tasks of connections where they are counted.
#[derive(Clone, Debug)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, driver: F) {
        if !self.0.spawn_serving(driver) {
            tracing::warn!("no more connections can be driven: too many, or shutting down");
        }
    }
}

/// When the upstream last had something to do, and whether it is us who keep it waiting: then no time-out runs, since
/// a slow upload isn't the upstream's fault.
#[derive(Debug)]
struct Progress(Mutex<Waiting>);

#[derive(Clone, Copy, Debug)]
enum Waiting {
    ForUpstream(Instant),
    ForUs,
}

impl Progress {
    fn start() -> Self {
        Self(Mutex::new(Waiting::ForUpstream(Instant::now())))
    }

    fn set(&self, waiting: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    /// How much of `limit` is left.
    fn left(&self, limit: Duration) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Waiting::ForUpstream(since) => limit.saturating_sub(since.elapsed()),
            Waiting::ForUs => limit,
        }
    }

    /// What `work` gives, unless the upstream lets `limit` pass.
    async fn watch<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        loop {
            let left = self.left(limit);
            if left.is_zero() {
                return None;
            }
            if let Ok(output) = tokio::time::timeout(left, work.as_mut()).await {
                return Some(output);
            }
        }
    }
}

/// A request's body, which tells how far it is.
#[derive(Debug)]
struct Sending {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.set(match frame {
            Poll::Ready(_) => Waiting::ForUpstream(Instant::now()),
            Poll::Pending => Waiting::ForUs,
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a request was never sent, since no connection could be made: then it may be made again, whatever it does.
pub(in crate::client) fn never_sent(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<hyper_util::client::legacy::Error>());
    error.kind() == ErrorKind::Unavailable
        && source.is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// Takes our own error out of hyper's, or says what the others mean.
fn failure(target: &Target, error: hyper_util::client::legacy::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    let (mut ours, mut parse) = (None, false);
    while let Some(error) = cause {
        ours = ours.or_else(|| error.downcast_ref::<Error>());
        parse |= error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        cause = error.source();
    }
    let told = match ours {
        Some(ours) => Error::new(ours.kind(), ours.code(), ours.message()).with_status(ours.status()),
        None if parse => Error::bad_gateway(format!("`{target}` doesn't speak HTTP as it should")),
        None if error.is_connect() => Error::unavailable(format!("`{target}` can't be connected to")),
        None => Error::unavailable(format!("`{target}` broke off before it answered")),
    };
    told.with_source(error)
}

/// How many bytes hyper reads and buffers at most at once.
const MAX_BUFFER: usize = 1024 * 1024;

/// HTTP/2's flow-control window, of a stream and of a connection: with the default of 64 KiB a blob is several times slower.
#[cfg(feature = "http2")]
const WINDOW: u32 = 16 * 1024 * 1024;

#[cfg(feature = "http2")]
const KEEP_ALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
#[path = "exchange/tests.rs"]
mod tests;
