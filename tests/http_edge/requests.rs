//! What requests do to the edge: bodies, framing, garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower_oci::operation::middleware::{Next, from_fn};
use tower_oci::operation::{
    Handlers, ManifestCreated, PutManifest, Registry, Request, UploadChunk, UploadState,
};
use tower_oci::spec::digest::Digest;

use crate::wire::{Answer, Server, serve};

/// A registry that takes manifests and chunks, and how many operations have reached it.
async fn counted() -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let registry = Handlers::new()
        .on(|request: Request<PutManifest>| async move {
            Ok(ManifestCreated::new(Digest::sha256(&request.operation().content)))
        })
        .on(|request: Request<UploadChunk>| async move {
            let chunk = request.into_operation();
            let length = chunk.body.read(1 << 20).await?.len() as u64;
            Ok(UploadState::new(chunk.upload, length))
        });
    let counter = count.clone();
    let layer = from_fn(move |request: Request, next: Next| {
        counter.fetch_add(1, Ordering::SeqCst);
        next.run(request)
    });
    let registry = tower::ServiceBuilder::new().layer(layer).service(registry).boxed_registry();
    (serve(registry).await, count)
}

#[tokio::test]
async fn a_manifest_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let (server, count) = counted().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!(answer.status, "HTTP/1.1 413 Payload Too Large");
    assert_eq!(
        answer.text(),
        r#"{"errors":[{"code":"SIZE_INVALID","message":"the manifest is larger than 4194304 bytes"}]}"#
    );
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bodies_come_with_a_length_or_in_chunks() {
    let (server, count) = counted().await;
    let digest = Digest::sha256(b"{\"a\":1}");
    for framing in [
        "Content-Length: 7\r\n\r\n{\"a\":1}",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\nTrailer: x\r\n\r\n",
    ] {
        let request = format!("PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}");
        let answer = Answer::parse(&server.exchange(request).await);
        assert_eq!(answer.status, "HTTP/1.1 201 Created");
        assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let (server, count) = counted().await;
    for request in [
        "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nnonsense\r\n",
        "PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nnonsense\r\n",
    ] {
        let answer = Answer::parse(&server.exchange(request).await);
        assert_eq!(answer.status, "HTTP/1.1 400 Bad Request");
        assert_eq!(
            answer.text(),
            r#"{"errors":[{"code":"SIZE_INVALID","message":"the request's body broke off"}]}"#
        );
    }
    // The manifest never became an operation.
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn garbage_is_refused_and_reaches_nobody() {
    let (server, count) = counted().await;
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20);
    for garbage in [
        tls_hello.as_slice(),
        b"\0\0\0\0\r\n\r\n",
        b"GET /v2/a\x00b/manifests/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v2/\xff\xfe/manifests/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"PUT /v2/a/manifests/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}\n",
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"PUT /v2/a/manifests/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let answer = server.exchange(garbage).await;
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(shown.lines().next(), Some("HTTP/1.1 400 Bad Request"), "{shown}");
        assert_eq!(count.load(Ordering::SeqCst), 0, "{:?}", String::from_utf8_lossy(garbage));
    }
}

/// Two lengths would let a request hide in the body of another (CVE-2024-45410 and kin).
#[tokio::test]
async fn no_second_request_hides_in_a_body() {
    let (server, count) = counted().await;
    let hidden = "PUT /v2/a/manifests/y HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let request = format!(
        "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    let answers = server.exchange(request).await;
    let answers = String::from_utf8_lossy(&answers);
    // By RFC 9112, 6.1 the chunked framing counts, and the connection is closed behind it.
    assert!(answers.contains(&Digest::sha256(b"").to_string()), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
