//! Blobs that the system sends from the file to the socket, without their passing through the program.
//!
//! A plain connection that is served through a [`SendFileStream`] says so in its requests, by [`SendFile`], which is an
//! extension of them. A store of files (`DiskBlobs`) then gives out frames of mapped memory, and where the stream is
//! asked to write such a frame it has the system send that part of the file: `sendfile(2)`. The bytes are neither copied
//! nor looked at, and a client that doesn't read takes no memory. Everything else is written as ever.
//!
//! It is for HTTP/1 over TCP, on Linux; elsewhere nothing changes. Under TLS leave it away: what is encrypted has to be
//! read.
//!
//! ```no_run
//! # async fn serve(registry: tower_oci::operation::Handlers) -> std::io::Result<()> {
//! use hyper::server::conn::http1::Builder;
//! use hyper_util::rt::TokioIo;
//! use hyper_util::service::TowerToHyperService;
//! use tower::Layer as _;
//! use tower_oci::http::OciService;
//! use tower_oci::store::sendfile::SendFileStream;
//!
//! let service = OciService::new(registry); // over a cache or a registry with `DiskBlobs`
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     stream.set_nodelay(true)?;
//!     let stream = SendFileStream::new(stream);
//!     let service = TowerToHyperService::new(stream.send_file().layer(service.clone()));
//!     tokio::spawn(async move {
//!         let mut server = Builder::new();
//!         server.max_buf_size(16 * 1024);
//!         let _ = server.serve_connection(TokioIo::new(stream), service).await;
//!     });
//! }
//! # }
//! ```
//!
//! Mapped memory can be read by anybody, so that a layer that looks into bodies works as before. It costs more than a
//! frame that was read, though, and where the disk fails under it, or somebody shortens a file of the store by hand, the
//! process is ended by the system (`SIGBUS`). Who puts such a layer over a store takes [`SendFile`] out of the requests
//! that pass it, as [`VerifyLayer`](crate::layer::verify::VerifyLayer) does. What is only sent runs no such risk: the
//! connection breaks off.

mod regions;
mod service;
mod stream;

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use self::regions::Regions;
pub use self::service::SendFileService;
pub use self::stream::SendFileStream;

/// Says, as an extension of a request, that its connection can send files: [`SendFileStream::send_file`].
///
/// As a layer over HTTP services it puts itself into the requests that come by HTTP/1. Clones belong to the same
/// connection.
#[derive(Clone)]
pub struct SendFile {
    connection: Arc<Connection>,
}

#[derive(Default)]
struct Connection {
    regions: Regions,
    sent: AtomicU64,
}

impl SendFile {
    /// Of a connection that has sent nothing.
    pub(crate) fn new() -> Self {
        Self { connection: Arc::default() }
    }

    /// How many bytes of files this connection has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.connection.sent.load(Ordering::Relaxed)
    }

    /// `length` bytes of a file from `offset` on, which this connection can send without reading them. None where that
    /// can't be.
    ///
    /// The file must have as many bytes, which must never change, and must not be shortened; it may grow behind them.
    pub(crate) fn map(&self, file: &Arc<File>, offset: u64, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok()?;
        match self.connection.regions.map(file, offset, length) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::debug!(%error, "a file can't be mapped: it is read");
                None
            }
        }
    }
}

impl fmt::Debug for SendFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFile").field("sent", &self.sent()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
