//! Nothing unverified ends well, whatever the framing: over HTTP/1.1 and HTTP/2, with and without a length, with no
//! frame, one frame and many.

#![expect(clippy::expect_used, reason = "what can't go on stops")]

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http::Version;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceBuilder;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::http::OciService;
use tower_oci::layer::verify::VerifyLayer;
use tower_oci::operation::{Blob, GetBlob, Handlers, Request};
use tower_oci::spec::digest::Digest;

/// How the content comes out of the leaf.
#[derive(Clone, Copy, Debug)]
struct Framing {
    frames: usize,
    length: bool,
}

/// What is wrong with the content.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    LastByte,
    FirstByte,
    Short,
    Long,
}

fn content(frames: usize) -> Vec<Bytes> {
    (0..frames).map(|frame| Bytes::from(vec![frame as u8; 1000])).collect()
}

fn body(framing: Framing, fault: Fault) -> Body {
    let mut bytes = content(framing.frames).concat();
    match fault {
        Fault::None => {}
        Fault::LastByte => *bytes.last_mut().expect("a byte") ^= 1,
        Fault::FirstByte => *bytes.first_mut().expect("a byte") ^= 1,
        Fault::Short => drop(bytes.pop()),
        Fault::Long => bytes.push(0),
    }
    let frames: Vec<_> =
        bytes.chunks(1000).map(|chunk| Ok::<_, Error>(Bytes::copy_from_slice(chunk))).collect();
    Body::from_stream(stream::iter(frames))
}

/// A registry whose only blob is as told.
async fn serve(framing: Framing, fault: Fault) -> (SocketAddr, JoinHandle<()>) {
    let leaf = Handlers::new().on(move |request: Request<GetBlob>| async move {
        let size = framing.length.then_some(1000 * framing.frames as u64);
        Ok(Blob::whole(request.operation().digest, size, body(framing, fault)))
    });
    let service = OciService::new(ServiceBuilder::new().layer(VerifyLayer::new()).service(leaf));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                drop(
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    (address, task)
}

/// The status, how many bytes came, and whether the body ended well. The status is 0 when the connection was closed
/// before anything came: hyper sends the head together with the first frame.
async fn fetch(address: SocketAddr, version: Version, digest: Digest) -> (u16, usize, bool) {
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http();
    let uri = format!("http://{address}/v2/a/b/blobs/{digest}").parse().expect("a URI");
    let Ok(response) = client.get(uri).await else { return (0, 0, false) };
    assert_eq!(response.version(), version);
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut came = 0;
    loop {
        match body.frame().await {
            Some(Ok(frame)) => came += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => return (status, came, false),
            None => return (status, came, true),
        }
    }
}

#[tokio::test]
async fn wrong_content_never_arrives_as_complete() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (frames, length) in [(0, true), (0, false), (1, true), (1, false), (5, true), (5, false)] {
            for fault in [Fault::None, Fault::LastByte, Fault::FirstByte, Fault::Short, Fault::Long] {
                if frames == 0 && !matches!(fault, Fault::None | Fault::Long) {
                    continue;
                }
                let framing = Framing { frames, length };
                let case = format!("{version:?} {framing:?} {fault:?}");
                let digest = Digest::sha256(&content(frames).concat());
                let (address, task) = serve(framing, fault).await;
                let (status, came, complete) = fetch(address, version, digest).await;
                task.abort();
                if fault == Fault::None || (fault == Fault::Long && frames == 0 && length) {
                    // A blob of no bytes is complete before anything is asked of its body.
                    assert_eq!((status, came, complete), (200, 1000 * frames, true), "{case}");
                } else if fault == Fault::Long && length {
                    // What lies behind the announced size is not part of the blob, and isn't passed on.
                    assert_eq!((status, came), (200, 1000 * frames), "{case}");
                } else if matches!(status, 0 | 200) {
                    assert!(
                        !complete && came < 1000 * frames.max(1),
                        "{case}: {came} bytes, complete: {complete}"
                    );
                } else {
                    assert_eq!(status, 502, "{case}");
                }
            }
        }
    }
}
