//! A port without TLS.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use tokio::net::TcpListener;
#[cfg(not(feature = "disk"))]
use tokio::net::TcpStream;
#[cfg(feature = "disk")]
use tower_oci::store::sendfile::{SendFile, SendFileStream};

use super::server::Connection;

pub(crate) struct Plain(pub(crate) TcpListener);

impl Listener for Plain {
    #[cfg(feature = "disk")]
    type Io = SendFileStream;
    #[cfg(not(feature = "disk"))]
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it small answers wait for each other.
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "disk")]
        let stream = SendFileStream::new(stream);
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(feature = "disk")]
impl Connection for SendFileStream {
    fn send_file(&self) -> Option<SendFile> {
        Some(SendFileStream::send_file(self))
    }
}

#[cfg(not(feature = "disk"))]
impl Connection for TcpStream {}
