//! A server of hyper's own parts: `axum::serve` can't be told how much is queued for a client, nor have files sent.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(feature = "disk")]
use tower::{Layer as _, util::Either};
#[cfg(feature = "disk")]
use tower_oci::store::sendfile::SendFile;

/// What is queued for each client that doesn't read, in bytes, and how long the head of a request may be.
const QUEUE: usize = 16 * 1024;

/// A connection, which may be able to send files.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    #[cfg(feature = "disk")]
    fn send_file(&self) -> Option<SendFile>;
}

/// Serves until `stop` is over, then answers what was asked by then.
pub(crate) async fn serve<L>(mut listener: L, app: Router, stop: impl Future<Output = ()>)
where
    L: Listener<Addr = SocketAddr, Io: Connection>,
{
    let mut server = Builder::new(TokioExecutor::new());
    // With a timer, who never finishes a request doesn't stay.
    server.http1().timer(TokioTimer::new()).max_buf_size(QUEUE);
    server.http2().timer(TokioTimer::new());
    let (open, mut stop) = (GracefulShutdown::new(), pin!(stop));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        #[cfg(feature = "disk")]
        let app = match stream.send_file() {
            Some(files) => Either::Left(files.layer(app.clone())),
            None => Either::Right(app.clone()),
        };
        #[cfg(not(feature = "disk"))]
        let app = app.clone();
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
        let connection = open.watch(connection.into_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "the crate's rule; a server of one's own spawns as it likes"
        )]
        tokio::spawn(async move {
            // A client that speaks TLS to a plain port, as podman does first, is no event worth a log line.
            let _ = connection.await;
        });
    }
    drop(listener);
    open.shutdown().await;
}
