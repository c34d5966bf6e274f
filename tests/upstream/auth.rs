//! Challenges, tokens, credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_oci::client::{RetryPolicy, Upstream};
use tower_oci::error::Error;
use tower_oci::operation::{Credential, ListRepositories, ListTags, Ping, Registry as _, Request};

use crate::web::*;

const REALM: &str = r#"Bearer realm="https://registry.example/token",service="reg""#;
const TOKEN: &str = "GET https://registry.example/token?service=reg&scope=repository:team/app:pull";

/// A registry that counts its tokens up and takes only the newest.
fn counting(expires_in: u32) -> (Web, Arc<AtomicU32>) {
    let newest = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&newest);
    let web = Web::new(move |call| {
        if call.line.contains("/token") {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            return Answer::token(&format!("t{number}"), expires_in);
        }
        let newest = format!("Bearer t{}", count.load(Ordering::Relaxed));
        if call.authorization() == Some(newest.as_str()) {
            Answer::manifest()
        } else {
            Answer::challenge(REALM)
        }
    });
    (web, newest)
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_four_fifths_of_its_life_and_then_renewed() {
    let (web, _) = counting(100);
    let upstream = web.upstream().build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(web.seen(), lines(&[GET_V1, TOKEN, &format!("{GET_V1} [Bearer t1]")]));
    tokio::time::advance(Duration::from_secs(79)).await;
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(web.seen(), lines(&[&format!("{GET_V1} [Bearer t1]")]));
    tokio::time::advance(Duration::from_secs(2)).await;
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(web.seen(), lines(&[TOKEN, &format!("{GET_V1} [Bearer t2]")]));
}

#[tokio::test(start_paused = true)]
async fn many_who_come_at_once_share_one_token() {
    let (web, tokens) = counting(300);
    let upstream = web.upstream().build().unwrap();
    let pulls = futures_util::future::join_all((0..20).map(|_| pull(&upstream, "v1"))).await;
    assert!(pulls.iter().all(Result::is_ok));
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
    let pulls = futures_util::future::join_all((0..20).map(|_| pull(&upstream, "v1"))).await;
    assert!(pulls.iter().all(Result::is_ok));
    assert_eq!(web.seen().iter().filter(|line| line.contains("/token")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once() {
    let (web, newest) = counting(300);
    let upstream = web.upstream().build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    web.seen();
    // The registry forgets its tokens.
    newest.fetch_add(1, Ordering::Relaxed);
    pull(&upstream, "v1").await.unwrap();
    assert_eq!(
        web.seen(),
        lines(&[&format!("{GET_V1} [Bearer t1]"), TOKEN, &format!("{GET_V1} [Bearer t3]")])
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_every_token_is_asked_twice() {
    let web = Web::new(|call| {
        if call.line.contains("/token") { Answer::token("t", 300) } else { Answer::challenge(REALM) }
    });
    let upstream = web.upstream().credential(Credential::basic("user", "hunter2")).build().unwrap();
    let refused = error(
        403,
        "DENIED",
        "registry.example answered with 401: UNAUTHORIZED: authentication required; it refuses the token that its \
         token service gave for repository:team/app:pull",
    );
    assert_eq!(told(pull(&upstream, "v1").await), refused);
    let token = format!("{TOKEN} [Basic dXNlcjpodW50ZXIy]");
    assert_eq!(web.seen(), lines(&[GET_V1, &token, &format!("{GET_V1} [Bearer t]")]));
    // The next time the token that was refused is asked for anew, once.
    assert_eq!(told(pull(&upstream, "v1").await), refused);
    let with = format!("{GET_V1} [Bearer t]");
    assert_eq!(web.seen(), lines(&[&with, &token, &with]));
}

#[tokio::test(start_paused = true)]
async fn each_repository_and_each_credential_has_its_own_token() {
    let web = Web::new(|call| {
        if call.line.contains("/token") {
            let user = call.authorization().unwrap_or("nobody").replace("Basic ", "");
            let repository = call.line.rsplit(':').nth(1).unwrap().replace('/', "-");
            return Answer::token(&format!("{user}-{repository}"), 300);
        }
        match call.authorization() {
            Some(_) => Answer::json(200, r#"{"name":"x","tags":[]}"#),
            None => Answer::challenge(REALM),
        }
    });
    let upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    let list = |name: &str, credential: Option<Credential>| {
        let mut request = Request::new(ListTags::new(name.parse().unwrap()));
        if let Some(credential) = credential {
            request.extensions_mut().insert(credential);
        }
        upstream.send(request)
    };
    for (name, credential) in [
        ("a", None),
        ("b", None),
        ("a", Some(Credential::Anonymous)),
        ("a", Some(Credential::basic("u", "p"))),
    ] {
        list(name, credential).await.unwrap();
    }
    let tags = "https://registry.example/v2";
    let token = "GET https://registry.example/token?service=reg&scope=repository";
    assert_eq!(
        web.seen(),
        lines(&[
            &format!("GET {tags}/a/tags/list"),
            &format!("{token}:a:pull [Basic dTpw]"),
            &format!("GET {tags}/a/tags/list [Bearer dTpw-a]"),
            &format!("{token}:b:pull [Basic dTpw]"),
            &format!("GET {tags}/b/tags/list [Bearer dTpw-b]"),
            &format!("{token}:a:pull"),
            &format!("GET {tags}/a/tags/list [Bearer nobody-a]"),
            // The same credential by another way is the same caller.
            &format!("GET {tags}/a/tags/list [Bearer dTpw-a]"),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn basic_is_sent_at_once_after_the_first_challenge() {
    let web = Web::new(|call| match call.authorization() {
        Some("Basic dTpw") => Answer::manifest(),
        _ => Answer::challenge(r#"Basic realm="Sonatype Nexus Repository Manager""#),
    });
    let upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    pull(&upstream, "v1").await.unwrap();
    let with = format!("{GET_V1} [Basic dTpw]");
    assert_eq!(web.seen(), lines(&[GET_V1, &with, &with]));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_cannot_be_answered_says_what_is_wanted() {
    let web = Web::new(|_| Answer::challenge(r#"Basic realm="x""#));
    let anonymous = web.upstream().build().unwrap();
    assert_eq!(
        told(pull(&anonymous, "v1").await),
        error(
            403,
            "DENIED",
            "registry.example answered with 401: UNAUTHORIZED: authentication required; it wants credentials for \
             repository:team/app:pull, and there are none for it"
        )
    );
    assert_eq!(web.seen(), lines(&[GET_V1]));
    let wrong = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    assert_eq!(
        told(pull(&wrong, "v1").await),
        error(
            403,
            "DENIED",
            "registry.example answered with 401: UNAUTHORIZED: authentication required; it refuses the credentials \
             that are configured for it"
        )
    );
    assert_eq!(web.seen(), lines(&[GET_V1, &format!("{GET_V1} [Basic dTpw]")]));
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_change_its_mind_about_how_it_is_asked() {
    let web = Web::new(|call| match (call.line.contains("/token"), call.nth, call.authorization()) {
        (true, ..) => Answer::token("t", 60),
        (_, 0..3, Some("Basic dTpw")) | (_, 3..6, Some("Bearer t")) | (_, 6.., Some("Basic dTpw")) => {
            Answer::manifest()
        }
        (_, 0..3, _) | (_, 6.., _) => Answer::challenge(r#"Basic realm="x""#),
        _ => Answer::challenge(REALM),
    });
    let upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    for _ in 0..5 {
        pull(&upstream, "v1").await.unwrap();
    }
    let (basic, bearer) = (format!("{GET_V1} [Basic dTpw]"), format!("{GET_V1} [Bearer t]"));
    let token = format!("{TOKEN} [Basic dTpw]");
    assert_eq!(
        web.seen(),
        lines(&[GET_V1, &basic, &basic, &basic, &token, &bearer, &bearer, &bearer, &basic])
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_service_that_could_not_be_had_is_asked_after_anew() {
    const OLD: &str = r#"Bearer realm="https://old.example/token",service="reg""#;
    const OLD_TOKEN: &str = "GET https://old.example/token?service=reg&scope=repository:team/app:pull";
    let failed = || Answer::Failure(Error::unavailable("refused"));
    let answers: [fn() -> Answer; 5] =
        [failed, || Answer::Never, || Answer::status(404), || Answer::status(503), || Answer::redirect("/t")];
    for old in answers {
        let is_mended = Arc::new(AtomicU32::new(0));
        let mended = Arc::clone(&is_mended);
        let web = Web::new(move |call| match (call.line.as_str(), call.authorization()) {
            (line, _) if line.starts_with(OLD_TOKEN) => old(),
            (line, _) if line.contains("/token") => Answer::token("t1", 300),
            (_, Some("Bearer t1")) => Answer::manifest(),
            _ if mended.load(Ordering::Relaxed) == 0 => Answer::challenge(OLD),
            _ => Answer::challenge(REALM),
        });
        let upstream = web.upstream().retry(RetryPolicy::never()).build().unwrap();
        for _ in 0..2 {
            pull(&upstream, "v1").await.unwrap_err();
            assert_eq!(web.seen(), lines(&[GET_V1, &format!("~{OLD_TOKEN}")]));
        }
        is_mended.store(1, Ordering::Relaxed);
        pull(&upstream, "v1").await.unwrap();
        assert_eq!(web.seen(), lines(&[GET_V1, TOKEN, &format!("{GET_V1} [Bearer t1]")]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_a_token_service_leaves_what_is_known_of_it() {
    let web = Web::new(|call| match call.line.contains("/token") {
        true => Answer::status(403),
        false => Answer::challenge(REALM),
    });
    let upstream = web.upstream().build().unwrap();
    pull(&upstream, "v1").await.unwrap_err();
    assert_eq!(web.seen(), lines(&[GET_V1, TOKEN]));
    pull(&upstream, "v1").await.unwrap_err();
    assert_eq!(web.seen(), lines(&[TOKEN]));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_never_reaches_our_client() {
    let web = Web::new(|_| Answer::challenge(r#"Basic realm="x""#));
    let error = pull(&web.upstream().build().unwrap(), "v1").await.unwrap_err();
    assert_eq!(error.challenge(), None);
}

#[tokio::test(start_paused = true)]
async fn an_identity_token_is_posted_and_a_registry_token_sent_as_it_is() {
    let web = Web::new(|call| match call.line.as_str() {
        "POST https://registry.example/token" => {
            Answer::json(200, r#"{"access_token":"t1","expires_in":300}"#)
        }
        _ => match call.authorization() {
            Some("Bearer t1" | "Bearer ready") => Answer::manifest(),
            _ => Answer::challenge(REALM),
        },
    });
    let identity = web.upstream().credential(Credential::IdentityToken("refresh".into())).build().unwrap();
    pull(&identity, "v1").await.unwrap();
    let post = "POST https://registry.example/token grant_type=refresh_token&service=reg&client_id=tower-oci\
                &scope=repository:team/app:pull&refresh_token=refresh";
    assert_eq!(web.seen(), lines(&[GET_V1, post, &format!("{GET_V1} [Bearer t1]")]));
    let ready = web.upstream().credential(Credential::RegistryToken("ready".into())).build().unwrap();
    pull(&ready, "v1").await.unwrap();
    assert_eq!(web.seen(), lines(&[&format!("{GET_V1} [Bearer ready]")]));
}

#[tokio::test(start_paused = true)]
async fn a_ping_and_a_catalog_have_scopes_of_their_own() {
    let web = Web::new(|call| {
        if call.line.contains("/token") {
            return Answer::token("t", 300);
        }
        match call.authorization() {
            Some(_) => Answer::json(200, r#"{"repositories":["a"]}"#),
            None => Answer::challenge(
                r#"Bearer realm="https://registry.example/token",scope="registry:catalog:*""#,
            ),
        }
    });
    let upstream = web.upstream().build().unwrap();
    upstream.send(Request::new(Ping::new())).await.unwrap();
    upstream.send(Request::new(ListRepositories::new())).await.unwrap();
    assert_eq!(
        web.seen(),
        lines(&[
            "GET https://registry.example/v2/",
            "GET https://registry.example/token",
            "GET https://registry.example/v2/ [Bearer t]",
            "GET https://registry.example/token?scope=registry:catalog:*",
            "GET https://registry.example/v2/_catalog [Bearer t]",
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_want_more_for_the_same_repository_and_gets_it_every_time() {
    let web = Web::new(|call| {
        if call.line.contains("/token") {
            let wide = call.line.ends_with("repository:team/app:metadata_read,pull");
            return Answer::token(if wide { "wide" } else { "narrow" }, 100);
        }
        match call.authorization() {
            Some("Bearer wide") => Answer::manifest(),
            _ => Answer::challenge(
                r#"Bearer realm="https://registry.example/token",scope="repository:team/app:metadata_read,push""#,
            ),
        }
    });
    let upstream = web.upstream().build().unwrap();
    pull(&upstream, "v1").await.unwrap();
    tokio::time::advance(Duration::from_secs(90)).await;
    pull(&upstream, "v1").await.unwrap();
    let token = "GET https://registry.example/token?scope=repository:team/app:metadata_read,pull";
    let with = format!("{GET_V1} [Bearer wide]");
    assert_eq!(web.seen(), lines(&[GET_V1, token, &with, token, &with]));
}

async fn refusal_by_token_service(answer: fn() -> Answer) -> ((u16, &'static str, String), Vec<String>) {
    let web =
        Web::new(move |call| if call.line.contains("/token") { answer() } else { Answer::challenge(REALM) });
    let upstream: Upstream = web.upstream().credential(Credential::basic("u", "p")).build().unwrap();
    let told = told(pull(&upstream, "v1").await);
    (told, web.seen())
}

#[tokio::test(start_paused = true)]
async fn the_words_of_a_token_service_are_told() {
    let token = format!("{TOKEN} [Basic dTpw]");
    let once = lines(&[GET_V1, &token]);
    let service = "registry.example: the token service registry.example answered";
    for (answer, status, code, words) in [
        (
            (|| Answer::json(401, r#"{"details":"incorrect username or password"}"#)) as fn() -> Answer,
            403,
            "DENIED",
            "401 Unauthorized to repository:team/app:pull: incorrect username or password",
        ),
        (|| Answer::status(403), 403, "DENIED", "403 Forbidden to repository:team/app:pull"),
        (|| Answer::status(500), 502, "UNSUPPORTED", "500 Internal Server Error to repository:team/app:pull"),
        (|| Answer::json(200, "<html>"), 502, "UNSUPPORTED", "with something else than a token"),
        (|| Answer::json(200, "{}"), 502, "UNSUPPORTED", "without a token"),
    ] {
        let (told, seen) = refusal_by_token_service(answer).await;
        assert_eq!(told, error(status, code, &format!("{service} {words}")));
        assert_eq!(seen, once);
    }
}
