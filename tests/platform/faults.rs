//! Platforms that are away, slow, out of order or up to something.

use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use tower_oci::body::Body;
use tower_oci::client::transport::{Guard, Transport};
use tower_oci::error::{Error, RetryAfter};
use tower_oci::testing::{PlatformStandIn, serve};
use tower_oci::wave::platform::{PlatformAccess, Platforms};

use super::support::{IN_MEMORY, failure, in_memory, pairing_request};

const NAME: &str = "the platform `https://platform.test`";

fn access() -> PlatformAccess {
    PlatformAccess::new("canary-access").endpoint(IN_MEMORY).refresh_token("canary-refresh")
}

/// What is said when a platform answers everything with this.
async fn answered(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
    let (headers, body) = (headers.to_vec(), body.to_owned());
    let http = tower::service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in &headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        async move { Ok::<_, Error>(response) }
    });
    let (platforms, _) = in_memory(http, |platforms| platforms).await;
    let error = platforms.user(&access()).await.unwrap_err();
    let other = platforms.credential(&access(), &"quay.io".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(other.kind(), error.kind());
    error
}

#[tokio::test]
async fn failures_of_a_platform_are_told_as_its_own() {
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(1 << 20));
    for (status, headers, body, told, said) in [
        (
            500,
            &[][..],
            r#"{"message":"database is away"}"#,
            502,
            "answered 500 Internal Server Error when it was asked for the user: database is away",
        ),
        (503, &[], "<html>", 502, "answered 503 Service Unavailable when it was asked for the user"),
        (
            403,
            &[],
            r#"{"message":"no licence"}"#,
            403,
            "answered 403 Forbidden when it was asked for the user: no licence",
        ),
        (429, &[], "", 429, "answered 429 Too Many Requests when it was asked for the user"),
        (
            302,
            &[("location", "http://127.0.0.1/")],
            "",
            502,
            "answered 302 Found when it was asked for the user, and redirects of it are not followed",
        ),
        (200, &[], "<html>", 502, "answered with something else than a user"),
        (
            200,
            &[],
            r#"{"user":{"id":"x"},"token":"canary-access"}"#,
            502,
            "answered with something else than a user",
        ),
        (200, &[], long.as_str(), 502, "answered with more than 65536 bytes"),
        // An echo of what was sent isn't told on.
        (
            500,
            &[],
            r#"{"message":"Bearer canary-access is odd"}"#,
            502,
            "answered 500 Internal Server Error when it was asked for the user",
        ),
    ] {
        let error = answered(status, headers, body).await;
        assert_eq!((error.status().as_u16(), error.message()), (told, format!("{NAME} {said}").as_str()));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let limited = answered(429, &[(header::RETRY_AFTER.as_str(), "77")], "").await;
    assert_eq!(limited.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(77))));
    // A renewal that is answered without tokens.
    let http = tower::service_fn(|request: Request<Body>| {
        let mut response = Response::new(Body::empty());
        if request.uri().path() != "/oauth/access_token" {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        async move { Ok::<_, Error>(response) }
    });
    let (platforms, _) = in_memory(http, |platforms| platforms).await;
    let said = format!("{NAME} answered without a new access token when it was asked for one");
    assert_eq!(failure(platforms.user(&access()).await), (502, said));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_takes_too_long_is_a_504() {
    let http = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Error>>());
    let (platforms, _) = in_memory(http, |platforms| platforms.timeout(Duration::from_secs(7))).await;
    let start = tokio::time::Instant::now();
    let expected = (504, format!("{NAME} did not answer within 7s"));
    assert_eq!(failure(platforms.user(&access()).await), expected);
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let found = platforms.credential(&access(), &"quay.io".parse().unwrap(), None).await;
    assert_eq!(failure(found), expected);
}

/// Each request is quick enough, all of them together aren't.
#[tokio::test(start_paused = true)]
async fn a_question_has_one_limit_however_many_requests_it_takes() {
    let http = tower::service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let body = r#"{"credentials":[{"id":"1","provider":"container-reg","keys":{"registry":"quay.io"}}]}"#;
        Ok::<_, Error>(Response::new(Body::from(body)))
    });
    let (platforms, _) = in_memory(http, |platforms| platforms.timeout(Duration::from_secs(7))).await;
    let start = tokio::time::Instant::now();
    let found = platforms.credential(&access(), &"quay.io".parse().unwrap(), None).await;
    assert_eq!(failure(found), (504, format!("{NAME} did not answer within 7s")));
    assert_eq!(start.elapsed(), Duration::from_secs(7));
}

async fn reached(guard: Guard, endpoint: &str) -> (u16, String) {
    let http = Transport::builder().build().unwrap().connect(guard);
    let platforms = Platforms::builder(http).endpoint(endpoint).plain_http(true).build().unwrap();
    platforms.pair(pairing_request(endpoint).as_bytes()).await.unwrap();
    failure(platforms.user(&PlatformAccess::new("access").endpoint(endpoint)).await)
}

#[tokio::test]
async fn a_platform_that_is_away_is_a_503_that_names_it() {
    let served = serve(PlatformStandIn::new()).unwrap();
    let (endpoint, port) = (served.url(""), served.addr().port());
    served.stop().await;
    let guard = Guard::public_only().allow_network("127.0.0.1").unwrap();
    let said = format!("the platform `{endpoint}`: `127.0.0.1` refused a connection on port {port}");
    assert_eq!(reached(guard, &endpoint).await, (503, said));
}

#[tokio::test]
async fn the_guard_holds_for_platforms_too() {
    let platform = PlatformStandIn::new();
    let served = serve(platform.clone()).unwrap();
    let endpoint = served.url("");
    let reason = "`127.0.0.1` is a loopback address (127.0.0.0/8), which may not be connected to";
    let said = format!("the platform `{endpoint}`: {reason}");
    assert_eq!(reached(Guard::public_only(), &endpoint).await, (403, said));
    assert_eq!(platform.recorder().lines(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_trusted_is_refused_when_it_is_configured() {
    let builder = || {
        let http =
            tower::service_fn(|_: Request<Body>| async { Ok::<_, Error>(Response::new(Body::empty())) });
        Platforms::builder(tower_oci::client::transport::HttpService::new(http))
    };
    for (platforms, message) in [
        (
            builder().endpoint("http://platform.example"),
            "`http://platform.example` can't be a trusted platform: it is reached over plain http, which wasn't allowed",
        ),
        (
            builder().endpoint("ftp://x"),
            "`ftp://x` can't be a trusted platform: it starts with neither `https://` nor `http://`",
        ),
        (
            builder().ecr_endpoint("https://aws.example/x"),
            "`https://aws.example/x` can't be a service of AWS: it is no URL without a path",
        ),
        (
            builder().sts_endpoint("aws.example"),
            "`aws.example` can't be a service of AWS: it is no URL without a path",
        ),
    ] {
        assert_eq!(failure(platforms.build()), (400, message.to_owned()));
    }
    // By default it is the public platform, by both of its names.
    let platforms = builder().build().unwrap();
    assert_eq!(format!("{platforms:?}"), r#"Platforms { endpoints: [https://api.cloud.seqera.io], .. }"#);
    for access in [
        PlatformAccess::new("access"),
        PlatformAccess::new("access").endpoint("https://api.tower.nf"),
        PlatformAccess::new("access").endpoint("https://api.cloud.seqera.io/"),
    ] {
        let message =
            "`towerEndpoint`: the platform `https://api.cloud.seqera.io` has not paired with this service";
        assert_eq!(failure(platforms.user(&access).await), (400, message.to_owned()));
    }
}
