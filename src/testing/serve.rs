use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as HttpBody;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_service::Service;

use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::rt::Tasks;

/// The smallest stream window that HTTP/2 servers of ours offer, in bytes.
const TINY_WINDOW: u32 = 16;

/// How a service is put on a socket.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ServeOptions {
    address: Option<SocketAddr>,
    tiny_window: bool,
}

impl ServeOptions {
    /// A free port of 127.0.0.1, HTTP/1.1 and HTTP/2 with prior knowledge, usual windows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another address: 127.0.0.2, say, for a second origin. With port 0 a free one is taken.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// HTTP/2 with a window of 16 bytes for what the client sends, and small frames and buffers for what it gets.
    pub fn tiny_window(mut self) -> Self {
        self.tiny_window = true;
        self
    }
}

/// A service on a socket. It stops when this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    tasks: Tasks,
}

impl Served {
    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A URL at it: `http://127.0.0.1:<port>` and then `path`, which starts with a slash or is empty.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops it, and waits until nothing of it is left.
    pub async fn stop(self) {
        self.tasks.shutdown(Duration::ZERO).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

/// Puts a service on a free port of 127.0.0.1, for HTTP/1.1 and HTTP/2 with prior knowledge. An error of the service
/// closes the connection without an answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower_oci::testing::{echo, serve};
///
/// let served = serve(echo())?;
/// assert!(served.url("/v2/").starts_with("http://127.0.0.1:"));
/// served.stop().await;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// When it is called outside a tokio runtime with I/O and time, or no port is free.
pub fn serve<S, C>(service: S) -> Result<Served, Error>
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    serve_with(ServeOptions::new(), service)
}

/// Like [`serve`], with options.
///
/// # Errors
///
/// When it is called outside a tokio runtime with I/O and time, or the address can't be listened on.
pub fn serve_with<S, C>(options: ServeOptions, service: S) -> Result<Served, Error>
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    let failed = |error| Error::internal("can't listen for tests").with_source(error);
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::internal("`serve` was called outside a tokio runtime"));
    }
    let address = options.address.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;

    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), options, connections.clone()));
                }
                // About that one connection, or about a limit, which needs time to pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(Served { address, tasks })
}

async fn connection<S, C>(stream: tokio::net::TcpStream, service: S, options: ServeOptions, tasks: Tasks)
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    // Without it small frames wait for each other.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move {
            let response = service.oneshot(request.map(Body::new)).await;
            response.map(|response| response.map(Body::new)).map_err(|error| Error::from(error.into()))
        }
    });
    let mut builder = auto::Builder::new(Executor(tasks));
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    if options.tiny_window {
        builder.http2().initial_stream_window_size(TINY_WINDOW).max_send_buf_size(1024);
    }
    // How a connection ends is the client's business.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Lets hyper spawn what answers the streams of an HTTP/2 connection.
#[derive(Clone, Debug)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}
