//! The token endpoint: what docker, podman and others send, and what they must not.

use std::time::Duration;

use serde_json::json;
use tower_oci::body::Body;

use crate::support::{Answer, App, READER, WRITER, basic, tokens};

const TAGS: &str = "/v2/team/app/tags/list";

fn refreshing() -> App {
    App::new(Some(tokens().refresh_lifetime(Duration::from_secs(3600))), true)
}

async fn post(app: &App, form: &str) -> Answer {
    app.send("POST", "/token", None, Body::from(form.to_owned())).await
}

#[tokio::test]
async fn podmans_and_dockers_get_is_answered() {
    let app = App::bearer(true);
    let path = "/token?account=bob&client_id=docker&offline_token=true\
                &scope=repository%3Ateam%2Fapp%3Apull%2Cpush+repository%3Ateam%2Fbase%3Apull&service=registry.example";
    let answer = app.ask("GET", path, Some(&basic(READER))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut body = answer.json();
    let token = body["token"].take();
    assert_eq!(token, body["access_token"].take());
    let expected = json!({
        "token": null,
        "access_token": null,
        "token_type": "Bearer",
        "expires_in": 300,
        "issued_at": "2027-01-15T08:00:00Z",
        "scope": "repository:team/app:pull,push repository:team/base:pull",
    });
    assert_eq!(body, expected);
    let token = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(app.ask("GET", TAGS, Some(&token)).await.status, 200);
}

#[tokio::test]
async fn containerds_post_is_answered() {
    let app = App::bearer(false);
    let form = "client_id=containerd-client&grant_type=password&username=bob&password=trombone\
                &scope=repository%3Ateam%2Fapp%3Apull&service=registry.example";
    let answer = post(&app, form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = format!("Bearer {}", answer.json()["access_token"].as_str().unwrap());
    assert_eq!(app.ask("GET", TAGS, Some(&token)).await.status, 200);
    assert!(answer.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn a_refresh_token_is_good_for_tokens_until_it_ends() {
    let app = refreshing();
    let by_get = app.ask("GET", "/token?offline_token=true", Some(&basic(READER))).await;
    let by_post = post(&app, "grant_type=password&username=bob&password=trombone&access_type=offline").await;
    for answer in [by_get, by_post] {
        let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let renewed = post(&app, &format!(
            "grant_type=refresh_token&service=registry.example&scope=repository:team/app:pull&refresh_token={refresh}"
        ))
        .await;
        assert_eq!(renewed.status, 200, "{}", renewed.body);
        assert_eq!(renewed.json()["refresh_token"], json!(refresh));
        let token = format!("Bearer {}", renewed.json()["access_token"].as_str().unwrap());
        assert_eq!(app.ask("GET", TAGS, Some(&token)).await.status, 200);
        // It opens nothing by itself.
        assert_eq!(app.ask("GET", TAGS, Some(&format!("Bearer {refresh}"))).await.status, 401);
    }
    // Neither unasked nor for nobody.
    let unasked = app.ask("GET", "/token", Some(&basic(READER))).await;
    let nobody = app.ask("GET", "/token?offline_token=true", None).await;
    for answer in [unasked, nobody] {
        assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None));
    }
    let token = app.ask("GET", "/token?offline_token=true", Some(&basic(READER))).await.json();
    let refresh = token["refresh_token"].as_str().unwrap();
    app.advance(3600);
    for token in [refresh, token["token"].as_str().unwrap(), "nonsense", ""] {
        let answer = post(&app, &format!("grant_type=refresh_token&refresh_token={token}")).await;
        let message = "UNAUTHORIZED: the refresh token is not valid or has ended; log in again";
        assert_eq!((answer.status, answer.error()), (401, message.to_owned()));
    }
}

#[tokio::test]
async fn wrong_passwords_get_no_token() {
    for app in [App::bearer(false), App::bearer(true)] {
        for credentials in [(READER.0, WRITER.1), ("nobody", READER.1), (READER.0, "")] {
            let answer = app.ask("GET", "/token", Some(&basic(credentials))).await;
            assert_eq!((answer.status, answer.challenge()), (401, Some(r#"Basic realm="the back room""#)));
            assert_eq!(answer.error(), "UNAUTHORIZED: wrong user name or password");
            let (name, password) = credentials;
            let form = format!("grant_type=password&username={name}&password={password}");
            let answer = post(&app, &form).await;
            assert_eq!(
                (answer.status, answer.error()),
                (401, "UNAUTHORIZED: wrong user name or password".to_owned())
            );
        }
        // A token is no password, and what can't be read is nobody's.
        let token = app.token(Some(READER), &[]).await;
        for shown in [&token[..], "Basic !", "Negotiate x"] {
            assert_eq!(app.ask("GET", "/token", Some(shown)).await.status, 401, "{shown}");
        }
    }
    let answer = App::bearer(false).ask("GET", "/token", None).await;
    assert_eq!((answer.status, answer.error()), (401, "UNAUTHORIZED: authentication required".to_owned()));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let app = App::bearer(true);
    let many = format!("/token?{}", "scope=a&".repeat(65));
    for (path, message) in [
        (
            "/token?service=other.example",
            "UNSUPPORTED: this token service is for `registry.example`, not for `other.example`",
        ),
        (
            "/token?service=registry.example&service=x",
            "UNSUPPORTED: the parameter `service` stands more than once",
        ),
        ("/token?scope=%ff", "UNSUPPORTED: a parameter that is no UTF-8"),
        (&many, "UNSUPPORTED: more than 64 parameters"),
    ] {
        let answer = app.ask("GET", path, Some(&basic(READER))).await;
        assert_eq!((answer.status, answer.error()), (400, message.to_owned()), "{path}");
    }
    for (form, message) in [
        ("", "UNSUPPORTED: `grant_type` is `password` or `refresh_token`"),
        ("grant_type=client_credentials", "UNSUPPORTED: `grant_type` is `password` or `refresh_token`"),
        ("grant_type=password&username=bob", "UNSUPPORTED: the parameter `password` is missing"),
        (
            "grant_type=password&username=a&username=b",
            "UNSUPPORTED: the parameter `username` stands more than once",
        ),
        ("grant_type=refresh_token", "UNSUPPORTED: the parameter `refresh_token` is missing"),
    ] {
        let answer = post(&app, form).await;
        assert_eq!((answer.status, answer.error()), (400, message.to_owned()), "{form}");
    }
    let large = post(&app, &"a".repeat(16 * 1024 + 1)).await;
    assert_eq!(large.status, 413, "{}", large.body);
    for method in ["PUT", "DELETE", "HEAD"] {
        let answer = app.ask(method, "/token", None).await;
        assert_eq!(
            (answer.status, &answer.headers["allow"]),
            (405, &"GET, POST".parse().unwrap()),
            "{method}"
        );
    }
    // With `Basic` alone there is no endpoint; another path is nobody's business here.
    for (app, path) in [(App::basic(true), "/token"), (app, "/token/")] {
        assert_eq!(app.ask("GET", path, None).await.status, 404, "{path}");
    }
}
