//! Tokens that have ended, are forged, or are for something else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{App, READER, STRANGER, WRITER, basic, body, every, tokens};

const TAGS: &str = "/v2/team/app/tags/list";
const PULL: &str = "repository:team/app:pull";
const ENDED: &str = "UNAUTHORIZED: the token is not valid or has ended";
const OTHER: &str = "UNAUTHORIZED: the token is not for this";

#[tokio::test]
async fn a_token_ends() {
    let app = App::bearer(false);
    let token = app.token(Some(READER), &[PULL]).await;
    app.advance(299);
    assert_eq!(app.ask("GET", TAGS, Some(&token)).await.status, 200);
    app.advance(1);
    let answer = app.ask("GET", TAGS, Some(&token)).await;
    assert_eq!((answer.status, answer.error()), (401, ENDED.to_owned()));
    let longer = App::new(Some(tokens().lifetime(Duration::from_secs(3600))), false);
    let token = longer.token(Some(READER), &[PULL]).await;
    longer.advance(3599);
    assert_eq!(longer.ask("GET", TAGS, Some(&token)).await.status, 200);
    longer.advance(1);
    assert_eq!(longer.ask("GET", TAGS, Some(&token)).await.status, 401);
}

#[tokio::test]
async fn a_token_is_for_its_scopes_whoever_has_it() {
    let app = App::bearer(false);
    // The writer may do everything here; the tokens may not.
    for (scopes, status) in [
        (&[PULL][..], 200),
        (&["repository:team/app:pull,push"], 200),
        (&["repository:team/app:*"], 200),
        (&["repository:team/other:pull", PULL], 200),
        (&["repository:team/other:pull%20repository:team/app:pull"], 200),
        (&[], 401),
        (&["repository:team/other:pull"], 401),
        (&["repository:team:pull"], 401),
        (&["repository:team/app/x:pull"], 401),
        (&["repository:*:pull"], 401),
        (&["repository:team/*:pull"], 401),
        (&["registry:catalog:*"], 401),
        (&["repository:team/app:push"], 401),
        (&["repository:team/app:delete"], 401),
        (&["repository(plugin):team/app:pull"], 401),
    ] {
        let token = app.token(Some(WRITER), scopes).await;
        let answer = app.ask("GET", TAGS, Some(&token)).await;
        assert_eq!(answer.status, status, "{scopes:?}");
        if status == 401 {
            assert_eq!(answer.error(), OTHER, "{scopes:?}");
        }
    }
    let token = app.token(Some(WRITER), &[PULL]).await;
    for path in ["/v2/team/app/blobs/uploads/", "/v2/team/app/blobs/uploads/?from=team/app"] {
        assert_eq!(app.ask("POST", path, Some(&token)).await.status, 401);
    }
    assert_eq!(app.ask("DELETE", "/v2/team/app/manifests/v1", Some(&token)).await.status, 401);
    assert_eq!(app.ask("GET", "/v2/_catalog", Some(&token)).await.status, 401);
    assert_eq!(app.ask("GET", "/v2/", Some(&token)).await.status, 200);
}

#[tokio::test]
async fn a_token_gives_its_owner_no_more_than_the_rules() {
    let app = App::bearer(false);
    let everything = ["repository:team/app:*", "repository:secret/app:*", "registry:catalog:*"];
    let token = app.token(Some(STRANGER), &everything).await;
    for (method, path, status) in [
        ("GET", TAGS, 404),
        ("GET", "/v2/secret/app/tags/list", 404),
        ("POST", "/v2/team/app/blobs/uploads/", 403),
        ("GET", "/v2/_catalog", 403),
    ] {
        assert_eq!(app.ask(method, path, Some(&token)).await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_forged_token_opens_nothing() {
    let app = App::bearer(true);
    let stolen = app.token(Some(STRANGER), &["repository:team/app:*"]).await;
    let code = stolen.split_once('.').unwrap().1;
    let claims = r#"{"sub":"ann","exp":99999999999,"scope":"registry:catalog:* repository:team/app:*"}"#;
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let key = App::new(Some(tokens().key("another key of at least 32 bytes!")), true);
    let service = App::new(Some(tokens().service("registry.example:443")), true);
    let forged = [
        format!("Bearer {claims}.{code}"),
        format!("Bearer {claims}."),
        format!("Bearer {claims}"),
        format!("Bearer {none}.{claims}."),
        format!("{stolen}{code}"),
        stolen.replace('.', ""),
        "Bearer .".to_owned(),
        key.token(Some(WRITER), &["repository:team/app:*", "registry:catalog:*"]).await,
        other_service(&service).await,
    ];
    for token in forged {
        for (method, path, _) in every("team/app") {
            let answer = app.send(method, &path, Some(&token), body(method, &path)).await;
            assert_eq!(answer.status, 401, "{method} {path} {token}");
            assert!(answer.challenge().unwrap().ends_with(r#",error="invalid_token""#));
        }
    }
}

async fn other_service(app: &App) -> String {
    let path = "/token?scope=repository:team/app:*&scope=registry:catalog:*";
    let answer = app.ask("GET", path, Some(&basic(WRITER))).await;
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn instances_with_one_key_take_each_others_tokens_and_others_do_not() {
    let (one, two) = (App::bearer(false), App::bearer(false));
    let token = one.token(Some(READER), &[PULL]).await;
    assert_eq!(two.ask("GET", TAGS, Some(&token)).await.status, 200);
    let random =
        || App::new(Some(tower_oci::layer::auth::Tokens::new("https://registry.example/token")), false);
    let (one, two) = (random(), random());
    let token = one.token(Some(READER), &[PULL]).await;
    assert_eq!(one.ask("GET", TAGS, Some(&token)).await.status, 200);
    assert_eq!(two.ask("GET", TAGS, Some(&token)).await.status, 401);
}
