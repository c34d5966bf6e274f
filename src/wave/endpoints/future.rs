use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project::pin_project;

use crate::body::Body;
use crate::error::BoxError;
use crate::operation::BoxFuture;

/// The future of an [`Endpoints`](super::Endpoints).
#[pin_project]
pub struct EndpointsFuture<F>(#[pin] Kind<F>);

#[pin_project(project = Projected)]
enum Kind<F> {
    Ours(BoxFuture<'static, Response<Body>>),
    Passed(#[pin] F),
}

impl<F> EndpointsFuture<F> {
    pub(super) fn ours(answer: BoxFuture<'static, Response<Body>>) -> Self {
        Self(Kind::Ours(answer))
    }

    pub(super) fn passed(future: F) -> Self {
        Self(Kind::Passed(future))
    }
}

impl<F, B, E> Future for EndpointsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
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

impl<F> fmt::Debug for EndpointsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointsFuture")
    }
}
