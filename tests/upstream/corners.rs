//! Where several things meet: what hung, what changed its mind, what is told in an odd form.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, poll, stream};
use tower_oci::body::Body;
use tower_oci::client::{Redirects, RetryPolicy, Upstream};
use tower_oci::error::Error;
use tower_oci::operation::{BlobContent, Credential, GetBlob, ListRepositories, Registry as _, Request};
use tower_oci::spec::range::{RangeSpec, Ranges};

use crate::web::*;

const BEARER: &str = r#"Bearer realm="https://registry.example/token""#;

#[tokio::test(start_paused = true)]
async fn a_token_service_that_hung_once_is_asked_again_whoever_still_waits() {
    let web = Web::new(|call| match call.line.contains("/token") {
        true if call.nth == 0 => Answer::Never,
        true => Answer::token("t", 300),
        false if call.authorization().is_some() => Answer::manifest(),
        false => Answer::challenge(BEARER),
    });
    let upstream = web.upstream().build().unwrap();
    // There is always somebody who waits, so that the request for a token is never left alone.
    let pulls = (0..8).map(|nth: u64| {
        let upstream = upstream.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(10 * nth)).await;
            pull(&upstream, "v1").await.is_ok()
        }
    });
    let pulls = futures_util::future::join_all(pulls).await;
    assert_eq!(pulls, [false, false, false, true, true, true, true, true]);
    assert_eq!(web.seen().iter().filter(|line| line.contains("/token")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_of_another_scheme_is_learned() {
    // The list of repositories is guarded by somebody else than the repositories.
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => Answer::token("t", 300),
        line if line.contains("_catalog") => match call.authorization() {
            Some("Basic dXNlcjpodW50ZXIy") => Answer::json(200, r#"{"repositories":[]}"#),
            _ => Answer::challenge("Basic realm=\"catalog\""),
        },
        _ => match call.authorization() {
            Some("Bearer t") => Answer::manifest(),
            _ => Answer::challenge(BEARER),
        },
    });
    let upstream = web.upstream().credential(Credential::basic("user", "hunter2")).build().unwrap();
    for _ in 0..2 {
        upstream.send(Request::new(ListRepositories::new())).await.unwrap();
        // Those who come at once each learn it by themselves.
        let pulls = futures_util::future::join_all((0..3).map(|_| pull(&upstream, "v1"))).await;
        assert!(pulls.iter().all(Result::is_ok), "{pulls:?}");
    }
    // The same with a credential that a request brings along.
    let upstream = web.upstream().build().unwrap();
    for _ in 0..2 {
        let mut list = Request::new(ListRepositories::new());
        list.extensions_mut().insert(Credential::basic("user", "hunter2"));
        upstream.send(list).await.unwrap();
        let mut get = Request::new(manifest_request("v1"));
        get.extensions_mut().insert(Credential::basic("user", "hunter2"));
        upstream.send(get).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_retry_after_is_passed_on_even_where_any_is_waited_for() {
    for seconds in ["18446744073709551615", "99999999999999999999"] {
        let web = Web::new(move |_| Answer::status(429).header("retry-after", seconds));
        let retry = RetryPolicy::new().longest_retry_after(Duration::MAX);
        let upstream = web.upstream().retry(retry).headers_within(Duration::MAX).build().unwrap();
        let mut pull = Box::pin(pull(&upstream, "v1"));
        // Without a deadline it waits; with one the upstream's own words come at once.
        assert!(poll!(&mut pull).is_pending());
        let retry = RetryPolicy::new().longest_retry_after(Duration::MAX);
        let upstream = web.upstream().retry(retry).build().unwrap();
        assert_eq!(told(self::pull(&upstream, "v1").await).0, 429);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_answer_is_let_go_before_the_pause() {
    let held = Arc::new(());
    let connection = Arc::clone(&held);
    let web = Web::new(move |call| {
        let connection = Arc::clone(&connection);
        let body = stream::iter([Ok::<_, Error>(Bytes::from_static(b"x"))]).chain(stream::pending());
        let body = body.inspect(move |_| drop(Arc::clone(&connection)));
        match call.nth {
            0 => Answer::status(503).without("content-length").body(Body::from_stream(body)),
            _ => Answer::manifest(),
        }
    });
    let upstream = web.upstream().build().unwrap();
    let mut pull = Box::pin(pull(&upstream, "v1"));
    assert!(poll!(&mut pull).is_pending());
    assert_eq!(web.seen(), [GET_V1]);
    // The script's own, and this one: not the body's, whose connection others may need meanwhile.
    assert_eq!(Arc::strong_count(&held), 2);
    pull.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_noticed_however_it_is_cut_or_escaped() {
    let long: String = (0..400).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
    for password in [r#"p"a's\s"#, long.as_str()] {
        for status in [401, 403, 500] {
            let sent = password.to_owned();
            let web = Web::new(move |call| match call.authorization() {
                None => Answer::challenge("Basic realm=\"x\""),
                Some(_) => {
                    let echo = sent.replace('\\', r"\\").replace('"', "\\\"");
                    Answer::json(
                        status,
                        &format!(r#"{{"errors":[{{"code":"DENIED","message":"you are {echo}"}}]}}"#),
                    )
                }
            });
            let upstream = web.upstream().credential(Credential::basic("user", password)).build().unwrap();
            let (_, _, message) = told(pull(&upstream, "v1").await);
            assert_eq!(message, "registry.example refused the request, in words that echo a secret");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_of_a_secret_header_is_not_told() {
    let web = Web::new(|call| {
        let echo = call.headers["x-key"].to_str().unwrap();
        Answer::json(403, &format!(r#"{{"errors":[{{"code":"DENIED","message":"no such key: {echo}"}}]}}"#))
    });
    let key = http::HeaderName::from_static("x-key");
    let upstream = web.upstream().secret_header(key, "open-sesame".parse().unwrap()).build().unwrap();
    let (_, _, message) = told(pull(&upstream, "v1").await);
    assert_eq!(message, "registry.example refused the request, in words that echo a secret");
}

/// The bytes 5 to 24 of the blob, of which the first answer brings three.
async fn part(rest: fn() -> Answer) -> (String, Result<(), Error>) {
    let web = Web::new(move |call| match call.header(http::header::RANGE) {
        Some("bytes=5-24") => Answer::part(BLOB, 5, 24).body(cut(&BLOB[5..], 3)),
        _ => rest(),
    });
    let ranges = Ranges::one(RangeSpec::Span(5, 24));
    let operation = GetBlob::ranges(REPOSITORY.parse().unwrap(), blob_digest(), ranges);
    let blob = web.upstream().build().unwrap().send(Request::new(operation)).await.unwrap().into_reply();
    let BlobContent::Part(part) = blob.content else { panic!("no part") };
    drain(part.body).await
}

#[tokio::test(start_paused = true)]
async fn a_part_is_resumed_where_all_of_the_blob_comes_in_place_of_the_rest() {
    let (all, end) = part(|| Answer::content(BLOB)).await;
    assert_eq!((all.as_str(), end.is_ok()), (&BLOB[5..=24], true));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_part_is_not_taken_with_a_content_coding() {
    for rest in [(|| Answer::part(BLOB, 8, 24).header("content-encoding", "gzip")) as fn() -> Answer, || {
        Answer::content(BLOB).header("content-encoding", "gzip")
    }] {
        let (all, end) = part(rest).await;
        assert_eq!(all, &BLOB[5..8]);
        assert_eq!(
            told(end),
            error(
                502,
                "UNSUPPORTED",
                &format!(
                    "the blob {} of registry.example broke off at byte 8: the rest came with a content coding that \
                     nobody asked for",
                    blob_digest()
                )
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn head_and_get_agree_where_the_digest_header_is_no_digest() {
    let web = Web::new(|call| {
        let odd = Answer::manifest().header("docker-content-digest", "sha256:ABC");
        if call.line.starts_with("HEAD") { odd.body(Body::empty()) } else { odd }
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(pull(&upstream, "v1").await.unwrap().digest, manifest_digest());
    assert_eq!(head(&upstream, "v1").await.unwrap().digest, manifest_digest());
    assert_eq!(web.seen(), [GET_V1, HEAD_V1, GET_V1]);
}

async fn head_blob(upstream: &Upstream) -> Result<Option<u64>, Error> {
    let head = GetBlob::head(REPOSITORY.parse().unwrap(), blob_digest());
    Ok(upstream.send(Request::new(head)).await?.into_reply().size)
}

#[tokio::test(start_paused = true)]
async fn a_storage_whose_url_is_signed_for_get_is_asked_by_get() {
    for status in [401, 403, 405] {
        let web = Web::new(move |call| match call.line.as_str() {
            "HEAD https://cdn.example/x?sig=1" => Answer::status(status),
            "GET https://cdn.example/x?sig=1" => Answer::part(BLOB, 0, 0),
            _ => Answer::redirect("https://cdn.example/x?sig=1"),
        });
        let upstream = web.upstream().redirects(Redirects::Follow).build().unwrap();
        assert_eq!(head_blob(&upstream).await.unwrap(), Some(36));
        let line = get_blob_line();
        assert_eq!(
            web.seen(),
            [
                line.replace("GET", "HEAD"),
                "~HEAD https://cdn.example/x?sig=1".to_owned(),
                format!("{line} [bytes=0-0]"),
                "~GET https://cdn.example/x?sig=1 [bytes=0-0]".to_owned(),
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_blob_is_not_that_of_its_coded_form() {
    let web = Web::new(|call| match call.line.starts_with("HEAD") {
        true => Answer::status(405),
        false => Answer::content(&BLOB[..20]).header("content-encoding", "gzip"),
    });
    let upstream = web.upstream().build().unwrap();
    let refused =
        error(502, "UNSUPPORTED", "registry.example answered with a content coding that nobody asked for");
    assert_eq!(told(head_blob(&upstream).await), refused);
    assert_eq!(told(get_blob(&upstream).await), refused);
}

#[tokio::test(start_paused = true)]
async fn a_suffix_of_no_bytes_is_not_asked_for() {
    // Some registries answer it with a part of no bytes, for which there is no Content-Range.
    let web = Web::new(|call| match call.header(http::header::RANGE) {
        Some("bytes=0-4") => Answer::part(BLOB, 0, 4),
        Some(_) => Answer::content("").to(206).header("content-range", "bytes 36-35/36"),
        None if call.line.contains(&manifest_digest().to_string()) => Answer::status(404),
        None => Answer::content(BLOB).body(Body::empty()),
    });
    let upstream = web.upstream().build().unwrap();
    let get = |digest, ranges: &str| {
        let operation = GetBlob::ranges(REPOSITORY.parse().unwrap(), digest, ranges.parse().unwrap());
        upstream.send(Request::new(operation))
    };
    let blob = get(blob_digest(), "bytes=0-4,-0").await.unwrap().into_reply();
    assert!(matches!(blob.content, BlobContent::Part(_)), "{blob:?}");
    assert_eq!(web.seen(), [format!("{} [bytes=0-4]", get_blob_line())]);
    let nothing = get(blob_digest(), "bytes=-0").await.unwrap_err();
    assert_eq!(nothing.content_size(), Some(36));
    assert_eq!(
        told(Err::<(), _>(nothing)),
        error(416, "SIZE_INVALID", &format!("no bytes of {} were asked for", blob_digest()))
    );
    assert_eq!(web.seen(), [get_blob_line().replace("GET", "HEAD")]);
    assert_eq!(told(get(manifest_digest(), "bytes=-0").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_named_once() {
    let told_at = |host: &'static str, message: &'static str| async move {
        let web = Web::new(move |_| Answer::Failure(Error::denied(message)));
        told(pull(&web.upstream_at(host).build().unwrap(), "v1").await).2
    };
    assert_eq!(told_at("[::1]:5000", "`::1` may not be connected to").await, "`::1` may not be connected to");
    assert_eq!(told_at("[::1]:5000", "no").await, "[::1]:5000: no");
}
