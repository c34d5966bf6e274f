use std::io;
use std::time::Duration;

use futures_util::stream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::client::transport::{HttpService, Transport, TransportBuilder};
use crate::error::ErrorKind;

/// A connection in memory.
struct Memory(DuplexStream);

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Connection for Memory {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// A service whose connections end in the test: the other ends come out of the receiver.
fn in_memory(settings: TransportBuilder) -> (HttpService, mpsc::UnboundedReceiver<DuplexStream>) {
    let (accepted, accept) = mpsc::unbounded_channel();
    let connector = service_fn(move |_: http::Uri| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        accepted.send(far).unwrap();
        std::future::ready(Ok::<_, Error>(TokioIo::new(Memory(near))))
    });
    let Transport(shared) = settings.build().unwrap();
    (HttpService::new(Exchange::new(connector, shared)), accept)
}

fn get() -> http::Request<Body> {
    http::Request::get("http://x.example/v2/?sig=hunter2").body(Body::empty()).unwrap()
}

/// Reads a request's head.
async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn answer(accept: &mut mpsc::UnboundedReceiver<DuplexStream>, answer: &str) -> DuplexStream {
    let mut stream = accept.recv().await.unwrap();
    head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_answer_times_out() {
    let (service, mut accept) = in_memory(Transport::builder());
    let start = Instant::now();
    let error = service.oneshot(get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.message(), "`x.example:80` didn't answer within 30 s");
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    let mut stream = accept.recv().await.unwrap();
    head(&mut stream).await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the connection is closed");
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_not_the_upstreams_fault() {
    let (service, mut accept) = in_memory(Transport::builder());
    let chunks = stream::unfold(0, |sent| async move {
        sleep(Duration::from_secs(100)).await;
        (sent < 3).then(|| (Ok::<_, Error>(Bytes::from_static(b"chunk")), sent + 1))
    });
    let request = http::Request::put("http://x.example/").body(Body::from_stream(chunks)).unwrap();
    let upstream = async {
        let mut stream = accept.recv().await.unwrap();
        let mut all = head(&mut stream).await;
        while !all.ends_with("0\r\n\r\n") {
            all.push(stream.read_u8().await.unwrap().into());
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let (response, ()) = tokio::join!(service.oneshot(request), upstream);
    assert_eq!(response.unwrap().status(), 201);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_not_taken_times_out() {
    let (service, mut accept) = in_memory(Transport::builder());
    let chunks = stream::repeat_with(|| Ok::<_, Error>(Bytes::from(vec![0; 64 * 1024])));
    let request = http::Request::put("http://x.example/").body(Body::from_stream(chunks)).unwrap();
    let start = Instant::now();
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    drop(accept.recv().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_uploads_own_error_comes_out_as_it_was() {
    let (service, _accept) = in_memory(Transport::builder());
    let body = Body::from_stream(stream::iter([Err::<Bytes, _>(Error::corrupt("odd digest"))]));
    let error =
        service.oneshot(http::Request::put("http://x.example/").body(body).unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "odd digest"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_times_out() {
    let (service, mut accept) = in_memory(Transport::builder());
    let upstream = answer(&mut accept, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let (response, _stream) = tokio::join!(service.oneshot(get()), upstream);
    let mut body = response.unwrap().into_body();
    assert_eq!(body.size(), Some(10));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    let start = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.message(), "nothing came for 60 s in the middle of a body");
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn what_breaks_off_is_told_where() {
    for (text, kind, message) in [
        ("", ErrorKind::Unavailable, "`x.example:80` broke off before it answered"),
        (
            "HTTP/1.1 200 OK\r\nContent-",
            ErrorKind::Unavailable,
            "`x.example:80` broke off before it answered",
        ),
        ("SSH-2.0-OpenSSH\r\n", ErrorKind::BadGateway, "`x.example:80` doesn't speak HTTP as it should"),
    ] {
        let (service, mut accept) = in_memory(Transport::builder());
        let upstream = async { drop(answer(&mut accept, text).await) };
        let (response, ()) = tokio::join!(service.oneshot(get()), upstream);
        let error = response.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message), "{text}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_fails() {
    let (service, mut accept) = in_memory(Transport::builder());
    let upstream = async {
        drop(answer(&mut accept, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await);
    };
    let (response, ()) = tokio::join!(service.oneshot(get()), upstream);
    let error = response.unwrap().into_body().read(64).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "`x.example:80` broke off in the middle of a body");
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_until_the_body_has_ended() {
    let (service, mut accept) = in_memory(Transport::builder().max_per_host(1));
    let upstream = answer(&mut accept, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na");
    let (response, mut stream) = tokio::join!(service.clone().oneshot(get()), upstream);
    let response = response.unwrap();

    let error = service.clone().oneshot(get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(accept.try_recv().is_err(), "nothing was connected to for it");

    let second = service.oneshot(get());
    let first = async {
        stream.write_all(b"bc").await.unwrap();
        assert_eq!(response.into_body().read(8).await.unwrap(), "abc");
        // The connection serves the second one too.
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (second, ()) = tokio::join!(second, first);
    assert_eq!(second.unwrap().status(), 204);
    assert!(accept.try_recv().is_err());
}

#[tokio::test]
async fn credentials_for_proxies_are_not_the_callers_to_send() {
    let (service, mut accept) = in_memory(Transport::builder());
    let mut request = get();
    request.headers_mut().insert(header::PROXY_AUTHORIZATION, HeaderValue::from_static("Basic x"));
    let upstream = async {
        let mut stream = accept.recv().await.unwrap();
        let head = head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let (response, head) = tokio::join!(service.oneshot(request), upstream);
    assert_eq!(response.unwrap().status(), 204);
    assert_eq!(head, "GET /v2/?sig=hunter2 HTTP/1.1\r\nhost: x.example\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_do_not_hold_a_shutdown_up() {
    let tasks = Tasks::new();
    let (service, mut accept) = in_memory(Transport::builder().tasks(tasks.clone()));
    let upstream = answer(&mut accept, "HTTP/1.1 204 No Content\r\n\r\n");
    let (response, mut stream) = tokio::join!(service.clone().oneshot(get()), upstream);
    assert_eq!(response.unwrap().status(), 204);

    let start = Instant::now();
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the connection is closed");
    let error = service.oneshot(get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
