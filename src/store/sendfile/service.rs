use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::SendFile;

impl<S> Layer<S> for SendFile {
    type Service = SendFileService<S>;

    fn layer(&self, inner: S) -> SendFileService<S> {
        SendFileService { inner, send_file: self.clone() }
    }
}

/// Puts the [`SendFile`] of its connection into requests.
///
/// Those that come by HTTP/2 are left alone: its frames of 16 KiB each have a head, so that copying them is cheaper.
#[derive(Clone, Debug)]
pub struct SendFileService<S> {
    inner: S,
    send_file: SendFile,
}

impl<S, B> Service<http::Request<B>> for SendFileService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        if request.version() <= http::Version::HTTP_11 {
            request.extensions_mut().insert(self.send_file.clone());
        }
        self.inner.call(request)
    }
}
