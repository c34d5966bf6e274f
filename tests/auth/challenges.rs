//! What a client is told that has to log in, to the letter.

use tower_oci::operation::Access;
use tower_oci::spec::digest::Digest;

use crate::support::{App, BLOB, READER, STRANGER, WRITER, basic, body, every};

const START: &str = r#"Bearer realm="https://registry.example/token",service="registry.example""#;

/// What is challenged for one access to `team/app`.
fn bearer(access: Access, error: Option<&str>) -> String {
    let scope = match access {
        Access::Ping => "",
        Access::Pull => r#",scope="repository:team/app:pull""#,
        Access::Push => r#",scope="repository:team/app:pull,push""#,
        Access::Delete => r#",scope="repository:team/app:delete""#,
        _ => r#",scope="registry:catalog:*""#,
    };
    let error = error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
    format!("{START}{scope}{error}")
}

#[tokio::test]
async fn who_shows_nothing_is_told_what_the_very_operation_needs() {
    for anonymous in [false, true] {
        let (with_basic, with_bearer) = (App::basic(anonymous), App::bearer(anonymous));
        for (method, path, access) in every("team/app") {
            let answer = with_basic.send(method, &path, None, body(method, &path)).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.challenge(), Some(r#"Basic realm="the back room""#), "{method} {path}");
            let answer = with_bearer.send(method, &path, None, body(method, &path)).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.challenge(), Some(bearer(access, None).as_str()), "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.error(), "UNAUTHORIZED: authentication required");
            }
        }
    }
}

#[tokio::test]
async fn a_mount_needs_two_scopes() {
    let app = App::bearer(true);
    let digest = Digest::sha256(BLOB.as_bytes());
    let path = format!("/v2/team/new/blobs/uploads/?mount={digest}&from=team/app");
    let challenge = format!(r#"{START},scope="repository:team/app:pull repository:team/new:pull,push""#);
    assert_eq!(app.ask("POST", &path, None).await.challenge(), Some(challenge.as_str()));
    // A token for the target alone is no token for the source.
    let token = app.token(Some(WRITER), &["repository:team/new:pull,push"]).await;
    let answer = app.ask("POST", &path, Some(&token)).await;
    assert_eq!(
        (answer.status, answer.challenge()),
        (401, Some(&*format!("{challenge},error=\"insufficient_scope\"")))
    );
    let token = app.token(Some(WRITER), &["repository:team/new:pull,push", "repository:team/app:pull"]).await;
    assert_eq!(app.ask("POST", &path, Some(&token)).await.status, 201);
}

#[tokio::test]
async fn a_token_that_is_none_or_too_little_is_named_in_the_challenge() {
    let app = App::bearer(true);
    let pull_of_another = app.token(Some(WRITER), &["repository:team/apps:pull,push,delete"]).await;
    let nobody = app.token(None, &["repository:team/app:*", "registry:catalog:*"]).await;
    for (method, path, access) in every("team/app") {
        let answer = app.send(method, &path, Some("Bearer nonsense"), body(method, &path)).await;
        let invalid = bearer(access, Some("invalid_token"));
        assert_eq!((answer.status, answer.challenge()), (401, Some(invalid.as_str())), "{method} {path}");
        if access == Access::Ping {
            continue;
        }
        let insufficient = bearer(access, Some("insufficient_scope"));
        // One that was handed out for something else, and one whose owner nobody knows.
        for token in [&pull_of_another, &nobody] {
            let answer = app.send(method, &path, Some(token), body(method, &path)).await;
            assert_eq!(
                (answer.status, answer.challenge()),
                (401, Some(insufficient.as_str())),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn wrong_and_unreadable_credentials_are_challenged_and_foreign_ones_too() {
    let basic_app = App::basic(false);
    let bearer_app = App::bearer(false);
    for (shown, message) in [
        (basic((READER.0, WRITER.1)), "wrong user name or password"),
        (basic(("nobody", READER.1)), "wrong user name or password"),
        (basic(("", "")), "wrong user name or password"),
        ("Basic !".to_owned(), "the `Authorization` header can't be understood"),
        ("Negotiate abc".to_owned(), "the `Authorization` header can't be understood"),
    ] {
        let answer = basic_app.ask("GET", "/v2/", Some(&shown)).await;
        assert_eq!(
            (answer.status, answer.challenge()),
            (401, Some(r#"Basic realm="the back room""#)),
            "{shown}"
        );
        assert_eq!(answer.error(), format!("UNAUTHORIZED: {message}"));
        let answer = bearer_app.ask("GET", "/v2/", Some(&shown)).await;
        assert_eq!((answer.status, answer.challenge()), (401, Some(START)), "{shown}");
    }
    // Where no tokens are handed out none are taken.
    let token = bearer_app.token(Some(READER), &[]).await;
    assert_eq!(bearer_app.ask("GET", "/v2/", Some(&token)).await.status, 200);
    let answer = basic_app.ask("GET", "/v2/", Some(&token)).await;
    assert_eq!((answer.status, answer.challenge()), (401, Some(r#"Basic realm="the back room""#)));
}

#[tokio::test]
async fn who_is_known_and_may_not_is_not_challenged() {
    for app in [App::basic(true), App::bearer(true)] {
        let answer = app.ask("DELETE", "/v2/team/app/manifests/v1", Some(&basic(READER))).await;
        assert_eq!((answer.status, answer.challenge()), (403, None));
        assert_eq!(answer.error(), "DENIED: you may not delete from `team/app`");
        let answer = app.ask("GET", "/v2/secret/app/tags/list", Some(&basic(STRANGER))).await;
        assert_eq!((answer.status, answer.challenge()), (404, None));
        assert_eq!(answer.error(), "NAME_UNKNOWN: no repository `secret/app`");
    }
}
