use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::edge;
use crate::body::Body;
use crate::error::BoxError;
use crate::operation::{BoxFuture, Registry};

/// A registry as an HTTP service: what `/v2` and everything below is answered by.
///
/// It takes any HTTP body and never fails: an error of the registry is an answer. Other paths are answered with
/// `404`; to serve them as well, use [`OciLayer`].
///
/// It is always ready. The registry's own readiness (a concurrency limit, say) is awaited within the call, after the
/// request has been read, so that what is malformed costs no permit. To shed load put `LoadShed` directly on the
/// limit inside the registry; its `503` is then the registry's answer.
///
/// The extensions of the HTTP request become those of the operation's request. That is how the embedder's HTTP
/// layers say who the caller is: an identity, an address.
///
/// HTTP/1.0 has no framing by which a body without a known length could be seen to break off: such a body is read
/// first, up to [`HTTP10_BUFFER`](super::HTTP10_BUFFER), and answered with `502` above that.
///
/// With axum it is a fallback service:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::body::Body;
/// use axum::http::Request;
/// use tower::ServiceExt as _;
/// use tower_oci::error::Error;
/// use tower_oci::http::OciService;
/// use tower_oci::operation::{Handlers, ListTags, Tags};
///
/// async fn tags(request: tower_oci::operation::Request<ListTags>) -> Result<Tags, Error> {
///     Ok(Tags::new(request.into_operation().repository, vec!["v1".parse()?], None))
/// }
///
/// let app: axum::Router =
///     axum::Router::new().fallback_service(OciService::new(Handlers::new().on(tags)));
/// let response = app.oneshot(Request::get("/v2/a/b/tags/list").body(Body::empty())?).await?;
/// let text = axum::body::to_bytes(response.into_body(), 1024).await?;
/// assert_eq!(&text[..], br#"{"name":"a/b","tags":["v1"]}"#);
/// # Ok(()) }
/// ```
///
/// Under plain hyper:
///
/// ```no_run
/// # async fn serve(registry: tower_oci::operation::Handlers) -> std::io::Result<()> {
/// use hyper_util::rt::{TokioExecutor, TokioIo};
/// use hyper_util::server::conn::auto::Builder;
/// use hyper_util::service::TowerToHyperService;
/// use tower_oci::http::OciService;
///
/// let service = TowerToHyperService::new(OciService::new(registry));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// loop {
///     let (stream, _) = listener.accept().await?;
///     stream.set_nodelay(true)?;
///     let service = service.clone();
///     tokio::spawn(async move {
///         let mut server = Builder::new(TokioExecutor::new());
///         server.http1().max_buf_size(16 * 1024);
///         // A connection that breaks off, or a TLS hello on this plain port, is no news.
///         let _ = server.serve_connection(TokioIo::new(stream), service).await;
///     });
/// }
/// # }
/// ```
///
/// hyper queues frames for a client until they are so many bytes, by itself 400 KiB: that much memory each client takes
/// that asks and doesn't read. With `max_buf_size` it is about so much and a frame, and the head of a request may be no
/// larger.
#[derive(Clone)]
pub struct OciService<R> {
    registry: R,
}

impl<R: Registry> OciService<R> {
    /// Answers with `registry`.
    #[must_use]
    pub fn new(registry: R) -> Self {
        Self { registry }
    }
}

impl<R> fmt::Debug for OciService<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OciService").finish_non_exhaustive()
    }
}

impl<R, B> Service<http::Request<B>> for OciService<R>
where
    R: Registry,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = OciFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> OciFuture {
        // The clone has no readiness to lose: nobody has polled for it.
        OciFuture { answer: Box::pin(edge::answer(self.registry.clone(), request)) }
    }
}

/// The future of [`OciService`].
#[must_use = "futures do nothing unless polled"]
pub struct OciFuture {
    answer: BoxFuture<'static, http::Response<Body>>,
}

impl fmt::Debug for OciFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OciFuture")
    }
}

impl Future for OciFuture {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

/// Puts a registry in front of an HTTP service: `/v2` and everything below is the registry's, all other paths go on
/// to the service. See [`OciService`] for how the registry is served.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use axum::body::Body;
/// use axum::http::Request;
/// use axum::routing::get;
/// use tower::ServiceExt as _;
/// use tower_oci::http::OciLayer;
/// use tower_oci::operation::Handlers;
///
/// let app: Router = Router::new()
///     .route("/healthz", get(|| async { "ok" }))
///     .layer(OciLayer::new(Handlers::new()));
///
/// let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).expect("valid"));
/// assert_eq!(ask("/healthz").await?.status(), 200);
/// assert_eq!(ask("/v2/a/tags/list").await?.status(), 405); // `Handlers` without any supports nothing.
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct OciLayer<R> {
    registry: R,
}

impl<R: Registry> OciLayer<R> {
    /// Answers with `registry`.
    #[must_use]
    pub fn new(registry: R) -> Self {
        Self { registry }
    }
}

impl<R> fmt::Debug for OciLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OciLayer").finish_non_exhaustive()
    }
}

impl<S, R: Registry> Layer<S> for OciLayer<R> {
    type Service = Oci<S, R>;

    fn layer(&self, inner: S) -> Oci<S, R> {
        Oci { inner, edge: OciService::new(self.registry.clone()) }
    }
}

/// The service of [`OciLayer`]. It is ready when the service inside is.
#[derive(Clone)]
pub struct Oci<S, R> {
    inner: S,
    edge: OciService<R>,
}

impl<S: fmt::Debug, R> fmt::Debug for Oci<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oci").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R, B, C> Service<http::Request<B>> for Oci<S, R>
where
    S: Service<http::Request<B>, Response = http::Response<C>>,
    R: Registry,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = OciLayerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = if edge::is_ours(request.uri().path()) {
            Answer::Ours(self.edge.call(request))
        } else {
            Answer::Theirs(self.inner.call(request))
        };
        OciLayerFuture { answer }
    }
}

/// The future of [`Oci`].
#[pin_project::pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct OciLayerFuture<F> {
    #[pin]
    answer: Answer<F>,
}

#[pin_project::pin_project(project = AnswerProjection)]
enum Answer<F> {
    Ours(OciFuture),
    Theirs(#[pin] F),
}

impl<F> fmt::Debug for OciLayerFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OciLayerFuture")
    }
}

impl<F, C, E> Future for OciLayerFuture<F>
where
    F: Future<Output = Result<http::Response<C>, E>>,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            AnswerProjection::Ours(answer) => Pin::new(&mut answer.answer).poll(cx).map(Ok),
            AnswerProjection::Theirs(answer) => {
                answer.poll(cx).map(|answer| answer.map(|response| response.map(Body::new)))
            }
        }
    }
}
