use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Body as HttpBody;
use tower::ServiceExt as _;
use tower_service::Service;

use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::BoxFuture;

type Answer = BoxFuture<'static, Result<http::Response<Body>, Error>>;
type Host = Arc<dyn Fn(http::Request<Body>) -> Answer + Send + Sync>;

/// The network in memory: an HTTP service that passes each request to the service of its host, as the request's URI
/// or else its `Host` header names it. What isn't there can't be connected to: an error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower::ServiceExt;
/// use tower_oci::body::Body;
/// use tower_oci::testing::{Hosts, echo};
///
/// let network = Hosts::new().on("cdn.example", echo());
/// let request = |uri: &str| http::Request::get(uri).header("x-a", "1").body(Body::empty()).unwrap_or_default();
/// let response = network.clone().oneshot(request("https://cdn.example/x?y")).await?;
/// assert_eq!(response.into_body().read(1024).await?, "GET /x?y\nx-a: 1\n");
/// assert!(network.oneshot(request("https://other.example/")).await.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Hosts(Arc<BTreeMap<String, Host>>);

impl Hosts {
    /// A network without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The service at `host`, written as in URIs: with a port where that isn't the scheme's own.
    #[must_use]
    pub fn on<S, C>(mut self, host: impl Into<String>, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        C: HttpBody<Data = Bytes> + Send + 'static,
        C::Error: Into<BoxError>,
    {
        let host_service: Host = Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move {
                let response = service.oneshot(request).await.map_err(|error| Error::from(error.into()))?;
                Ok(response.map(Body::new))
            })
        });
        let mut hosts = BTreeMap::clone(&self.0);
        hosts.insert(host.into(), host_service);
        self.0 = Arc::new(hosts);
        self
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<B> Service<http::Request<B>> for Hosts
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host =
            request.uri().authority().map(|authority| authority.as_str()).or(named).unwrap_or_default();
        match self.0.get(host) {
            Some(service) => service(request.map(Body::new)),
            None => {
                let error = Error::unavailable(format!("`{host}` can't be connected to"));
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}

/// A service that answers each request with its own method, target and headers as text, one a line: to see what a
/// redirect carries along.
#[must_use]
pub fn echo()
-> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Error, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(|request: http::Request<Body>| {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut text = format!("{} {target}\n", request.method());
        for (name, value) in request.headers() {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        let mut response = http::Response::new(Body::from(text));
        *response.status_mut() = StatusCode::OK;
        std::future::ready(Ok(response))
    })
}
