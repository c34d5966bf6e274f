use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Auth;
use super::presented::Presented;
use crate::body::Body;
use crate::error::BoxError;
use crate::http::is_ours;
use crate::operation::BoxFuture;

/// The layer of [`Auth::http_layer`].
#[derive(Clone, Debug)]
pub struct AuthHttpLayer {
    auth: Auth,
}

impl AuthHttpLayer {
    pub(super) fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

impl<S> Layer<S> for AuthHttpLayer {
    type Service = AuthHttp<S>;

    fn layer(&self, inner: S) -> AuthHttp<S> {
        AuthHttp { inner, auth: self.auth.clone() }
    }
}

/// The service of an [`AuthHttpLayer`]. It is ready when the inner one is.
#[derive(Clone)]
pub struct AuthHttp<S> {
    inner: S,
    auth: Auth,
}

impl<S> fmt::Debug for AuthHttp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthHttp").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl<S, B, RB> Service<Request<B>> for AuthHttp<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AuthHttpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.auth.is_token_endpoint(request.uri().path()) {
            let answer = self.auth.clone().answer(request.map(Body::new));
            return AuthHttpFuture(Kind::Ours(Box::pin(answer)));
        }
        if is_ours(request.uri().path()) {
            let presented = Presented::take(request.headers_mut());
            request.extensions_mut().insert(presented);
        }
        AuthHttpFuture(Kind::Passed(self.inner.call(request)))
    }
}

/// The future of an [`AuthHttp`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct AuthHttpFuture<F>(#[pin] Kind<F>);

#[pin_project(project = Projected)]
enum Kind<F> {
    Ours(BoxFuture<'static, Response<Body>>),
    Passed(#[pin] F),
}

impl<F, B, E> Future for AuthHttpFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            Projected::Ours(answer) => answer.as_mut().poll(cx).map(Ok),
            Projected::Passed(future) => {
                Poll::Ready(ready!(future.poll(cx)).map(|answer| answer.map(Body::new)))
            }
        }
    }
}

impl<F> fmt::Debug for AuthHttpFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthHttpFuture")
    }
}
