//! A server on loopback and clients that see every byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::http::OciService;
use tower_oci::operation::Registry;

/// A registry on a port of its own; all that it runs ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

pub(crate) async fn serve<R: Registry>(registry: R) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(OciService::new(registry.clone()));
            connections.spawn(async move {
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { address, _tasks: tasks }
}

impl Server {
    /// Sends bytes, reads until the server closes the connection.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        // A connection that is reset after an answer has said what it had to say.
        let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("nobody hangs");
        answer
    }

    /// Sends a request without a body, as HTTP/1.1 or HTTP/1.0.
    pub(crate) async fn ask(&self, method: &str, target: &str, version: &str, headers: &str) -> Answer {
        let request = format!(
            "{method} {target} {version}\r\nHost: registry.example\r\nConnection: close\r\n{headers}\r\n"
        );
        Answer::parse(&self.exchange(request).await)
    }

    pub(crate) async fn get(&self, target: &str, headers: &str) -> Answer {
        self.ask("GET", target, "HTTP/1.1", headers).await
    }

    pub(crate) async fn head(&self, target: &str, headers: &str) -> Answer {
        self.ask("HEAD", target, "HTTP/1.1", headers).await
    }
}

/// An answer as it came: the head without `Date` and `Connection`, sorted, and all bytes behind it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().to_owned();
        let mut headers: Vec<_> = lines.map(str::to_owned).collect();
        headers.retain(|line| !line.starts_with("date:") && !line.starts_with("connection:"));
        headers.sort();
        Self { status, headers, body: bytes[end + 4..].to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A body of frames whose length nobody knows beforehand.
pub(crate) fn unsized_body(frames: Vec<Result<Bytes, Error>>) -> Body {
    Body::from_stream(futures_util::stream::unfold(frames.into_iter(), |mut frames| async move {
        // What came before is on its way first, as from a real source.
        tokio::task::yield_now().await;
        frames.next().map(|frame| (frame, frames))
    }))
}
