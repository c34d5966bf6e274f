//! From the edge to the upstream and back: what an HTTP client of ours sees.

use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oci::body::Body;
use tower_oci::http::OciService;
use tower_oci::operation::Credential;

use crate::web::*;

async fn ask(web: &Web, method: Method, path: &str, headers: &[(&str, &str)]) -> http::Response<Body> {
    let upstream = web.upstream().credential(Credential::basic("user", "hunter2")).build().unwrap();
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    OciService::new(upstream).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: http::Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const V1: &str = "/v2/team/app/manifests/v1";

#[tokio::test(start_paused = true)]
async fn the_clients_own_credentials_and_headers_stay_at_the_edge() {
    let web = Web::new(|call| {
        let mut names: Vec<_> = call.headers.keys().map(header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "user-agent"]);
        let ours = [call.header(header::USER_AGENT), call.header(header::ACCEPT_ENCODING)];
        assert!(!ours.contains(&Some("theirs")));
        open_registry(call)
    });
    let theirs = [
        ("authorization", "Bearer of-the-client"),
        ("proxy-authorization", "Basic x"),
        ("cookie", "session=x"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("host", "theirs"),
        ("user-agent", "theirs"),
        ("accept-encoding", "theirs"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    let response = ask(&web, Method::GET, V1, &theirs).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, MANIFEST);
    assert_eq!(web.seen(), [GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_challenge_is_a_403_without_a_challenge() {
    let web = Web::new(|_| Answer::challenge(r#"Bearer realm="ftp://registry.example/token""#));
    let response = ask(&web, Method::GET, V1, &[]).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers().get(header::WWW_AUTHENTICATE), None);
    assert_eq!(
        text(response).await,
        r#"{"errors":[{"code":"DENIED","message":"registry.example wants a token, but its realm is no URL of http or https"}]}"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_told_with_its_retry_after() {
    let web = Web::new(|_| {
        Answer::json(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#)
            .header("retry-after", "3600")
            .header("set-cookie", "session=1")
            .header("www-authenticate", "Basic realm=\"x\"")
    });
    let response = ask(&web, Method::GET, V1, &[]).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "3600");
    for name in [header::SET_COOKIE, header::WWW_AUTHENTICATE] {
        assert_eq!(response.headers().get(name), None);
    }
    assert_eq!(
        text(response).await,
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"registry.example answered with 429: TOOMANYREQUESTS: pull rate limit"}]}"#
    );
}

#[tokio::test(start_paused = true)]
async fn head_and_get_agree() {
    let web = Web::new(open_registry);
    let blob = format!("/v2/team/app/blobs/{}", blob_digest());
    for path in [V1, &blob] {
        let get = ask(&web, Method::GET, path, &[]).await;
        let head = ask(&web, Method::HEAD, path, &[]).await;
        assert_eq!((get.status(), get.headers()), (head.status(), head.headers()), "{path}");
        assert_eq!(text(head).await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_what_it_should_be_is_aborted() {
    let web = Web::new(|_| Answer::content(BLOB.replace('5', "6")));
    let response = ask(&web, Method::GET, &format!("/v2/team/app/blobs/{}", blob_digest()), &[]).await;
    assert_eq!(
        (response.status(), response.headers()[header::CONTENT_LENGTH].to_str().unwrap()),
        (StatusCode::OK, "36")
    );
    let (all, end) = drain(response.into_body()).await;
    assert_eq!(all.len(), 35);
    assert_eq!(told(end).1, "DIGEST_INVALID");
}
