use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

use super::*;
use crate::body::Body;
use crate::error::{Error, RetryAfter};
use crate::spec::digest::Digest;

const CONTENT: &str = "0123456789";

/// An upstream that answers everything with the same ten bytes, their range included, and says what it was asked.
fn upstream() -> Faulty<
    impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Error, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static,
> {
    Faulty::new(tower::service_fn(async |request: http::Request<Body>| {
        let target = request.uri().path_and_query().unwrap().to_string();
        let mut response = http::Response::builder()
            .header("docker-content-digest", Digest::sha256(CONTENT.as_bytes()).to_string())
            .header("link", "</next>; rel=\"next\"")
            .header("x-target", target);
        let content = match request.headers().get("range") {
            Some(range) => {
                assert_eq!(range, "bytes=4-");
                response = response.status(206).header("content-range", "bytes 4-9/10");
                &CONTENT[4..]
            }
            None => CONTENT,
        };
        response = response.header("content-length", content.len());
        Ok(response.body(Body::from(content)).unwrap())
    }))
}

fn get(target: &str) -> http::Request<Body> {
    http::Request::get(target).body(Body::empty()).unwrap()
}

fn ranged(target: &str) -> http::Request<Body> {
    http::Request::get(target).header("range", "bytes=4-").body(Body::empty()).unwrap()
}

const BLOB: &str = "/v2/a/blobs/sha256:00";

/// What a request gets when this fault is there.
async fn with(fault: Fault, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
    let upstream = upstream();
    upstream.inject(When::any(), fault);
    upstream.oneshot(request).await
}

async fn text(response: http::Response<Body>) -> String {
    String::from_utf8_lossy(&response.into_body().read(1024).await.unwrap()).into_owned()
}

fn header<'a>(response: &'a http::Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn answers_are_replaced() {
    let error = with(Fault::Close, get(BLOB)).await.unwrap_err();
    assert_eq!(error.message(), "the connection was closed before any answer");

    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (retry_after, expected) in [
        (Some(RetryAfter::Delay(Duration::from_secs(7))), Some("7")),
        (Some(RetryAfter::At(at)), Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        (None, None),
    ] {
        let response = with(Fault::TooManyRequests(retry_after), get(BLOB)).await.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (429, expected));
    }

    let location = "https://cdn.example/v2/a/blobs/sha256:00?x=%2F";
    let target = format!("{BLOB}?x=%2F");
    for (fault, status, name, value) in [
        (
            Fault::Realm("https://evil.example/token".into()),
            401,
            "www-authenticate",
            "Bearer realm=\"https://evil.example/token\",service=\"testing\"",
        ),
        (Fault::RedirectOrigin("https://cdn.example".into()), 307, "location", location),
        (Fault::RedirectLoop, 307, "location", &target),
        (Fault::Html, 200, "content-type", "text/html; charset=utf-8"),
    ] {
        let response = with(fault, get(&target)).await.unwrap();
        assert_eq!((response.status().as_u16(), header(&response, name)), (status, Some(value)));
    }

    let forbidden = with(Fault::ExpiredAsForbidden, get(BLOB)).await.unwrap();
    assert_eq!(forbidden.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        text(forbidden).await,
        r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#
    );
    let absent = with(Fault::NoSuchApi, get("/v2/a/referrers/x")).await.unwrap();
    assert_eq!((absent.status().as_u16(), text(absent).await.as_str()), (404, "404 page not found\n"));
    let headers = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("b"))];
    let own = with(Fault::Answer(StatusCode::IM_A_TEAPOT, headers, Bytes::from_static(b"!")), get(BLOB));
    let own = own.await.unwrap();
    assert_eq!((own.status().as_u16(), header(&own, "x-a")), (418, Some("b")));
    assert_eq!(text(own).await, "!");
}

#[tokio::test]
async fn requests_are_changed_before_they_are_answered() {
    let whole = with(Fault::RangeIgnored, ranged(BLOB)).await.unwrap();
    assert_eq!((whole.status().as_u16(), text(whole).await.as_str()), (200, CONTENT));
    for (fault, target, expected) in [
        (Fault::PagingIgnored, "/v2/a/tags/list?n=2&last=b&x=1", "/v2/a/tags/list?x=1"),
        (Fault::PagingIgnored, "/v2/a/tags/list?n=2", "/v2/a/tags/list"),
        (Fault::PageCap(3), "/v2/a/tags/list?n=9&last=b", "/v2/a/tags/list?last=b&n=3"),
        (Fault::PageCap(3), "/v2/a/tags/list?n=2", "/v2/a/tags/list?n=2"),
        (Fault::PageCap(3), "/v2/a/tags/list", "/v2/a/tags/list?n=3"),
    ] {
        let link = !matches!(fault, Fault::PagingIgnored);
        let response = with(fault, get(target)).await.unwrap();
        assert_eq!(header(&response, "x-target"), Some(expected));
        assert_eq!(header(&response, "link").is_some(), link);
    }
}

#[tokio::test]
async fn headers_are_changed() {
    let wrong = Digest::sha256(b"something else").to_string();
    let name = HeaderName::from_static("x-target");
    for (fault, name, value) in [
        (Fault::ContentRange("bytes 5-9/10".into()), "content-range", Some("bytes 5-9/10")),
        (Fault::NoContentLength, "content-length", None),
        (Fault::NoDigest, "docker-content-digest", None),
        (Fault::WrongDigest, "docker-content-digest", Some(&*wrong)),
        (Fault::NoLink, "link", None),
        (Fault::Header(name.clone(), HeaderValue::from_static("x")), "x-target", Some("x")),
        (Fault::NoHeader(name), "x-target", None),
    ] {
        let response = with(fault.clone(), ranged(BLOB)).await.unwrap();
        assert_eq!(header(&response, name), value, "{fault:?}");
        assert_eq!(response.body().size(), (name != "content-length").then_some(6), "{fault:?}");
        assert_eq!(text(response).await, "456789");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_damaged() {
    for (fault, size, content) in [
        (Fault::FlippedByte(2), Some(10), "0133456789"),
        (Fault::FlippedByte(99), Some(10), CONTENT),
        (Fault::EndsEarly(4), None, "0123"),
        (Fault::EndsEarly(99), None, CONTENT),
        (Fault::CutOff(99), Some(10), CONTENT),
        (Fault::Trickle(3, Duration::from_secs(1)), Some(10), CONTENT),
    ] {
        let response = with(fault.clone(), get(BLOB)).await.unwrap();
        assert_eq!(response.body().size(), size, "{fault:?}");
        assert_eq!(header(&response, "content-length").is_some(), size.is_some(), "{fault:?}");
        assert_eq!(text(response).await, content, "{fault:?}");
    }

    let response = with(Fault::Changed, get(BLOB)).await.unwrap();
    assert_eq!(header(&response, "etag"), Some("\"changed\""));
    let content = response.into_body().read(10).await.unwrap();
    assert_eq!(content, CONTENT.bytes().map(|byte| !byte).collect::<Vec<_>>());

    let mut body = with(Fault::CutOff(4), get(BLOB)).await.unwrap().into_body();
    assert_eq!(body.size(), Some(10));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "0123");
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.message(), "the connection was closed after 4 bytes of the body");
    assert!(body.frame().await.is_none());

    let mut body = with(Fault::Stall(4), get(BLOB)).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "0123");
    assert!(tokio::time::timeout(Duration::from_secs(3600), body.frame()).await.is_err());

    let start = tokio::time::Instant::now();
    text(with(Fault::Trickle(3, Duration::from_secs(5)), get(BLOB)).await.unwrap()).await;
    assert_eq!(start.elapsed(), Duration::from_secs(20));
    text(with(Fault::Delay(Duration::from_secs(9)), get(BLOB)).await.unwrap()).await;
    assert_eq!(start.elapsed(), Duration::from_secs(29));
    let hanging = with(Fault::Hang, get(BLOB));
    assert!(tokio::time::timeout(Duration::from_secs(3600), hanging).await.is_err());

    let response = with(Fault::Gzip, get(BLOB)).await.unwrap();
    assert_eq!(
        (header(&response, "content-encoding"), header(&response, "content-length")),
        (Some("gzip"), None)
    );
    let packed = response.into_body().read(1024).await.unwrap();
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, CONTENT);
}

#[tokio::test]
async fn faults_apply_when_they_should_and_requests_are_recorded() {
    let upstream = upstream();
    upstream.inject(When::any().method(Method::HEAD), Fault::Status(StatusCode::METHOD_NOT_ALLOWED));
    upstream.inject(When::kind(Kind::Blob).ranged(true).nth(2), Fault::FlippedByte(0));
    upstream.inject(When::kind(Kind::Blob).ranged(true), Fault::NoDigest);
    let head = || http::Request::head(BLOB).body(Body::empty()).unwrap();
    let send = |request| upstream.clone().oneshot(request);
    let refused = send(head()).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.body().size()), (405, Some(0)));
    assert_eq!(text(send(ranged(BLOB)).await.unwrap()).await, "456789");
    let second = send(ranged(BLOB)).await.unwrap();
    assert_eq!(header(&second, "docker-content-digest"), None);
    assert_eq!(text(second).await, "556789");
    assert_eq!(text(send(ranged(BLOB)).await.unwrap()).await, "456789");
    assert_eq!(
        upstream.recorder().lines_with(&["range"]),
        [
            "HEAD /v2/a/blobs/sha256:00",
            "GET /v2/a/blobs/sha256:00 range=bytes=4-",
            "GET /v2/a/blobs/sha256:00 range=bytes=4-",
            "GET /v2/a/blobs/sha256:00 range=bytes=4-",
        ]
    );
    upstream.heal();
    assert_eq!(upstream.recorder().take().len(), 4);
    assert_eq!(send(head()).await.unwrap().status(), 200);
    assert_eq!(upstream.recorder().lines(), ["HEAD /v2/a/blobs/sha256:00"]);

    let secret = http::Request::get("https://r.example/").header("authorization", "Bearer hidden");
    send(secret.body(Body::empty()).unwrap()).await.unwrap();
    let recorded = upstream.recorder().recorded().remove(1);
    assert_eq!(recorded.authority.as_deref(), Some("r.example"));
    assert_eq!(recorded.header("authorization"), Some("Bearer hidden"));
    assert!(!format!("{:?}", upstream.recorder()).contains("hidden"));
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

async fn send<S>(service: &S, request: http::request::Builder, body: &str) -> (u16, String, String)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Error> + Clone,
{
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let challenge = header(&response, "www-authenticate").unwrap_or_default().to_owned();
    (status, challenge, text(response).await)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_what_it_was_granted_for() {
    let alice = Account::new("alice", "secret").may("a/*", &["pull", "push"]).identity_token("identity");
    let registry = BearerAuth::new(upstream()).account(alice).anonymous_may("open", &["pull"]);
    let ask = |target: &str| http::Request::get(format!("http://r.example{target}"));
    let with_token =
        |target: &str, token: &str| ask(target).header("authorization", format!("Bearer {token}"));
    let challenge = |scope: &str, more: &str| {
        format!("Bearer realm=\"http://r.example/token\",service=\"testing\"{scope}{more}")
    };

    let (status, told, _) = send(&registry, ask("/v2/"), "").await;
    assert_eq!((status, told), (401, challenge("", "")));
    let (status, told, _) = send(&registry, ask("/v2/a/b/manifests/v1"), "").await;
    assert_eq!((status, told), (401, challenge(",scope=\"repository:a/b:pull\"", "")));
    let mount = "/v2/a/b/blobs/uploads/?mount=sha256:00&from=c%2Fd";
    let (_, told, _) = send(&registry, ask(mount).method(Method::POST), "").await;
    assert_eq!(told, challenge(",scope=\"repository:a/b:pull,push repository:c/d:pull\"", ""));
    let (_, told, _) = send(&registry, ask("/v2/_catalog"), "").await;
    assert_eq!(told, challenge(",scope=\"registry:catalog:*\"", ""));

    let wrong = ask("/token?scope=repository:a/b:pull").header("authorization", basic("alice", "guess"));
    assert_eq!(send(&registry, wrong, "").await.0, 401);
    let right = ask("/token?service=testing&scope=repository%3Aa%2Fb%3Apull")
        .header("authorization", basic("alice", "secret"));
    let (status, _, answer) = send(&registry, right, "").await;
    assert_eq!((status, answer.as_str()), (200, r#"{"token":"bearer-token-1","expires_in":300}"#));
    for (target, expected) in [
        ("/v2/a/b/manifests/v1", (200, String::new())),
        ("/v2/", (200, String::new())),
        (
            "/v2/a/c/tags/list",
            (401, challenge(",scope=\"repository:a/c:pull\"", ",error=\"insufficient_scope\"")),
        ),
    ] {
        let (status, told, _) = send(&registry, with_token(target, "bearer-token-1"), "").await;
        assert_eq!((status, told), expected, "{target}");
    }

    // Nobody gets what he may not have, whatever he asks for.
    send(&registry, ask("/token?scope=repository:open:pull+repository:a/b:pull"), "").await;
    assert_eq!(send(&registry, with_token("/v2/open/tags/list", "bearer-token-2"), "").await.0, 200);
    assert_eq!(send(&registry, with_token("/v2/a/b/tags/list", "bearer-token-2"), "").await.0, 401);

    for form in [
        "grant_type=refresh_token&refresh_token=identity&scope=repository:a/b:pull,push",
        "grant_type=password&username=alice&password=secret&scope=repository%3Aa%2Fb%3Apull%2Cpush",
    ] {
        let (status, _, answer) = send(&registry, ask("/token").method(Method::POST), form).await;
        let token = format!("bearer-token-{}", registry.issued());
        assert_eq!((status, answer), (200, format!(r#"{{"token":"{token}","expires_in":300}}"#)));
        let put = with_token("/v2/a/b/manifests/v1", &token).method(Method::PUT);
        assert_eq!(send(&registry, put, "").await.0, 200);
    }
    let odd = send(&registry, ask("/token").method(Method::POST), "grant_type=magic").await;
    assert_eq!((odd.0, odd.2.as_str()), (400, r#"{"error":"unsupported_grant_type"}"#));

    let (status, told, _) = send(&registry, with_token("/v2/", "bearer-token-9"), "").await;
    assert_eq!((status, told), (401, challenge("", ",error=\"invalid_token\"")));
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(send(&registry, with_token("/v2/", "bearer-token-1"), "").await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn tokens_come_in_all_shapes() {
    let shapes = [
        (TokenSettings::new(), r#"{"token":"bearer-token-1","expires_in":300}"#),
        (
            TokenSettings::new().field(TokenField::AccessToken),
            r#"{"access_token":"bearer-token-1","expires_in":300}"#,
        ),
        (
            TokenSettings::new().field(TokenField::Both).expires_in(None),
            r#"{"token":"bearer-token-1","access_token":"bearer-token-1"}"#,
        ),
    ];
    for (settings, expected) in shapes {
        let settings = settings.lifetime(Duration::MAX).expired_status(StatusCode::FORBIDDEN).post(false);
        let registry = BearerAuth::new(upstream())
            .realm("https://auth.example/t")
            .service("r.example")
            .tokens(settings)
            .anonymous_may("*", &["pull"]);
        let (_, told, _) = send(&registry, http::Request::get("/v2/a/tags/list"), "").await;
        assert_eq!(
            told,
            r#"Bearer realm="https://auth.example/t",service="r.example",scope="repository:a:pull""#
        );
        let network =
            Hosts::new().on("auth.example", registry.token_endpoint()).on("r.example", registry.clone());
        let ask = || http::Request::get("https://auth.example/t?scope=repository:a:pull");
        assert_eq!(send(&network, ask(), "").await.2, expected);
        assert_eq!(send(&network, ask().method(Method::POST), "").await.0, 405);
        let pull = || {
            http::Request::get("https://r.example/v2/a/tags/list")
                .header("authorization", "Bearer bearer-token-1")
        };
        assert_eq!(send(&network, pull(), "").await.0, 200);
        registry.expire_all();
        assert_eq!(send(&network, pull(), "").await.0, 403);
        assert!(!format!("{registry:?}").contains("bearer-token"));
    }
}

#[tokio::test]
async fn basic_authentication_lets_in_who_is_known() {
    let registry = BasicAuth::new(upstream()).account(Account::new("alice", "secret"));
    let (status, told, _) = send(&registry, http::Request::get("/v2/"), "").await;
    assert_eq!((status, told.as_str()), (401, "Basic realm=\"testing\""));
    let known = http::Request::get("/v2/").header("authorization", basic("alice", "secret"));
    assert_eq!(send(&registry, known, "").await.0, 200);
    let unknown = http::Request::get("/v2/").header("authorization", basic("alice", "Secret"));
    assert_eq!(send(&registry, unknown, "").await.0, 401);
    assert!(!format!("{registry:?}").contains("secret"));
}

#[tokio::test]
async fn a_service_is_served_over_both_versions_and_stops() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    for (http2, options) in
        [(false, ServeOptions::new()), (true, ServeOptions::new()), (true, ServeOptions::new().tiny_window())]
    {
        let upstream = upstream();
        let served = serve_with(options, upstream.clone()).unwrap();
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let ask = || {
            client.request(
                http::Request::get(served.url(BLOB)).body(Body::from("a body of some length")).unwrap(),
            )
        };
        let response = ask().await.unwrap();
        assert_eq!(response.version() == http::Version::HTTP_2, http2);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), CONTENT);

        upstream.inject(When::any().times(1), Fault::CutOff(4));
        upstream.inject(When::any().skip(1), Fault::Close);
        assert!(ask().await.unwrap().into_body().collect().await.is_err());
        assert!(ask().await.is_err());
        upstream.heal();

        let address = served.addr();
        served.stop().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
