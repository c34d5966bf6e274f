//! Every operation, asked by everybody, in every way to say who one is.

use tower_oci::operation::Access;

use crate::support::{App, READER, STRANGER, WRITER, basic, body, every};

/// How a caller says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Basic,
    Bearer,
}

/// The status that somebody gets; `there` is that of one who may.
fn expected(who: Option<(&str, &str)>, repository: &str, access: Access, there: u16, kind: &str) -> u16 {
    let is_team = repository == "team/app";
    match (who, access) {
        (None, Access::Ping) => 401,
        (_, Access::Ping) => there,
        (_, Access::Pull) if repository == "public/app" => there,
        (None, _) => 401,
        (Some(READER), Access::Catalog) => there,
        (Some(_), Access::Catalog) => 403,
        (Some(WRITER | READER), Access::Pull) if is_team => there,
        (Some(WRITER), Access::Push | Access::Delete) if is_team => there,
        // An empty list, as for what isn't there.
        (Some(_), Access::Pull) if kind.contains("/referrers/") => 200,
        (Some(_), Access::Pull) => 404,
        (Some(_), Access::Push) => 403,
        // Those who may not even look see nothing to delete.
        (Some(READER), Access::Delete) if is_team => 403,
        (Some(_), Access::Delete) if repository == "public/app" => 403,
        (Some(_), _) => 404,
    }
}

/// The status of each request of [`every`] where it is allowed.
const ALLOWED: [u16; 17] =
    [200, 200, 200, 200, 200, 200, 200, 200, 200, 201, 202, 404, 404, 404, 404, 202, 202];

#[tokio::test]
async fn everybody_gets_what_the_rules_say_and_nothing_else() {
    for way in [Way::Basic, Way::Bearer] {
        for who in [None, Some(STRANGER), Some(READER), Some(WRITER)] {
            for repository in ["team/app", "public/app", "secret/app", "secret/none"] {
                // One each, since the writer deletes.
                let app = if way == Way::Basic { App::basic(true) } else { App::bearer(true) };
                let scope = format!("repository:{repository}:pull,push,delete");
                for ((method, path, access), there) in every(repository).into_iter().zip(ALLOWED) {
                    let authorization = match (way, who) {
                        // Not even a token that is asked for: that of nobody is another test's.
                        (_, None) => None,
                        (Way::Basic, Some(who)) => Some(basic(who)),
                        (Way::Bearer, who) => Some(app.token(who, &[&scope, "registry:catalog:*"]).await),
                    };
                    let answer = app.send(method, &path, authorization.as_deref(), body(method, &path)).await;
                    let expected = expected(who, repository, access, there, &path);
                    assert_eq!(answer.status, expected, "{way:?} {who:?} {method} {path}: {}", answer.body);
                    assert_eq!(
                        answer.challenge().is_some(),
                        expected == 401,
                        "{way:?} {who:?} {method} {path}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_nobody_opens_what_everybody_may_have() {
    let app = App::bearer(true);
    let token = app.token(None, &["repository:public/app:pull,push,delete"]).await;
    for ((method, path, access), there) in every("public/app").into_iter().zip(ALLOWED) {
        let answer = app.send(method, &path, Some(&token), body(method, &path)).await;
        let expected = if matches!(access, Access::Ping | Access::Pull) { there } else { 401 };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
    }
}

#[tokio::test]
async fn without_the_option_nobody_is_nobody() {
    for app in [App::basic(false), App::bearer(false)] {
        for (method, path, _) in every("public/app") {
            for shown in [None, Some(basic(("", "")))] {
                let answer = app.send(method, &path, shown.as_deref(), body(method, &path)).await;
                assert_eq!(answer.status, 401, "{method} {path}");
            }
        }
    }
    // Nor does a token that was handed out while the option was on.
    let token = App::bearer(true).token(None, &["repository:public/app:pull"]).await;
    let answer = App::bearer(false).ask("GET", "/v2/public/app/tags/list", Some(&token)).await;
    assert_eq!(
        (answer.status, answer.error()),
        (401, "UNAUTHORIZED: the token is not valid or has ended".to_owned())
    );
}

#[tokio::test]
async fn what_podman_sends_without_credentials_is_nobodys() {
    let app = App::basic(true);
    let nobody = basic(("", ""));
    assert_eq!(app.ask("GET", "/v2/", Some(&nobody)).await.status, 200);
    assert_eq!(app.ask("GET", "/v2/public/app/tags/list", Some(&nobody)).await.status, 200);
    assert_eq!(app.ask("GET", "/v2/team/app/tags/list", Some(&nobody)).await.status, 401);
}
