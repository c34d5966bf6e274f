//! What needs real connections: the guard, and what a client on a socket sees of a broken upstream.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::ServiceExt as _;
use tower_oci::body::Body;
use tower_oci::client::transport::{HttpService, Transport};
use tower_oci::client::{RetryPolicy, Upstream, UpstreamBuilder};
use tower_oci::error::Error;
use tower_oci::http::OciService;
use tower_oci::operation::Credential;
use tower_oci::testing::{Fault, Faulty, Recorder, ServeOptions, Served, When, serve, serve_with};

use crate::web::*;

/// A registry on a socket that has [`BLOB`] and [`MANIFEST`].
fn registry(options: ServeOptions) -> (Served, Faulty<HttpService>) {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.ends_with("/manifests/v1") => Answer::manifest(),
        _ => match call.header(http::header::RANGE) {
            Some(range) => {
                let first = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
                Answer::part(BLOB, first, BLOB.len() - 1)
            }
            None => Answer::content(BLOB),
        },
    });
    let faulty = Faulty::new(web.service(""));
    (serve_with(options, faulty.clone()).unwrap(), faulty)
}

fn at(host: u8) -> ServeOptions {
    ServeOptions::new().address((Ipv4Addr::new(127, 0, 0, host), 0).into())
}

/// The upstream at a socket, with a transport that gives up after a moment.
fn upstream(served: &Served) -> UpstreamBuilder {
    let transport = Transport::builder().body_idle_timeout(Duration::from_millis(50));
    Upstream::builder(served.addr().to_string().parse().unwrap())
        .plain_http(true)
        .transport(transport.build().unwrap())
        .retry(RetryPolicy::new().first_delay(Duration::from_millis(1)))
}

#[tokio::test]
async fn a_realm_at_a_private_address_is_not_connected_to() {
    let (home, faulty) = registry(at(1));
    let (victim, internal) = registry(at(2));
    faulty.inject(When::any(), Fault::Realm(victim.url("/token")));
    let upstream = upstream(&home).credential(Credential::basic("user", "hunter2")).build().unwrap();
    let origin = format!("http://{}", victim.addr());
    let message = format!(
        "http://{}: the token service {origin}: `127.0.0.2` is a loopback address (127.0.0.0/8), which may not be connected to",
        home.addr()
    );
    assert_eq!(told(pull(&upstream, "v1").await), error(403, "DENIED", &message));
    assert_eq!(faulty.recorder().lines(), ["GET /v2/team/app/manifests/v1"]);
    assert_eq!(internal.recorder().lines(), [""; 0]);
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_connected_to_unless_it_is_named() {
    let (home, faulty) = registry(at(1));
    let (victim, internal) = registry(at(2));
    faulty.inject(When::any(), Fault::RedirectOrigin(victim.url("")));
    let unnamed = upstream(&home).build().unwrap();
    let message = "`127.0.0.2` is a loopback address (127.0.0.0/8), which may not be connected to";
    assert_eq!(told(get_blob(&unnamed).await), error(403, "DENIED", message));
    assert_eq!(internal.recorder().lines(), [""; 0]);

    let (named, storage) = registry(at(3));
    faulty.heal();
    faulty.inject(When::any(), Fault::RedirectOrigin(named.url("")));
    let allowing = upstream(&home).allow_host(named.addr().to_string().parse().unwrap()).build().unwrap();
    assert_eq!(drained(&allowing).await.0, BLOB);
    assert_eq!(storage.recorder().lines(), [format!("GET /v2/team/app/blobs/{}", blob_digest())]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unavailable() {
    let host = "registry.example".parse().unwrap();
    let transport = Transport::builder().resolve(&host, []).build().unwrap();
    let upstream = Upstream::builder(host)
        .plain_http(true)
        .transport(transport)
        .retry(RetryPolicy::new().first_delay(Duration::from_millis(1)))
        .build()
        .unwrap();
    let (status, code, message) = told(pull(&upstream, "v1").await);
    assert_eq!((status, code), (503, "UNSUPPORTED"));
    assert!(message.contains("registry.example"), "{message}");
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_unavailable() {
    let (home, _) = registry(at(1));
    let upstream = upstream(&home).build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    home.stop().await;
    let (status, code, _) = told(pull(&upstream, "v1").await);
    assert_eq!((status, code), (503, "UNSUPPORTED"));
}

/// What a client on a socket of ours gets of a blob: the bytes, and whether they are all by what HTTP says. Where
/// nothing of a blob is good, the connection ends before its head.
async fn through(faults: &[(When, Fault)]) -> (String, bool, Recorder) {
    let (home, faulty) = registry(at(1));
    for (when, fault) in faults {
        faulty.inject(when.clone(), fault.clone());
    }
    let front = serve(OciService::new(upstream(&home).build().unwrap())).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let uri = front.url(&format!("/v2/team/app/blobs/{}", blob_digest()));
    let recorder = faulty.recorder().clone();
    let Ok(response) = client.get(uri.parse().unwrap()).await else {
        return (String::new(), false, recorder);
    };
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut all = Vec::new();
    let complete = loop {
        match body.frame().await {
            Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().unwrap()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    (String::from_utf8(all).unwrap(), complete, recorder)
}

#[tokio::test]
async fn a_client_on_a_socket_never_takes_a_broken_blob_for_a_whole_one() {
    let changed = Fault::Changed;
    for (what, faults) in [
        ("flipped", vec![(When::any(), Fault::FlippedByte(5))]),
        (
            "flipped, no length",
            vec![(When::any(), Fault::FlippedByte(5)), (When::any(), Fault::NoContentLength)],
        ),
        ("last byte flipped", vec![(When::any(), Fault::FlippedByte(35))]),
        ("ends early", vec![(When::any(), Fault::EndsEarly(20))]),
        ("changed", vec![(When::any().nth(1), Fault::CutOff(10)), (When::any().skip(1), changed)]),
        ("gone", vec![(When::any().nth(1), Fault::CutOff(10)), (When::any().skip(1), Fault::Close)]),
    ] {
        let (all, complete, _) = through(&faults).await;
        assert!(!complete && all.len() < BLOB.len(), "{what}: {all}");
    }
}

#[tokio::test]
async fn a_client_on_a_socket_does_not_notice_what_is_mended() {
    for (what, faults, requests) in [
        ("cut off", vec![(When::any().times(1), Fault::CutOff(10))], 2),
        ("cut off twice", vec![(When::any().times(2), Fault::CutOff(10))], 3),
        ("stalls", vec![(When::any().times(1), Fault::Stall(10))], 2),
        ("closes", vec![(When::any().times(2), Fault::Close)], 3),
        ("503", vec![(When::any().times(1), Fault::Status(StatusCode::SERVICE_UNAVAILABLE))], 2),
        ("trickles", vec![(When::any(), Fault::Trickle(5, Duration::from_millis(2)))], 1),
        ("no length", vec![(When::any(), Fault::NoContentLength)], 1),
    ] {
        let (all, complete, recorder) = through(&faults).await;
        assert_eq!((all.as_str(), complete), (BLOB, true), "{what}");
        assert_eq!(recorder.lines().len(), requests, "{what}");
    }
}

#[tokio::test]
async fn http2_with_a_tiny_window_brings_the_blob_all_the_same() {
    let (home, faulty) = registry(ServeOptions::new().tiny_window());
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let http = HttpService::new(tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.oneshot(request).await.map_err(|error| Error::unavailable(error.to_string())) }
    }));
    let host = home.addr().to_string().parse().unwrap();
    let upstream = Upstream::builder(host).plain_http(true).http(http).build().unwrap();
    let all = futures_util::future::join_all((0..8).map(|_| drained(&upstream))).await;
    assert!(all.iter().all(|(all, end)| all == BLOB && end.is_ok()));
    assert_eq!(faulty.recorder().lines().len(), 8);
}
