//! Content on its way: streamed, sent once, and broken off in every way.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower::service_fn;
use tower_oci::client::transport::Transport;
use tower_oci::error::RetryAfter;
use tower_oci::testing::{Fault, Kind, Served, When, serve};

use super::*;

/// A body of what is put into it, frame by frame.
fn fed() -> (mpsc::UnboundedSender<Result<Bytes, Error>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = stream::unfold(receiver, |mut frames| async { Some((frames.recv().await?, frames)) });
    (sender, Body::from_stream(frames))
}

fn gone() -> Error {
    Error::invalid(tower_oci::error::ErrorCode::SizeInvalid, "the request's body broke off")
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_breaks_off_leaves_what_has_come() {
    let home = Home::new();
    let client = home.client();
    let opened = client.open("a/b").await;
    let (sender, body) = fed();
    sender.send(Ok("abc".into())).unwrap();
    sender.send(Err(gone())).unwrap();
    let got = client.send("PATCH", &opened, &[], body).await;
    assert_eq!((got.status, got.error().1.as_str()), (400, "SIZE_INVALID"));
    let status = client.send("GET", &opened, &[], "").await;
    assert_eq!((status.status, status.header("range")), (204, Some("0-2")));
    let finish = format!("{}?digest={}", status.location(), Digest::sha256(b"abcdef"));
    let finished = client.send("PUT", &finish, &[("content-range", "3-5")], streamed("def")).await;
    assert_eq!(finished.status, 201);
    assert_eq!(home.seen().len(), 4, "nothing was tried again");
}

#[tokio::test(start_paused = true)]
async fn content_of_another_length_than_announced_ends_early() {
    let home = Home::new();
    let client = home.client();
    let opened = client.open("a/b").await;
    home.seen();
    for (announced, content, message) in [
        ("3", "abcdef", "3 bytes were announced, but more came"),
        ("9", "abcdef", "9 bytes were announced, but 6 came"),
    ] {
        let got = client.send("PATCH", &opened, &[("content-length", announced)], streamed(content)).await;
        let (status, code, told) = got.error();
        assert_eq!((status, code.as_str()), (400, "SIZE_INVALID"), "{told}");
        assert!(told.ends_with(message), "{told}");
        let status = client.send("GET", &opened, &[], "").await;
        assert!(status.header("range").unwrap() != "0-5", "{status:?}");
        assert_eq!(home.seen().len(), 2);
    }
    // What is known beforehand isn't even sent.
    let got = client.send("PATCH", &opened, &[("content-range", "0-8")], "abcdef").await;
    assert_eq!((got.status, got.error().1.as_str()), (400, "SIZE_INVALID"));
    assert_eq!(home.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_given_up_after_a_minute() {
    // The upstream just waits.
    let patient = service_fn(|request: http::Request<Body>| async {
        let opens = request.method() == http::Method::POST;
        if !opens {
            request.into_body().collect().await?;
        }
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().insert("location", HeaderValue::from_static("1"));
        Ok::<_, Error>(response)
    });
    let client = Client::new(upstream(&Hosts::new().on(HOST, patient)).build().unwrap());
    let opened = client.open("a/b").await;
    let started = tokio::time::Instant::now();
    let got = client.send("PATCH", &opened, &[], stalled("abc")).await;
    assert_eq!(got.error(), refused(408, "BLOB_UPLOAD_INVALID", "the client sent nothing for 60 s"));
    assert_eq!(started.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_no_time_out_and_a_slow_delete_is() {
    let home = Home::new();
    let client = home.client();
    let opened = client.open("a/b").await;
    let frames = stream::iter(0..20).then(|_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Ok::<_, Error>(Bytes::from_static(b"0"))
    });
    let chunk = client.send("PATCH", &opened, &[], Body::from_stream(frames)).await;
    assert_eq!((chunk.status, chunk.header("range")), (202, Some("0-19")));
    home.faulty.inject(When::any(), Fault::Hang);
    let got = client.send("DELETE", "/v2/a/b/manifests/v1", &[], "").await;
    assert_eq!(got.error(), refused(504, "UNSUPPORTED", "registry.example did not answer within 25 s"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_passed_on_and_nothing_is_tried_again() {
    let retry_after = (HeaderName::from_static("retry-after"), HeaderValue::from_static("7"));
    let body = || Bytes::from_static(br#"{"errors":[{"code":"DENIED","message":"quota"}]}"#);
    for (fault, status, code, retry) in [
        (
            Fault::TooManyRequests(Some(RetryAfter::Delay(Duration::from_secs(9)))),
            429,
            "TOOMANYREQUESTS",
            Some("9"),
        ),
        (
            Fault::Answer(StatusCode::SERVICE_UNAVAILABLE, vec![retry_after], body()),
            503,
            "UNSUPPORTED",
            Some("7"),
        ),
        (Fault::Answer(StatusCode::PAYLOAD_TOO_LARGE, vec![], body()), 413, "DENIED", None),
        (Fault::Answer(StatusCode::FORBIDDEN, vec![], body()), 403, "DENIED", None),
        (Fault::Answer(StatusCode::CONFLICT, vec![], body()), 400, "DENIED", None),
        (Fault::Status(StatusCode::INTERNAL_SERVER_ERROR), 502, "UNSUPPORTED", None),
        (Fault::Status(StatusCode::GATEWAY_TIMEOUT), 504, "UNSUPPORTED", None),
        (Fault::Close, 503, "UNSUPPORTED", None),
        (Fault::RedirectOrigin("https://other.example".to_owned()), 502, "UNSUPPORTED", None),
    ] {
        let home = Home::new();
        let client = home.client();
        let opened = client.open("a/b").await;
        home.faulty.inject(When::any(), fault.clone());
        home.seen();
        let finish = format!("{opened}?digest={}", Digest::sha256(b"abc"));
        let manifests = "/v2/a/b/manifests/v1";
        for (method, target, content) in [
            ("PATCH", opened.as_str(), streamed("abc")),
            ("PUT", &finish, streamed("abc")),
            ("PUT", manifests, manifest("").into()),
            ("DELETE", manifests, "".into()),
            ("POST", "/v2/a/b/blobs/uploads/", "".into()),
        ] {
            let got = client.send(method, target, &[], content).await;
            let told = got.error();
            assert_eq!((told.0, told.1.as_str()), (status, code), "{fault:?} {method} {target}: {}", told.2);
            assert_eq!(got.header("retry-after"), retry, "{fault:?}");
            assert_eq!(home.seen().len(), 1, "{fault:?} {method} {target}");
        }
    }
}

/// The upstream at a socket, and how often a pause was made before another try.
fn at_socket(address: &str) -> (UpstreamBuilder, Arc<AtomicU32>) {
    let pauses = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&pauses);
    let retry = RetryPolicy::new().tries(3).first_delay(Duration::from_millis(1)).random(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        0.5
    });
    let builder = Upstream::builder(address.parse().unwrap())
        .plain_http(true)
        .transport(Transport::builder().build().unwrap())
        .retry(retry)
        .writes(true)
        .upload_key(KEY);
    (builder, pauses)
}

#[tokio::test]
async fn what_was_never_sent_is_tried_again_and_nothing_else() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (builder, pauses) = at_socket(&address.to_string());
    let client = Client::new(builder.build().unwrap());
    let single = format!("/v2/a/b/blobs/uploads/?digest={}", Digest::sha256(b"abc"));
    for (method, target, content) in [
        ("DELETE", "/v2/a/b/manifests/v1", Body::empty()),
        ("PUT", "/v2/a/b/manifests/v1", manifest("").into()),
        ("POST", "/v2/a/b/blobs/uploads/", Body::empty()),
        ("POST", single.as_str(), "abc".into()),
    ] {
        let message = format!("`127.0.0.1` refused a connection on port {}", address.port());
        let got = client.send(method, target, &[], content).await;
        assert_eq!(got.error(), refused(503, "UNSUPPORTED", &message));
        assert_eq!(pauses.swap(0, Ordering::Relaxed), 2, "{method} {target}");
    }

    let home = Home::new();
    home.faulty.inject(When::kind(Kind::Manifest), Fault::Close);
    let served = serve(home.faulty.clone()).unwrap();
    let (builder, pauses) = at_socket(&served.addr().to_string());
    let client = Client::new(builder.build().unwrap());
    for method in ["DELETE", "PUT"] {
        let got = client.send(method, "/v2/a/b/manifests/v1", &[], "{}").await;
        assert_eq!((got.status, got.error().1.as_str()), (503, "UNSUPPORTED"));
        assert_eq!(home.seen(), [format!("{method} /v2/a/b/manifests/v1")]);
    }
    assert_eq!(pauses.load(Ordering::Relaxed), 0);
}

/// An upstream on a socket that tells each piece of content as it comes, and how it ends.
fn telling() -> (Served, mpsc::UnboundedReceiver<Option<Bytes>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |request: http::Request<Body>| {
        let sender = sender.clone();
        async move {
            let opens = request.method() == http::Method::POST;
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                sender.send(frame.ok().and_then(|frame| frame.into_data().ok())).unwrap();
            }
            let mut response = http::Response::new(Body::empty());
            *response.status_mut() = if opens { StatusCode::ACCEPTED } else { StatusCode::CREATED };
            response.headers_mut().insert("location", HeaderValue::from_static("1"));
            Ok::<_, Error>(response)
        }
    });
    (serve(service).unwrap(), receiver)
}

#[tokio::test]
async fn content_is_streamed_and_a_client_that_leaves_ends_the_upstreams_request() {
    let (home, mut told) = telling();
    let (builder, _) = at_socket(&home.addr().to_string());
    let client = Client::new(builder.build().unwrap());
    let opened = client.open("a/b").await;
    let finish = format!("{opened}?digest={}", Digest::sha256(b"abcdef"));

    let (sender, body) = fed();
    let (task, finish_too) = (client.clone(), finish.clone());
    let mut put = JoinSet::new();
    put.spawn(async move { task.send("PUT", &finish_too, &[], body).await.status });
    sender.send(Ok("abc".into())).unwrap();
    assert_eq!(told.recv().await.unwrap().unwrap(), "abc", "before the rest is there");
    sender.send(Ok("def".into())).unwrap();
    assert_eq!(told.recv().await.unwrap().unwrap(), "def");
    drop(sender);
    assert_eq!(put.join_next().await.unwrap().unwrap(), 201);

    // The client's connection ends: its request is dropped.
    let (sender, body) = fed();
    let (task, finish_too) = (client.clone(), finish.clone());
    let mut put = JoinSet::new();
    put.spawn(async move { task.send("PUT", &finish_too, &[], body).await.status });
    sender.send(Ok("abc".into())).unwrap();
    assert_eq!(told.recv().await.unwrap().unwrap(), "abc");
    put.abort_all();
    assert_eq!(told.recv().await.unwrap(), None, "the upstream's request has ended early");
    drop(sender);

    // Its body breaks off: the upstream must not take it for the whole.
    let (sender, body) = fed();
    let mut put = JoinSet::new();
    put.spawn(async move { client.send("PUT", &finish, &[], body).await.error() });
    sender.send(Ok("abc".into())).unwrap();
    assert_eq!(told.recv().await.unwrap().unwrap(), "abc");
    sender.send(Err(gone())).unwrap();
    assert_eq!(told.recv().await.unwrap(), None);
    assert_eq!(
        put.join_next().await.unwrap().unwrap(),
        refused(400, "SIZE_INVALID", "the request's body broke off")
    );
}
