//! The port, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::serve::Listener as Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept as Handshake, TlsAcceptor};

use tower_oci::store::sendfile::{SendFile, SendFileStream};

use super::Failure;
use super::server;
use super::settings::Settings;

pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, Failure> {
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
            _ => None,
        };
        let tcp = TcpListener::bind(settings.listen)
            .await
            .map_err(|error| format!("can't listen on {}: {error}", settings.listen))?;
        Ok(Self { tcp, tls })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// TLS with the certificate and its key.
fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Failure> {
    let (at, key_at) = (certificate.display(), key.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("can't read the certificate in {at}: {}", words(&error)))?;
    if chain.is_empty() {
        return Err(format!("can't read the certificate in {at}: there is none in PEM").into());
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("can't read the private key in {key_at}: {}", words(&error)))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("the certificate in {at} and the key in {key_at} don't work: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in PEM".to_owned(),
        error => error.to_string(),
    }
}

impl Accept for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Accept::accept(&mut self.tcp).await;
        // Without it small answers wait for each other.
        let _ = stream.set_nodelay(true);
        let connection = match &self.tls {
            // Shaken by whoever reads first: a client that is slow at it holds up nobody else.
            Some(tls) => Connection::Shaking(Box::new(tls.accept(stream))),
            None => Connection::Plain(SendFileStream::new(stream)),
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

pub(crate) enum Connection {
    Plain(SendFileStream),
    Shaking(Box<Handshake<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl server::Connection for Connection {
    fn send_file(&self) -> Option<SendFile> {
        match self {
            Self::Plain(stream) => Some(stream.send_file()),
            // What is encrypted has to be read.
            Self::Shaking(_) | Self::Tls(_) => None,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Connection {
    /// What bytes go through, when there is such a thing.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Stream>>> {
        if let Self::Shaking(handshake) = self {
            *self = Self::Tls(Box::new(ready!(Pin::new(&mut **handshake).poll(cx))?));
        }
        Poll::Ready(match self {
            Self::Plain(stream) => Ok(Pin::new(stream)),
            Self::Tls(stream) => Ok(Pin::new(&mut **stream)),
            Self::Shaking(_) => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_stream(cx))?.poll_read(cx, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_stream(cx))?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_stream(cx))?.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        // As both kinds do.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_stream(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Nothing was said that would have to be ended.
            Self::Shaking(_) => Poll::Ready(Ok(())),
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
