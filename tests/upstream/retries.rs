//! Retries: which, after how long, how often.

use std::time::Duration;

use tokio::time::Instant;
use tower_oci::client::RetryPolicy;
use tower_oci::error::{ErrorKind, RetryAfter};

use crate::web::*;

/// What came of an answer that is followed by a good one, after how long, with how many requests.
async fn once(
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> (Result<(), (u16, &'static str, String)>, u64, usize) {
    let web = Web::new(move |call| if call.nth == 0 { answer() } else { Answer::manifest() });
    let upstream = web.upstream().build().unwrap();
    let started = Instant::now();
    let result = match pull(&upstream, "v1").await {
        Ok(_) => Ok(()),
        Err(error) => Err(told::<()>(Err(error))),
    };
    (result, u64::try_from(started.elapsed().as_millis()).unwrap(), web.seen().len())
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_tried_again_and_others_are_not() {
    for status in [429, 502, 503, 504] {
        assert_eq!(once(move || Answer::status(status)).await, (Ok(()), 500, 2), "{status}");
    }
    for (status, as_status, code) in [
        (500, 502, "UNSUPPORTED"),
        (501, 502, "UNSUPPORTED"),
        (400, 400, "MANIFEST_INVALID"),
        (404, 404, "MANIFEST_UNKNOWN"),
    ] {
        let told = error(as_status, code, &format!("registry.example answered with {status}"));
        assert_eq!(once(move || Answer::status(status)).await, (Err(told), 0, 1), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_in_both_forms() {
    let limited = |value: &'static str| move || Answer::status(429).header("retry-after", value);
    assert_eq!(once(limited("3")).await, (Ok(()), 3000, 2));
    assert_eq!(once(limited("0")).await, (Ok(()), 500, 2));
    assert_eq!(once(limited("nonsense")).await, (Ok(()), 500, 2));
    let by_date = || {
        Answer::status(503)
            .header("retry-after", "Tue, 24 Nov 2026 03:00:09 GMT")
            .header("date", "Tue, 24 Nov 2026 03:00:00 GMT")
    };
    assert_eq!(once(by_date).await, (Ok(()), 9000, 2));
    let past = || Answer::status(503).header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(once(past).await, (Ok(()), 500, 2));
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_is_passed_on_at_once() {
    let web = Web::new(|_| {
        Answer::json(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#)
            .header("retry-after", "3600")
    });
    let started = Instant::now();
    let error = pull(&web.upstream().build().unwrap(), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(3600))));
    assert_eq!(
        told::<()>(Err(error)),
        crate::web::error(
            429,
            "TOOMANYREQUESTS",
            "registry.example answered with 429: TOOMANYREQUESTS: pull rate limit"
        )
    );
    assert_eq!((web.seen().len(), started.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn pauses_end_before_the_client_gives_up() {
    let web = Web::new(|_| Answer::status(503).header("retry-after", "11"));
    let upstream = web.upstream().build().unwrap();
    let started = Instant::now();
    let error = pull(&upstream, "v1").await.unwrap_err();
    // After two pauses of 11 s a third one would end behind the 25 s: the upstream's words are better than none.
    assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Unavailable, 503));
    assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(11))));
    assert_eq!((web.seen().len(), started.elapsed()), (3, Duration::from_secs(22)));
}

#[tokio::test(start_paused = true)]
async fn a_token_service_is_asked_again_as_well() {
    let web = Web::new(|call| match (call.line.contains("/token"), call.nth) {
        (true, 0) => Answer::status(503),
        (true, 1) => Answer::status(429).header("retry-after", "2"),
        (true, _) => Answer::token("t", 300),
        (false, 0) => Answer::challenge(r#"Bearer realm="https://registry.example/token""#),
        (false, _) => Answer::manifest(),
    });
    let started = Instant::now();
    pull(&web.upstream().build().unwrap(), "v1").await.unwrap();
    let token = "GET https://registry.example/token?scope=repository:team/app:pull";
    let with = format!("{GET_V1} [Bearer t]");
    assert_eq!(web.seen(), [GET_V1, token, token, token, &with]);
    assert_eq!(started.elapsed(), Duration::from_millis(2500));
}

#[tokio::test(start_paused = true)]
async fn each_try_begins_at_the_upstream_with_a_new_redirect() {
    let web = Web::new(|call| match call.line.as_str() {
        "GET https://cdn.example/0" => Answer::status(503),
        "GET https://cdn.example/1" => Answer::content(BLOB),
        _ => Answer::redirect(&format!("https://cdn.example/{}", call.nth)),
    });
    assert_eq!(drained(&web.upstream().build().unwrap()).await.0, BLOB);
    let line = get_blob_line();
    assert_eq!(web.seen(), [&line, "~GET https://cdn.example/0", &line, "~GET https://cdn.example/1"]);
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_retries_gets_none() {
    let web = Web::new(|_| Answer::status(503));
    let upstream = web.upstream().retry(RetryPolicy::never()).build().unwrap();
    assert_eq!(told(pull(&upstream, "v1").await).0, 503);
    assert_eq!(web.seen(), [GET_V1]);
}
