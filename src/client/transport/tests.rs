//! The transport over real sockets on loopback: the guard, proxies, TLS.

mod guarded;
mod proxied;
#[cfg(any(feature = "tls-aws-lc-rs", feature = "tls-ring"))]
mod secured;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::{Guard, HttpService, Transport};
use crate::body::Body;
use crate::error::Error;
use crate::rt::Tasks;

/// A small HTTP/1.1 server on a free port, which answers each request's head with what the function says, and
/// remembers the heads. It ends when it is dropped.
struct Server {
    address: std::net::SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Server {
    async fn start(host: &str, answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Self {
        Self::with(host, move |stream, heads| {
            let answer = answer.clone();
            async move { serve(stream, &heads, answer).await }
        })
        .await
    }

    async fn with<F, S>(host: &str, serve: S) -> Self
    where
        S: Fn(tokio::net::TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (end, mut ended) = tokio::sync::oneshot::channel();
        let remembered = Arc::clone(&heads);
        Tasks::new().spawn(async move {
            let connections = Tasks::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        connections.spawn(serve(stream, Arc::clone(&remembered)));
                    }
                    _ = &mut ended => break,
                }
            }
            connections.shutdown(Duration::ZERO).await;
        });
        Self { address, heads, end: Some(end) }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
    }
}

async fn serve<S>(mut stream: S, heads: &Mutex<Vec<String>>, answer: impl Fn(&str) -> String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(head) = read_head(&mut stream).await {
        let answer = answer(&head);
        heads.lock().unwrap().push(head);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn hello(_: &str) -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned()
}

async fn get(service: &HttpService, uri: &str) -> Result<String, Error> {
    let request = http::Request::get(uri).body(Body::empty()).unwrap();
    let response = service.clone().oneshot(request).await?;
    let content = response.into_body().read(1024).await?;
    Ok(String::from_utf8(content.to_vec()).unwrap())
}
