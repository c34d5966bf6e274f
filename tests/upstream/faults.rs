//! What an upstream that is out of order, or strange, does to our client: each row of the list of faults.

use std::time::Duration;

use tokio::time::Instant;
use tower_oci::body::Body;
use tower_oci::client::Quirks;
use tower_oci::error::{Error, ErrorKind};
use tower_oci::operation::{Credential, GetBlob, Registry as _, Request};

use crate::web::*;

const REALM: &str = r#"Bearer realm="https://registry.example/token""#;

/// A blob that is answered so, to every request.
async fn blob_of(
    answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
) -> (String, Result<(), Error>, Vec<String>) {
    let web = Web::new(answer);
    let upstream = web.upstream().build().unwrap();
    let (all, end) = drained(&upstream).await;
    (all, end, web.seen())
}

#[tokio::test(start_paused = true)]
async fn one_flipped_byte_never_ends_well() {
    let (all, end, seen) = blob_of(|_| Answer::content(BLOB.replace('5', "6"))).await;
    // Frames of seven bytes, and the last one held back: 35 of 36 bytes.
    assert_eq!(all, BLOB.replace('5', "6")[..35]);
    let found = tower_oci::spec::digest::Digest::sha256(BLOB.replace('5', "6").as_bytes());
    let message = format!("the content of {} is {found}", blob_digest());
    assert_eq!(told(end), error(502, "DIGEST_INVALID", &message));
    assert_eq!(seen, [get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn one_flipped_byte_of_a_manifest_is_refused() {
    let web = Web::new(|_| Answer::content(MANIFEST.replace('2', "3")).header("content-type", MANIFEST_TYPE));
    let upstream = web.upstream().build().unwrap();
    let found = tower_oci::spec::digest::Digest::sha256(MANIFEST.replace('2', "3").as_bytes());
    let wanted = manifest_digest();
    let message = format!("registry.example: the content of the manifest {wanted} is {found}");
    assert_eq!(told(pull(&upstream, &wanted.to_string()).await), error(502, "DIGEST_INVALID", &message));
    assert_eq!(web.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_patiently_read() {
    let started = Instant::now();
    let (all, end, seen) = blob_of(|_| {
        let bytes = BLOB.bytes().map(|byte| bytes::Bytes::from(vec![byte]));
        let trickle = futures_util::stream::unfold(bytes, |mut bytes| async move {
            tokio::time::sleep(Duration::from_secs(50)).await;
            Some((Ok::<_, Error>(bytes.next()?), bytes))
        });
        Answer::content(BLOB).body(Body::from_stream(trickle))
    })
    .await;
    assert_eq!((all.as_str(), end.is_ok(), seen.len()), (BLOB, true, 1));
    assert_eq!(started.elapsed(), Duration::from_secs(50 * 36));
}

#[tokio::test(start_paused = true)]
async fn a_trickle_of_a_manifest_is_cut_short() {
    let started = Instant::now();
    let web = Web::new(|_| Answer::manifest().body(stalled(MANIFEST, 5)));
    let upstream = web.upstream().build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(504, "UNSUPPORTED", "registry.example did not answer within 25 s")
    );
    assert_eq!((started.elapsed(), web.seen()), (Duration::from_secs(25), vec![GET_V1.to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up_in_time() {
    let started = Instant::now();
    let web = Web::new(|_| Answer::Never);
    let upstream = web.upstream().build().unwrap();
    let wanted = error(504, "UNSUPPORTED", "registry.example did not answer within 25 s");
    assert_eq!(told(get_blob(&upstream).await), wanted);
    assert_eq!((started.elapsed(), web.seen()), (Duration::from_secs(25), vec![get_blob_line()]));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_comes_is_given_up_in_time() {
    let started = Instant::now();
    let web =
        Web::new(|call| if call.line.contains("/token") { Answer::Never } else { Answer::challenge(REALM) });
    let upstream = web.upstream().build().unwrap();
    let wanted = error(504, "UNSUPPORTED", "registry.example did not answer within 25 s");
    assert_eq!(told(pull(&upstream, "v1").await), wanted);
    assert_eq!(started.elapsed(), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn a_blob_without_content_length_is_verified_all_the_same() {
    let whole = || Answer::content(BLOB).without("content-length");
    let (all, end, _) = blob_of(move |_| whole()).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    // Cut off without an error: nobody can tell, but by the digest.
    let (all, end, seen) = blob_of(move |_| whole().body(streamed(&BLOB.as_bytes()[..14]))).await;
    let (status, code, _) = told(end);
    assert_eq!((all.as_str(), status, code, seen.len()), (&BLOB[..7], 502, "DIGEST_INVALID", 1));
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_another_length_is_refused() {
    for (content, message) in [(&BLOB[..35], "broke off after 35 of 36 bytes"), (BLOB, "")] {
        let (_, end, _) = blob_of(move |call| {
            // Whoever asks for the rest gets nothing more.
            if call.headers.contains_key("range") { Answer::status(416) } else { Answer::content(content) }
        })
        .await;
        match message {
            "" => end.unwrap(),
            _ => {
                let (status, code, message) = told(end);
                assert_eq!((status, code), (502, "DIGEST_INVALID"), "{message}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_without_a_digest_header_is_hashed_here() {
    let web = Web::new(|_| Answer::manifest().without("docker-content-digest"));
    let upstream = web.upstream().build().unwrap();
    assert_eq!(pull(&upstream, "v1").await.unwrap().digest, manifest_digest());
    assert_eq!(web.seen(), [GET_V1]);
    // HEAD and GET agree, and HEAD needs a GET for that.
    let by_head = head(&upstream, "v1").await.unwrap();
    assert_eq!(
        (by_head.digest, by_head.size, by_head.content),
        (manifest_digest(), MANIFEST.len() as u64, None)
    );
    assert_eq!(web.seen(), [HEAD_V1, GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_known_for_that_is_asked_by_get_at_once() {
    let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let web = Web::new(|_| Answer::manifest().without("docker-content-digest"));
    let upstream = web.upstream_at(host).build().unwrap();
    assert_eq!(head(&upstream, "v1").await.unwrap().digest, manifest_digest());
    assert_eq!(web.seen(), [format!("GET https://{host}/v2/team/app/manifests/v1")]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_header_is_refused() {
    let web = Web::new(|_| Answer::manifest().header("docker-content-digest", &blob_digest().to_string()));
    let upstream = web.upstream().build().unwrap();
    let (wrong, right) = (blob_digest(), manifest_digest());
    let message = format!("registry.example: the content of the manifest {wrong} is {right}");
    assert_eq!(told(pull(&upstream, "v1").await), error(502, "DIGEST_INVALID", &message));
    assert_eq!(web.seen(), [GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_done_by_a_get_and_remembered() {
    for status in [401, 403, 405] {
        let web = Web::new(move |call| match call.line.starts_with("HEAD") {
            true => Answer::status(status),
            false => Answer::manifest(),
        });
        let upstream = web.upstream().build().unwrap();
        let manifest = head(&upstream, "v1").await.unwrap();
        assert_eq!(
            (manifest.digest, manifest.size, manifest.content),
            (manifest_digest(), MANIFEST.len() as u64, None)
        );
        assert_eq!(web.seen(), [HEAD_V1, GET_V1]);
        head(&upstream, "v1").await.unwrap();
        assert_eq!(web.seen(), [GET_V1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_tried_again_after_an_hour() {
    let web = Web::new(|call| match call.nth {
        0 if call.line.starts_with("HEAD") => Answer::status(403),
        _ if call.line.starts_with("HEAD") => Answer::manifest_head(),
        _ => Answer::manifest(),
    });
    let upstream = web.upstream().build().unwrap();
    for (elapsed, wanted) in [(0, vec![HEAD_V1, GET_V1]), (3599, vec![GET_V1]), (2, vec![HEAD_V1])] {
        tokio::time::advance(Duration::from_secs(elapsed)).await;
        head(&upstream, "v1").await.unwrap();
        assert_eq!(web.seen(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_refused_before_anybody_asks_who_is_there_needs_a_token_all_the_same() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.contains("/token") => Answer::token("t", 300),
        line if line.starts_with("HEAD") => Answer::status(401),
        _ if call.authorization().is_some() => Answer::manifest(),
        _ => Answer::challenge(REALM),
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(head(&upstream, "v1").await.unwrap().digest, manifest_digest());
    let token = "GET https://registry.example/token?scope=repository:team/app:pull";
    assert_eq!(web.seen(), [HEAD_V1, GET_V1, token, &format!("{GET_V1} [Bearer t]")]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_of_what_is_not_there_is_not_remembered() {
    let web = Web::new(|call| match call.line.starts_with("HEAD") {
        true => Answer::status(403),
        false => Answer::status(404),
    });
    let upstream = web.upstream().build().unwrap();
    for _ in 0..2 {
        assert_eq!(
            told(head(&upstream, "v1").await),
            error(404, "MANIFEST_UNKNOWN", "registry.example answered with 404")
        );
        assert_eq!(web.seen(), [HEAD_V1, GET_V1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_denied_to_the_caller_is_not_done_by_a_get() {
    let web = Web::new(|call| match call.line.contains("/token") {
        true => Answer::token("t", 300),
        false => Answer::challenge(REALM),
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(told(head(&upstream, "v1").await).0, 403);
    let token = "GET https://registry.example/token?scope=repository:team/app:pull";
    assert_eq!(web.seen(), [HEAD_V1, token, &format!("{HEAD_V1} [Bearer t]")]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_of_a_blob_is_done_by_its_first_byte() {
    let first = format!("{} [bytes=0-0]", get_blob_line());
    for (status, quirks) in [
        (401, Quirks::default()),
        (403, Quirks::default()),
        (405, Quirks::default()),
        (405, Quirks::of(&"public.ecr.aws".parse().unwrap())),
    ] {
        let web = Web::new(move |call| match call.line.starts_with("HEAD") {
            true => Answer::status(status),
            false => Answer::part(BLOB, 0, 0),
        });
        let upstream = web.upstream().quirks(quirks).build().unwrap();
        let ask = || upstream.send(Request::new(GetBlob::head(REPOSITORY.parse().unwrap(), blob_digest())));
        assert_eq!(ask().await.unwrap().into_reply().size, Some(36));
        let head = get_blob_line().replace("GET", "HEAD");
        let wanted =
            if quirks.refuses_head_of_blobs { vec![first.clone()] } else { vec![head, first.clone()] };
        assert_eq!(web.seen(), wanted);
        assert_eq!(ask().await.unwrap().into_reply().size, Some(36));
        assert_eq!(web.seen(), std::slice::from_ref(&first));
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_blob_is_found_where_ranges_are_not_known_and_where_it_is_empty() {
    for (answer, size) in [
        ((|| Answer::content(BLOB)) as fn() -> Answer, 36),
        (|| Answer::status(416).header("content-range", "bytes */0"), 0),
    ] {
        let web = Web::new(move |_| answer());
        let quirks = Quirks::of(&"public.ecr.aws".parse().unwrap());
        let upstream = web.upstream().quirks(quirks).build().unwrap();
        let head = GetBlob::head(REPOSITORY.parse().unwrap(), blob_digest());
        let blob = upstream.send(Request::new(head)).await.unwrap().into_reply();
        assert_eq!(blob.size, Some(size));
    }
}

#[tokio::test(start_paused = true)]
async fn an_html_page_is_no_manifest() {
    let web = Web::new(|_| {
        Answer::content("<html>Welcome</html>").header("content-type", "text/html; charset=utf-8")
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(502, "UNSUPPORTED", "registry.example answered with an HTML page in place of a manifest")
    );
    assert_eq!(web.seen(), [GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn an_html_page_is_no_blob() {
    let (all, end, seen) =
        blob_of(|_| Answer::content("<html>Welcome, and log in</html>").header("content-type", "text/html"))
            .await;
    let (status, code, _) = told(end);
    // The page's last frame never comes.
    assert_eq!((all.as_str(), status, code), ("<html>Welcome, and log in</h", 502, "DIGEST_INVALID"));
    assert_eq!(seen, [get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn a_blob_with_a_content_coding_is_refused() {
    let web = Web::new(|_| Answer::content(BLOB).header("content-encoding", "gzip"));
    let upstream = web.upstream().build().unwrap();
    let message = "registry.example answered with a content coding that nobody asked for";
    assert_eq!(told(get_blob(&upstream).await), error(502, "UNSUPPORTED", message));
    assert_eq!(web.seen(), [get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed_whether_it_is_answered_with_401_or_403() {
    for (status, quirks) in [
        (401, Quirks::default()),
        (403, Quirks::of(&"123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse().unwrap())),
    ] {
        let web = Web::new(move |call| match call.line.as_str() {
            line if line.contains("/token") => Answer::token(&format!("t{}", call.nth), 43_200),
            _ => match (call.authorization(), call.nth) {
                (Some("Bearer t0"), 1) | (Some("Bearer t1"), _) => Answer::manifest(),
                (Some(_), _) => Answer::challenge(REALM).to(status),
                (None, _) => Answer::challenge(REALM),
            },
        });
        let upstream = web.upstream().quirks(quirks).build().unwrap();
        pull(&upstream, "v1").await.unwrap();
        web.seen();
        pull(&upstream, "v1").await.unwrap();
        let token = "GET https://registry.example/token?scope=repository:team/app:pull";
        let with = |token| format!("{GET_V1} [Bearer {token}]");
        assert_eq!(web.seen(), [with("t0"), token.to_owned(), with("t1")]);
    }
}

/// Credentials of which there is a new one each time somebody asks.
#[derive(Debug, Default)]
struct Renewed(std::sync::atomic::AtomicU32);

impl tower_oci::operation::Credentials for Renewed {
    fn credential<'a>(
        &'a self,
        _: &'a tower_oci::spec::name::Host,
        _: Option<&'a tower_oci::spec::name::Repository>,
    ) -> tower_oci::operation::BoxFuture<'a, Result<Credential, Error>> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Credential::RegistryToken(format!("c{number}").into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_credential_is_asked_for_again_once() {
    for (status, good) in [(403, "Bearer c1"), (401, "Bearer c1"), (403, "none")] {
        let web = Web::new(move |call| match call.authorization() {
            Some(with) if with == good => Answer::manifest(),
            _ => Answer::json(
                status,
                r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#,
            ),
        });
        let quirks = Quirks::of(&"123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse().unwrap());
        let upstream = web.upstream().quirks(quirks).credentials(std::sync::Arc::new(Renewed::default()));
        let pulled = pull(&upstream.build().unwrap(), "v1").await;
        assert_eq!(pulled.is_ok(), good != "none");
        assert_eq!(web.seen(), [format!("{GET_V1} [Bearer c0]"), format!("{GET_V1} [Bearer c1]")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_403_is_final_where_it_means_what_it_says() {
    let web = Web::new(|call| match call.line.contains("/token") {
        true => Answer::token("t", 300),
        false if call.authorization().is_none() => Answer::challenge(REALM),
        false => Answer::json(403, r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#),
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(403, "DENIED", "registry.example answered with 403: DENIED: not yours")
    );
    assert_eq!(web.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_opaque_token_without_expiry_lives_a_minute() {
    for field in ["token", "access_token"] {
        let web = Web::new(move |call| match call.line.contains("/token") {
            true => Answer::json(200, &format!(r#"{{"{field}":"opaque"}}"#)),
            false if call.authorization() == Some("Bearer opaque") => Answer::manifest(),
            false => Answer::challenge(REALM),
        });
        let upstream = web.upstream().build().unwrap();
        for (elapsed, requests) in [(0, 3), (47, 1), (2, 2)] {
            tokio::time::advance(Duration::from_secs(elapsed)).await;
            pull(&upstream, "v1").await.unwrap();
            assert_eq!(web.seen().len(), requests);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_absent_at_the_start_is_found_when_it_comes() {
    let web = Web::new(|call| match call.nth {
        0..5 => Answer::Failure(Error::unavailable("the connection was refused")),
        _ => Answer::manifest(),
    });
    let upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    let started = Instant::now();
    assert_eq!(
        told(pull(&upstream, "v1").await),
        error(503, "UNSUPPORTED", "registry.example: the connection was refused")
    );
    assert_eq!((web.seen().len(), started.elapsed()), (5, Duration::from_millis(7500)));
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(web.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_before_its_headers_is_asked_for_again() {
    let web = Web::new(|call| match call.nth {
        0 => Answer::Failure(Error::unavailable("it broke off before it answered")),
        _ => Answer::content(BLOB),
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(drained(&upstream).await.0, BLOB);
    assert_eq!(web.seen(), [get_blob_line(), get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_breaks_off_is_asked_for_again() {
    let web = Web::new(|call| match call.nth {
        0 => Answer::manifest().body(cut(MANIFEST, 10)),
        _ => Answer::manifest(),
    });
    let upstream = web.upstream().build().unwrap();
    assert_eq!(pull(&upstream, "v1").await.unwrap().digest, manifest_digest());
    assert_eq!(web.seen(), [GET_V1, GET_V1]);
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_can_mend_is_not_tried_again() {
    for failure in [ErrorKind::Denied, ErrorKind::BadGateway, ErrorKind::TimedOut] {
        // A guard's refusal; a certificate that isn't trusted; a connection that doesn't come about in time.
        let web = Web::new(move |_| {
            Answer::Failure(match failure {
                ErrorKind::Denied => Error::denied("the address is private"),
                ErrorKind::BadGateway => Error::bad_gateway("its certificate is not trusted"),
                _ => Error::timed_out("connecting took longer than 10 s"),
            })
        });
        let upstream = web.upstream().build().unwrap();
        let error = pull(&upstream, "v1").await.unwrap_err();
        assert_eq!((error.kind(), web.seen()), (failure, vec![GET_V1.to_owned()]));
        assert!(error.message().starts_with("registry.example: "), "{error}");
    }
}
