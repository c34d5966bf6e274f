//! What a process of ours that serves does, whatever it serves.

use std::convert::Infallible;
use std::future::Future;
use std::io::Read as _;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer as _, Service};
use tower_oci::error::BoxError;
use tower_oci::http::OciService;
use tower_oci::operation::Registry;
use tower_oci::rt::Tasks;
use tower_oci::store::sendfile::SendFileStream;

/// Serves a registry until standard input ends. Hyper queues at most `buffer` bytes for each reader, or what it takes to
/// be right.
pub(crate) fn serve<R: Registry>(buffer: Option<usize>, registry: impl Future<Output = R>) {
    serve_http(buffer, async { OciService::new(registry.await) });
}

/// The same with any service.
pub(crate) fn serve_http<S, B>(buffer: Option<usize>, service: impl Future<Output = S>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let service = service.await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("listening on {}", listener.local_addr().expect("an address"));
        let tasks = Tasks::new();
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let mut server = hyper::server::conn::http1::Builder::new();
            if let Some(buffer) = buffer {
                server.max_buf_size(buffer);
            }
            let stream = SendFileStream::new(stream);
            let service = TowerToHyperService::new(stream.send_file().layer(service.clone()));
            let connection = server.serve_connection(TokioIo::new(stream), service);
            tasks.spawn(async move { drop(connection.await) });
        }
    });
}
