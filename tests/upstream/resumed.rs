//! Blobs that break off.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::operation::{
    BlobContent, Credential, GetBlob, Registry as _, Request, Verified, WithoutVerification,
};
use tower_oci::spec::range::{RangeSpec, Ranges};

use crate::web::*;

fn asked_from(first: usize) -> String {
    format!("{} [bytes={first}-]", get_blob_line())
}

/// The first byte that a request asks for.
fn first(call: &Call) -> Option<usize> {
    let range = call.header(http::header::RANGE)?.strip_prefix("bytes=")?;
    range.split('-').next()?.parse().ok()
}

/// A blob that is cut off after ten bytes at first; its rest is answered so.
async fn cut_off(
    rest: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> (String, Result<(), Error>, Vec<String>) {
    let web = Web::new(move |call| match first(call) {
        None => Answer::content(BLOB).header("etag", "\"one\"").body(cut(BLOB, 10)),
        Some(first) => rest(first),
    });
    let (all, end) = drained(&web.upstream().build().unwrap()).await;
    (all, end, web.seen())
}

fn broken(status: u16, code: &'static str, why: &str) -> (u16, &'static str, String) {
    let blob = blob_digest();
    error(status, code, &format!("the blob {blob} of registry.example broke off at byte 10: {why}"))
}

/// The blob, for a caller who hashes it, and whether the answer says that it is verified.
async fn unhashed(web: &Web) -> (Body, bool) {
    let mut request = Request::new(GetBlob::new(REPOSITORY.parse().unwrap(), blob_digest()));
    request.extensions_mut().insert(WithoutVerification::new());
    let response = web.upstream().build().unwrap().send(request).await.unwrap();
    let is_verified = response.extensions().get::<Verified>().is_some();
    (response.into_reply().into_whole().unwrap(), is_verified)
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_left_as_it_came_for_a_caller_who_hashes_it() {
    let flipped = BLOB.replace('5', "6");
    let answered = flipped.clone();
    let web = Web::new(move |call| match first(call) {
        None => Answer::content(answered.clone()).body(cut(&answered, 10)),
        Some(first) => Answer::part(&answered, first, 35),
    });
    let (mut body, is_verified) = unhashed(&web).await;
    assert_eq!((body.size(), is_verified), (Some(36), false));
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(
        frames,
        ["0123466789", "abcdefg", "hijklmn", "opqrstu", "vwxyz"],
        "no frame is held or joined"
    );
    assert_eq!(web.seen(), [get_blob_line(), asked_from(10)]);
    // Without the mark it is noticed.
    let (_, end) = drained(&web.upstream().build().unwrap()).await;
    assert_eq!(told(end).0, 502);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_nobody_hashes_here_still_has_its_size_and_goes_on_as_itself() {
    let web = Web::new(move |call| match first(call) {
        None => Answer::content(BLOB).header("etag", "\"one\"").body(cut(BLOB, 10)),
        Some(first) => Answer::part(BLOB, first, 35).header("etag", "\"two\""),
    });
    let (all, end) = drain(unhashed(&web).await.0).await;
    assert_eq!(all, BLOB[..10]);
    assert_eq!(told(end), broken(502, "DIGEST_INVALID", "it is another content by now"));
    let web = Web::new(|_| Answer::content(BLOB).body(streamed(format!("{BLOB}!"))));
    let (_, end) = drain(unhashed(&web).await.0).await;
    let message = format!("the blob {} of registry.example goes on behind its end at byte 36", blob_digest());
    assert_eq!(told(end), error(502, "DIGEST_INVALID", &message));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_cut_off_is_resumed_and_verified() {
    let (all, end, seen) = cut_off(|first| Answer::part(BLOB, first, 35).header("etag", "W/\"one\"")).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    assert_eq!(seen, [get_blob_line(), asked_from(10)]);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_ends_early_or_stalls_is_resumed() {
    let started = Instant::now();
    let web = Web::new(move |call| match first(call) {
        None => Answer::content(BLOB).body(streamed(&BLOB.as_bytes()[..10])),
        Some(10) => Answer::part(BLOB, 10, 35).body(stalled(&BLOB[10..], 10)),
        Some(first) => Answer::part(BLOB, first, 35),
    });
    let (all, end) = drained(&web.upstream().build().unwrap()).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    assert_eq!(web.seen(), [get_blob_line(), asked_from(10), asked_from(20)]);
    assert_eq!(started.elapsed(), Duration::from_secs(60), "the transport's idle time-out, and no pause");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_gone_in_the_middle_is_given_up() {
    let web = Web::new(move |call| match first(call) {
        None => Answer::content(BLOB).body(cut(BLOB, 10)),
        Some(_) => Answer::Failure(Error::unavailable("the connection was refused")),
    });
    let started = Instant::now();
    let (all, end) = drained(&web.upstream().build().unwrap()).await;
    assert_eq!(all, BLOB[..10]);
    assert_eq!(told(end), broken(503, "UNSUPPORTED", "registry.example: the connection was refused"));
    let mut wanted = vec![get_blob_line()];
    wanted.extend(vec![asked_from(10); 5]);
    assert_eq!((web.seen(), started.elapsed()), (wanted, Duration::from_millis(7500)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_at_once_each_time_is_given_up() {
    let (all, end, seen) = cut_off(|first| Answer::part(BLOB, first, 35).body(cut(&BLOB[first..], 0))).await;
    assert_eq!(all, BLOB[..10]);
    let blob = blob_digest();
    let message =
        format!("the blob {blob} of registry.example broke off at byte 10 of 36: the connection broke");
    assert_eq!(told(end), error(503, "UNSUPPORTED", &message));
    let mut wanted = vec![get_blob_line()];
    wanted.extend(vec![asked_from(10); 4]);
    assert_eq!(seen, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_whole_blob_in_place_of_the_rest_is_skipped_into() {
    let (all, end, seen) = cut_off(|_| Answer::content(BLOB)).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    assert_eq!(seen, [get_blob_line(), asked_from(10)]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_content_range_ends_the_blob() {
    for (range, status, code, why) in [
        ("bytes 11-35/36", 502, "UNSUPPORTED", "byte 10 was asked for, but byte 11 came"),
        ("bytes 0-35/36", 502, "UNSUPPORTED", "byte 10 was asked for, but byte 0 came"),
        ("bytes 10-36/37", 502, "DIGEST_INVALID", "it is another content by now"),
        ("bytes */36", 502, "UNSUPPORTED", "the rest came without a valid Content-Range"),
        ("nonsense", 502, "UNSUPPORTED", "the rest came without a valid Content-Range"),
    ] {
        let (all, end, seen) =
            cut_off(move |first| Answer::part(BLOB, first, 35).header("content-range", range)).await;
        assert_eq!((all.as_str(), told(end)), (&BLOB[..10], broken(status, code, why)));
        assert_eq!(seen, [get_blob_line(), asked_from(10)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_that_changed_meanwhile_ends_the_blob() {
    let changed = broken(502, "DIGEST_INVALID", "it is another content by now");
    for answer in [
        (|first| Answer::part(BLOB, first, 35).header("etag", "\"two\"")) as fn(usize) -> Answer,
        |_| Answer::content(BLOB).header("etag", "\"two\""),
        |_| Answer::content("shorter"),
        |_| Answer::status(416).header("content-range", "bytes */5"),
    ] {
        let (all, end, seen) = cut_off(answer).await;
        assert_eq!((all.as_str(), told(end)), (&BLOB[..10], changed.clone()));
        assert_eq!(seen, [get_blob_line(), asked_from(10)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_that_changed_unseen_is_found_by_its_digest() {
    let (all, end, _) = cut_off(|first| {
        let other = BLOB.to_uppercase();
        Answer::part(&other, first, 35)
    })
    .await;
    let (status, code, _) = told(end);
    // Frames of seven bytes after the first ten, and the last one held back.
    assert_eq!((all.len(), status, code), (31, 502, "DIGEST_INVALID"));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_blob_goes_the_whole_way_again() {
    let web = Web::new(|call| match call.line.as_str() {
        "GET https://cdn.example/0" => Answer::content(BLOB).body(cut(BLOB, 10)),
        "GET https://cdn.example/1" => Answer::part(BLOB, first(call).unwrap(), 35),
        _ if call.authorization().is_none() => Answer::challenge(r#"Basic realm="x""#),
        _ => Answer::redirect(&format!("https://cdn.example/{}", call.nth - 1)),
    });
    let upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    assert_eq!(drained(&upstream).await.0, BLOB);
    let line = get_blob_line();
    assert_eq!(
        web.seen(),
        [
            line.clone(),
            format!("{line} [Basic dTpw]"),
            "~GET https://cdn.example/0".to_owned(),
            format!("{line} [Basic dTpw] [bytes=10-]"),
            "~GET https://cdn.example/1 [bytes=10-]".to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_without_content_length_is_resumed_as_well() {
    let web = Web::new(|call| match first(call) {
        None => Answer::content(BLOB).without("content-length").body(cut(BLOB, 10)),
        Some(first) => Answer::part(BLOB, first, 35),
    });
    let (all, end) = drained(&web.upstream().build().unwrap()).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    assert_eq!(web.seen(), [get_blob_line(), asked_from(10)]);
}

async fn part(web: &Web) -> Result<BlobContent, Error> {
    let ranges = Ranges::one(RangeSpec::Span(5, 24));
    let operation = GetBlob::ranges(REPOSITORY.parse().unwrap(), blob_digest(), ranges);
    let blob = web.upstream().build().unwrap().send(Request::new(operation)).await?.into_reply();
    assert_eq!(blob.size, Some(36));
    Ok(blob.content)
}

#[tokio::test(start_paused = true)]
async fn a_part_is_resumed_up_to_its_end_and_checked_for_its_size() {
    let web = Web::new(|call| match first(call).unwrap() {
        5 => Answer::part(BLOB, 5, 24).body(cut(&BLOB[5..], 3)),
        first => Answer::part(BLOB, first, 24),
    });
    let BlobContent::Part(part) = part(&web).await.unwrap() else { panic!("no part") };
    assert_eq!((part.range.first(), part.range.last()), (5, 24));
    let (all, end) = drain(part.body).await;
    assert_eq!((all.as_str(), end.is_ok()), (&BLOB[5..=24], true));
    let line = get_blob_line();
    assert_eq!(web.seen(), [format!("{line} [bytes=5-24]"), format!("{line} [bytes=8-24]")]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_blob_in_place_of_a_part_is_verified() {
    let web = Web::new(|_| Answer::content(BLOB));
    let BlobContent::Whole(body) = part(&web).await.unwrap() else { panic!("a part") };
    assert_eq!(drain(body).await.0, BLOB);
}

#[tokio::test(start_paused = true)]
async fn another_part_than_the_one_asked_for_is_refused() {
    let web = Web::new(|_| Answer::part(BLOB, 0, 19));
    assert_eq!(
        told(part(&web).await),
        error(502, "UNSUPPORTED", "registry.example answered with another range than was asked for")
    );
    assert_eq!(web.seen().len(), 1);
}
