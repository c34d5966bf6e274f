//! How long a token lives, who may see and end it, and where it is kept.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tower_oci::error::ErrorCode;
use tower_oci::operation::{ListTags, Registry as _, Request};
use tower_oci::store::{MemoryRecords, Records};
use tower_oci::wave::Action;

use super::support::{Layer, Service};

const HOUR: u64 = 3600;

async fn pull(service: &Service, token: &str) -> Result<(), String> {
    let name = format!("wt/{token}/library/busybox").parse().unwrap();
    match service.images.send(Request::new(ListTags::new(name))).await {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!((error.code(), error.status()), (ErrorCode::NameUnknown, StatusCode::NOT_FOUND));
            Err(error.to_string())
        }
    }
}

#[tokio::test]
async fn a_token_lives_for_36_hours() {
    let service = Service::new();
    let submitted = service.submit(r#"{"containerImage":"busybox"}"#).await;
    assert_eq!(submitted.expiration, "2026-01-02T12:00:00Z");
    let token = &submitted.container_token;
    let path = format!("/container-token/{token}");
    service.advance(36 * HOUR - 1);
    assert_eq!(pull(&service, token).await, Ok(()));
    assert_eq!(service.ask(Method::GET, &path, "").await.status, StatusCode::OK);
    service.advance(1);
    let message = "the container token expired at 2026-01-02T12:00:00Z";
    assert_eq!(pull(&service, token).await, Err(message.to_owned()));
    service.ask(Method::GET, &path, "").await.assert_failure(410, message);
    // For ever, and whoever asks: nothing needs to be kept for it.
    service.advance(10_000 * HOUR);
    assert_eq!(pull(&Service::new(), token).await, Err("unknown container token".to_owned()));
    assert_eq!(pull(&service, token).await, Err(message.to_owned()));
}

#[tokio::test]
async fn a_lifetime_can_be_set() {
    let service = Service::with(|wave| wave.token_lifetime(Duration::from_secs(90)));
    assert_eq!(service.submit(r#"{"containerImage":"busybox"}"#).await.expiration, "2026-01-01T00:01:30Z");
}

#[tokio::test]
async fn tokens_are_all_different() {
    let service = Service::new();
    let one = service.submit(r#"{"containerImage":"busybox"}"#).await;
    let two = service.submit(r#"{"containerImage":"busybox"}"#).await;
    assert_ne!(one.container_token, two.container_token);
    assert_eq!(one.target_digest, two.target_digest);
    assert_eq!(one.container_token.len(), 40);
    assert!(one.container_token.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
}

#[tokio::test]
async fn unknown_tokens_are_unknown() {
    let service = Service::with(|wave| wave.authorize(|_, _| true));
    for token in ["", "abc", "a/b", &"a".repeat(40), "%61"] {
        for method in [Method::GET, Method::DELETE] {
            let answer = service.ask(method, &format!("/container-token/{token}"), "").await;
            answer.assert_failure(404, "unknown container token");
        }
    }
}

#[tokio::test]
async fn nobody_revokes_unless_the_embedder_says_so() {
    let service = Service::new();
    let token = service.submit(r#"{"containerImage":"busybox"}"#).await.container_token;
    for token in [token.as_str(), "unknown"] {
        let answer = service.ask(Method::DELETE, &format!("/container-token/{token}"), "").await;
        answer.assert_failure(403, "this service doesn't let you revoke container tokens");
    }
    assert_eq!(pull(&service, &token).await, Ok(()));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_at_once() {
    let service = Service::with(|wave| {
        wave.authorize(|parts, action| action == Action::Revoke && parts.headers.contains_key("x-admin"))
    });
    let token = service.submit(r#"{"containerImage":"busybox"}"#).await.container_token;
    let path = format!("/container-token/{token}");
    assert_eq!(pull(&service, &token).await, Ok(()));
    let request =
        http::Request::delete(&path).header("x-admin", "1").body(tower_oci::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(service.endpoints(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(pull(&service, &token).await, Err("unknown container token".to_owned()));
    service
        .ask(Method::GET, &path, "")
        .await
        .assert_failure(403, "this service doesn't let you see what a container token is for");
}

#[tokio::test]
async fn full_records_refuse_and_keep_what_is_live() {
    let records = Arc::new(MemoryRecords::with_capacity(1));
    let service = Service::with(|wave| {
        wave.records(records.clone()).token_lifetime(Duration::from_secs(1_000_000_000))
    });
    let token = service.submit(r#"{"containerImage":"busybox"}"#).await.container_token;
    service
        .post(r#"{"containerImage":"busybox"}"#)
        .await
        .assert_failure(503, "the record store is full: it holds 1 of 1 records; try again later");
    assert_eq!(pull(&service, &token).await, Ok(()));
}

#[tokio::test]
async fn another_process_with_the_same_records_serves_the_same() {
    let records: Arc<dyn Records> = Arc::new(MemoryRecords::with_capacity(10));
    let lifetime = Duration::from_secs(1_000_000_000);
    let start = || Service::with(|wave| wave.records(Arc::clone(&records)).token_lifetime(lifetime));
    let (one, two) = (start(), start());
    let layer = Layer::new();
    let http = format!(
        r#"{{"location":"https://layers.test/a?b=c","gzipDigest":"{}","gzipSize":10,"tarDigest":"{}"}}"#,
        layer.diff_id, layer.digest
    );
    let body = format!(
        r#"{{"containerImage":"busybox","containerPlatform":"arm64,amd64","fingerprint":"f","containerConfig":
        {{"entrypoint":["/e"],"cmd":["c"],"workingDir":"/w","env":["A=1"],"layers":[{},{http}]}}}}"#,
        layer.json()
    );
    let token = one.submit(&body).await.container_token;
    assert_eq!(pull(&two, &token).await, Ok(()));
    let (seen_by_one, seen_by_two) = (one.seen(), two.seen());
    assert_eq!(seen_by_two[0].plan, seen_by_one[0].plan, "the plan is the same");
    assert_eq!(seen_by_two[0].tag.as_deref(), Some("latest"));
    let path = format!("/container-token/{token}");
    let (by_one, by_two) = (one.ask(Method::GET, &path, "").await, two.ask(Method::GET, &path, "").await);
    assert_eq!(by_one.body, by_two.body);
}

#[tokio::test]
async fn a_revocation_by_another_process_is_seen_within_half_a_minute() {
    let records: Arc<dyn Records> = Arc::new(MemoryRecords::with_capacity(10));
    let start = || {
        Service::with(|wave| {
            wave.records(Arc::clone(&records))
                .token_lifetime(Duration::from_secs(1_000_000_000))
                .authorize(|_, _| true)
        })
    };
    let (one, two) = (start(), start());
    let token = one.submit(r#"{"containerImage":"busybox"}"#).await.container_token;
    one.advance(31);
    assert_eq!(pull(&one, &token).await, Ok(()));
    let answer = two.ask(Method::DELETE, &format!("/container-token/{token}"), "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    one.advance(29);
    assert_eq!(pull(&one, &token).await, Ok(()));
    one.advance(1);
    assert_eq!(pull(&one, &token).await, Err("unknown container token".to_owned()));
}
