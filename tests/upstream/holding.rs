//! What is held while work is under way, what it takes, and what is let go when nobody waits for it any more.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, poll, stream};
use http::StatusCode;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oci::body::Body;
use tower_oci::client::transport::Transport;
use tower_oci::client::{RetryPolicy, Upstream};
use tower_oci::error::Error;
use tower_oci::http::OciService;
use tower_oci::operation::Credential;
use tower_oci::testing::{Fault, Faulty, ServeOptions, When, serve_with};

use crate::web::*;

/// Seven bytes of the blob and then nothing, for as long as `connection` is held.
fn stalling(connection: Arc<()>) -> Body {
    let first = Ok::<_, Error>(Bytes::from(&BLOB[..7]));
    let body = stream::iter([first]).chain(stream::pending());
    Body::from_stream(body.inspect(move |_| drop(Arc::clone(&connection))))
}

#[tokio::test(start_paused = true)]
async fn work_ends_with_who_reads_it() {
    let connection = Arc::new(());
    let held = Arc::clone(&connection);
    let web = Web::new(move |_| Answer::content(BLOB).body(stalling(Arc::clone(&held))));
    let upstream = web.upstream().build().unwrap();
    let request = http::Request::get(format!("/v2/team/app/blobs/{}", blob_digest())).body(Body::empty());
    let response = OciService::new(upstream).oneshot(request.unwrap()).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), &BLOB[..7]);
    assert!(poll!(Box::pin(body.frame())).is_pending());
    assert_eq!(Arc::strong_count(&connection), 3);
    drop(body);
    assert_eq!(Arc::strong_count(&connection), 2);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(web.seen(), [get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn work_ends_with_who_waits_for_its_headers() {
    let web = Web::new(|call| match call.line.contains("/token") {
        true => Answer::Never,
        false => Answer::challenge(r#"Bearer realm="https://registry.example/token""#),
    });
    let upstream = web.upstream().build().unwrap();
    let mut pull = Box::pin(pull(&upstream, "v1"));
    assert!(poll!(&mut pull).is_pending());
    drop(pull);
    let asked = web.seen().len();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!((asked, web.seen().len()), (2, 0));
}

#[tokio::test]
async fn one_exchange_at_a_time_is_enough_for_a_token_a_redirect_and_a_resumption() {
    let realm = Arc::new(OnceLock::new());
    let known = Arc::clone(&realm);
    let web = Web::new(move |call| match (call.line.as_str(), call.authorization()) {
        (line, _) if line.contains("/token") => Answer::token("t", 300),
        (_, None) => Answer::challenge(&format!(r#"Bearer realm="{}""#, known.get().unwrap())),
        ("GET /inside", _) => match call.header(http::header::RANGE) {
            Some(range) => {
                let first = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
                Answer::part(BLOB, first.parse().unwrap(), BLOB.len() - 1)
            }
            None => Answer::content(BLOB),
        },
        _ => Answer::redirect("/inside").body(streamed("moved")).without("content-length"),
    });
    let faulty = Faulty::new(web.service(""));
    faulty.inject(When::any().path("/inside").times(1), Fault::CutOff(10));
    faulty.inject(When::any().times(1), Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    let served = serve_with(ServeOptions::new(), faulty.clone()).unwrap();
    realm.set(served.url("/token")).unwrap();
    let transport = Transport::builder().max_per_host(1);
    #[cfg(feature = "tls")]
    let transport = transport.native_roots(false);
    let transport = transport.queue_timeout(Duration::from_secs(10)).build().unwrap();
    let upstream = Upstream::builder(served.addr().to_string().parse().unwrap())
        .plain_http(true)
        .transport(transport)
        .credential(Credential::basic("user", "hunter2"))
        .retry(RetryPolicy::new().first_delay(Duration::from_millis(1)))
        .build()
        .unwrap();
    let pulls = (0..6).map(|_| drained(&upstream));
    for (all, end) in futures_util::future::join_all(pulls).await {
        assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_declared_size_is_not_believed() {
    let huge = u64::MAX.to_string();
    let web = Web::new(move |call| {
        let body = if call.line.contains("manifests") { MANIFEST } else { BLOB };
        let huge = if call.line.contains("blobs") { "9223372036854775807" } else { &huge };
        Answer::content(body).header("content-length", huge).header("content-type", MANIFEST_TYPE)
    });
    let upstream = web.upstream().build().unwrap();
    let too_large = error(502, "UNSUPPORTED", "registry.example's document is larger than 4194304 bytes");
    assert_eq!(told(pull(&upstream, "v1").await), too_large);
    // Each resumption is answered with the beginning, until it's enough.
    let (all, end) = drained(&upstream).await;
    assert_eq!(all, BLOB);
    assert!(end.is_err());
}

#[tokio::test(start_paused = true)]
async fn headers_of_an_upstream_stay_behind() {
    const OURS: [&str; 9] = [
        "accept-ranges",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-type",
        "docker-content-digest",
        "docker-distribution-api-version",
        "etag",
        "ratelimit-remaining",
    ];
    let web = Web::new(|call| {
        let answer = open_registry(call).header("ratelimit-remaining", "5;w=60");
        let answer = answer.header("etag", "\"theirs\"").header("cache-control", "public");
        [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-hop"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic realm=\"x\""),
            ("www-authenticate", "Basic realm=\"x\""),
            ("set-cookie", "session=1"),
            ("location", "https://evil.example/"),
            ("access-control-allow-origin", "*"),
            ("strict-transport-security", "max-age=1"),
            ("server", "theirs"),
        ]
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.header(name, value))
    });
    let service = OciService::new(web.upstream().build().unwrap());
    for path in ["/v2/team/app/manifests/v1".to_owned(), format!("/v2/team/app/blobs/{}", blob_digest())] {
        for method in ["GET", "HEAD"] {
            let request = http::Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let mut names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            let wanted = OURS.iter().filter(|name| path.contains("blobs") || **name != "accept-ranges");
            assert_eq!(names, wanted.copied().collect::<Vec<_>>(), "{method} {path}");
            assert_ne!(response.headers()["etag"], "\"theirs\"");
            assert!(!response.headers()["cache-control"].to_str().unwrap().contains("public"));
        }
    }
}
