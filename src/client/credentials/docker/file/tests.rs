use super::*;

fn basic(name: &str) -> Credential {
    Credential::basic(name, "hunter2")
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

/// `user:password` in base64.
fn auth(name: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{name}:hunter2"))
}

#[test]
fn entries_are_found_by_their_keys() {
    let json = format!(
        r#"{{"auths": {{
            "https://index.docker.io/v1/": {{"auth": "{}"}},
            "https://legacy.example/v2/": {{"auth": "{}"}},
            "HTTP://ignored.example": {{"auth": "{}"}},
            "old.example/v1/": {{"auth": "{}"}},
            "both.example": {{"auth": "{}"}},
            "https://both.example": {{"auth": "{}"}},
            "pod.example": {{"auth": "{}"}},
            "pod.example/team": {{"auth": "{}"}},
            "pod.example/team/app": {{"auth": "{}"}},
            "Upper.Example:5000": {{"auth": "{}"}},
            "*.glob.example": {{"auth": "{}"}},
            "empty.example": {{}},
            "null.example": null
        }}, "HttpHeaders": {{"User-Agent": "x"}}}}"#,
        auth("hub"),
        auth("legacy"),
        auth("ignored"),
        auth("old"),
        auth("modern"),
        auth("url"),
        auth("pod"),
        auth("team"),
        auth("app"),
        auth("upper"),
        auth("glob"),
    );
    let file = File::parse(json.as_bytes()).unwrap();
    for (registry, repository, expected) in [
        ("docker.io", Some("library/busybox"), Some("hub")),
        ("index.docker.io", None, Some("hub")),
        ("legacy.example", Some("x"), Some("legacy")),
        ("old.example", Some("x"), Some("old")),
        ("both.example", Some("x"), Some("modern")),
        ("pod.example", None, Some("pod")),
        ("pod.example", Some("x"), Some("pod")),
        ("pod.example", Some("team"), Some("team")),
        ("pod.example", Some("team2"), Some("pod")),
        ("pod.example", Some("team/app"), Some("app")),
        ("pod.example", Some("team/app/x"), Some("app")),
        ("pod.example", Some("team/app2"), Some("team")),
        ("upper.example:5000", None, Some("upper")),
        ("upper.example", None, None),
        ("x.glob.example", None, None),
        ("empty.example", None, None),
        ("null.example", None, None),
        ("pod.example.evil.example", Some("team"), None),
        ("xpod.example", Some("team"), None),
    ] {
        let repository: Option<Repository> = repository.map(|text| text.parse().unwrap());
        let expected = expected.map(basic);
        let expected = expected.as_ref().map(Answer::Here);
        assert_eq!(file.find(&host(registry), repository.as_ref()), expected, "{registry} {repository:?}");
    }
}

#[test]
fn kinds_of_credentials() {
    for (entry, expected) in [
        (r#"{"auth": "dXNlcjpodW50ZXIy"}"#, Some(basic("user"))),
        // Without padding, with a colon in the password, with docker's zeros.
        (r#"{"auth": "dXNlcjphOmI"}"#, Some(Credential::basic("user", "a:b"))),
        (r#"{"auth": "dXNlcjpwdwAA"}"#, Some(Credential::basic("user", "pw"))),
        (r#"{"username": "user", "password": "hunter2"}"#, Some(basic("user"))),
        (r#"{"auth": "dXNlcjpodW50ZXIy", "username": "other", "password": "x"}"#, Some(basic("user"))),
        (r#"{"auth": "dXNlcjo=", "identitytoken": "t"}"#, Some(Credential::IdentityToken("t".into()))),
        (r#"{"registrytoken": "t", "identitytoken": "x"}"#, Some(Credential::RegistryToken("t".into()))),
        (r#"{"auth": "", "username": "", "password": "", "identitytoken": ""}"#, None),
        (r#"{"email": "user@example.com"}"#, None),
    ] {
        let file = File::parse(format!(r#"{{"auths": {{"a.example": {entry}}}}}"#).as_bytes()).unwrap();
        assert_eq!(file.find(&host("a.example"), None), expected.as_ref().map(Answer::Here), "{entry}");
    }
}

#[test]
fn helpers_go_before_the_hosts_own_entry_and_behind_a_repositorys() {
    let json = format!(
        r#"{{"auths": {{"a.example": {{"auth": "{}"}}, "a.example/team": {{"auth": "{}"}}, "file.example": {{"auth": "{}"}}}},
            "credHelpers": {{"a.example": "own", "https://b.example": "url", "file.example": ""}}, "credsStore": "desktop"}}"#,
        auth("host"),
        auth("team"),
        auth("file"),
    );
    let file = File::parse(json.as_bytes()).unwrap();
    let (own, url, store) =
        (Helper::named("own").unwrap(), Helper::named("url").unwrap(), Helper::named("desktop").unwrap());
    let team: Repository = "team/x".parse().unwrap();
    assert_eq!(file.find(&host("a.example"), None), Some(Answer::Ask(&own, Some(&basic("host")))));
    assert_eq!(file.find(&host("a.example"), Some(&team)), Some(Answer::Here(&basic("team"))));
    assert_eq!(file.find(&host("b.example"), None), Some(Answer::Ask(&url, None)));
    assert_eq!(file.find(&host("c.example"), None), Some(Answer::Ask(&store, None)));
    assert_eq!(file.find(&host("file.example"), None), Some(Answer::Here(&basic("file"))));
}

#[test]
fn files_with_nothing_in_them() {
    for json in [
        "",
        " \n",
        "{}",
        r#"{"auths": null, "credHelpers": null, "credsStore": null}"#,
        r#"{"credsStore": ""}"#,
    ] {
        assert_eq!(File::parse(json.as_bytes()).unwrap().find(&host("a.example"), None), None, "{json}");
    }
}

#[test]
fn malformed_files_are_told_without_their_content() {
    let entry = |reason: &str| format!("its entry `a.example` in `auths` {reason}");
    for (json, expected) in [
        (r#"{"auths": "hunter2"}"#, "it is malformed in line 1, column 19".to_owned()),
        (r#"{"auths": {"a.example": {"auth": "hunter2""#, "it is malformed in line 1, column 42".to_owned()),
        (r#"{"auths": {"a.example": "hunter2"}}"#, entry("isn't what docker or podman write")),
        (r#"{"auths": {"a.example": {"auth": ["hunter2"]}}}"#, entry("isn't what docker or podman write")),
        (r#"{"auths": {"a.example": {"auth": "hunter2!"}}}"#, entry("has an `auth` that isn't base64")),
        (r#"{"auths": {"a.example": {"auth": "aHVudGVyMg=="}}}"#, entry("has an `auth` without a colon")),
        (r#"{"auths": {"a.example": {"auth": "/////w=="}}}"#, entry("has an `auth` that isn't text")),
        (
            r#"{"auths": {"a.example": {"auth": "Omh1bnRlcjI="}}}"#,
            entry("has an `auth` without a user name or without a password"),
        ),
        (
            r#"{"auths": {"a.example": {"password": "hunter2"}}}"#,
            entry("has a user name or a password, but not both"),
        ),
        (
            r#"{"credsStore": "../evil"}"#,
            "its `credsStore` names `../evil`, which is no name of a helper".to_owned(),
        ),
        (
            r#"{"credHelpers": {"a.example": "a/b"}}"#,
            "its `credHelpers` names `a/b`, which is no name of a helper".to_owned(),
        ),
    ] {
        assert_eq!(File::parse(json.as_bytes()).unwrap_err(), expected, "{json}");
    }
}
