use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as HttpBody;
use tower::ServiceExt as _;
use tower_service::Service;

use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::BoxFuture;

/// A tower service that speaks HTTP as a client, its type erased; clones share it.
///
/// It is what an upstream is reached over: a pool of connections, or any service of the embedder's. Requests carry an absolute URI. It follows no redirects and knows nothing of authentication.
///
/// It is always ready: the inner service's readiness is awaited within the call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use std::convert::Infallible;
/// use tower::{ServiceExt, service_fn};
/// use tower_oci::body::Body;
/// use tower_oci::client::transport::HttpService;
///
/// let service = HttpService::new(service_fn(|request: http::Request<Body>| async move {
///     Ok::<_, Infallible>(http::Response::new(Body::from(request.uri().path().to_owned())))
/// }));
/// let request = http::Request::get("https://registry.example/v2/").body(Body::empty()).unwrap();
/// let response = service.oneshot(request).await?;
/// assert_eq!(&response.into_body().read(64).await?[..], b"/v2/");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct HttpService(Arc<dyn Erased>);

impl HttpService {
    /// Erases the type of `service`.
    ///
    /// Its own errors, unless they are this crate's or tower's, count as an upstream that can't be reached
    /// ([`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable)).
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(service))
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpService")
    }
}

impl Service<http::Request<Body>> for HttpService {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

trait Erased: Send + Sync {
    fn call(&self, request: http::Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>, Error>>;
}

impl<S, B> Erased for S
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn call(&self, request: http::Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>, Error>> {
        let service = self.clone();
        Box::pin(async move {
            let response = service.oneshot(request).await.map_err(|error| told(error.into()))?;
            Ok(response.map(Body::new))
        })
    }
}

/// A service's own error as ours: what we don't know is a fault of the way to the upstream.
fn told(error: BoxError) -> Error {
    let known = error.is::<Error>()
        || error.is::<tower::timeout::error::Elapsed>()
        || error.is::<tower::load_shed::error::Overloaded>();
    if known {
        Error::from(error)
    } else {
        Error::unavailable("the upstream can't be reached").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;
    use crate::error::ErrorKind;

    async fn kind_of(error: impl Fn() -> BoxError + Clone + Send + Sync + 'static) -> ErrorKind {
        let service = HttpService::new(service_fn(move |_: http::Request<Body>| {
            let error = error();
            async move { Err::<http::Response<Body>, BoxError>(error) }
        }));
        service.oneshot(http::Request::new(Body::empty())).await.unwrap_err().kind()
    }

    #[tokio::test]
    async fn errors_of_a_foreign_service_have_a_kind() {
        assert_eq!(kind_of(|| "odd".into()).await, ErrorKind::Unavailable);
        assert_eq!(kind_of(|| Error::denied("no").into()).await, ErrorKind::Denied);
        assert_eq!(kind_of(|| tower::timeout::error::Elapsed::new().into()).await, ErrorKind::TimedOut);
    }
}
