use std::collections::BTreeMap;
use std::error::Error as _;

use super::*;
use crate::error::ErrorKind;

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

/// With the helper beside this file.
fn with_helper(json: &str) -> DockerConfig {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/credentials/docker/testdata");
    DockerConfig::from_json(json.as_bytes()).unwrap().helpers_in(directory)
}

#[cfg(unix)]
#[tokio::test]
async fn helpers_are_asked() {
    let config = with_helper(
        r#"{"auths": {"kept.example": {"auth": "a2VwdDpodW50ZXIy"}}, "credHelpers": {"none.example": ""}, "credsStore": "fake"}"#,
    );
    for (registry, expected) in [
        ("docker.io", Credential::basic("hub", "hunter2")),
        ("good.example:5000", Credential::basic("good", "hunter2")),
        ("token.example", Credential::IdentityToken("hunter2".into())),
        ("unknown.example", Credential::Anonymous),
        ("kept.example", Credential::basic("kept", "hunter2")),
        ("none.example", Credential::Anonymous),
    ] {
        assert_eq!(config.credential(&host(registry), None).await.unwrap(), expected, "{registry}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_wrong_with_a_helper_is_told_without_its_output() {
    let config = with_helper(r#"{"credHelpers": {"absent.example": "absent"}, "credsStore": "fake"}"#);
    for (registry, reason) in [
        ("broken.example", "`docker-credential-fake` failed (exit status: 3): the vault is sealed"),
        ("garbage.example", "`docker-credential-fake` gave something other than a credential"),
        ("absent.example", "`docker-credential-absent` can't be run: entity not found"),
    ] {
        let error = config.credential(&host(registry), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), format!("no credential for `{registry}` could be had"));
        assert_eq!(error.source().unwrap().to_string(), reason);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_helper_that_hangs_is_ended() {
    let config = with_helper(r#"{"credsStore": "fake"}"#);
    let start = tokio::time::Instant::now();
    let error = config.credential(&host("slow.example"), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.source().unwrap().to_string(), "`docker-credential-fake` took longer than 10 s");
    assert_eq!(start.elapsed(), helper::TIMEOUT);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let error = DockerConfig::load_from(&path).unwrap_err();
    assert_eq!(
        error.message(),
        format!("the credentials file `{}`: it can't be read: entity not found", path.display())
    );

    std::fs::write(&path, r#"{"auths": {"a.example": {"username": "one", "password": "hunter2"}}}"#).unwrap();
    let config = DockerConfig::load_from(&path).unwrap();
    let get = || async { config.credential(&host("a.example"), None).await };
    assert_eq!(get().await.unwrap(), Credential::basic("one", "hunter2"));

    std::fs::write(&path, r#"{"auths": {"a.example": {"username": "another", "password": "hunter2"}}}"#)
        .unwrap();
    assert_eq!(get().await.unwrap(), Credential::basic("one", "hunter2"), "looked at a moment ago");
    tokio::time::pause();
    tokio::time::advance(Source::INTERVAL).await;
    assert_eq!(get().await.unwrap(), Credential::basic("another", "hunter2"));

    std::fs::write(&path, r#"{"auths": {"a.example": {"auth": "hunter2!"}}}"#).unwrap();
    tokio::time::advance(Source::INTERVAL).await;
    let error = get().await.unwrap_err();
    assert_eq!(error.message(), "no credential for `a.example` could be had");
    let reason = format!(
        "the credentials file `{}`: its entry `a.example` in `auths` has an `auth` that isn't base64",
        path.display()
    );
    assert_eq!(error.source().unwrap().to_string(), reason);
    assert!(!format!("{error:?} {config:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_first_file_that_has_something_counts() {
    let directory = tempfile::tempdir().unwrap();
    let one = directory.path().join("one.json");
    let two = directory.path().join("two.json");
    std::fs::write(&one, r#"{"auths": {"a.example": {"username": "one", "password": "x"}}}"#).unwrap();
    std::fs::write(
        &two,
        r#"{"auths": {"a.example": {"username": "two", "password": "x"}, "b.example": {"username": "two", "password": "x"}}}"#,
    )
    .unwrap();
    let paths = [directory.path().join("none.json"), one, two];
    let sources = paths.into_iter().map(|path| Arc::new(Source::open(path, false).unwrap())).collect();
    let config = DockerConfig::new(Content::Files(sources));
    for (registry, expected) in [
        ("a.example", Credential::basic("one", "x")),
        ("b.example", Credential::basic("two", "x")),
        ("c.example", Credential::Anonymous),
    ] {
        assert_eq!(config.credential(&host(registry), None).await.unwrap(), expected);
    }
}

#[test]
fn the_usual_places() {
    let places = |variables: &[(&str, &str)]| -> Vec<String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let places = super::places(|name| variables.get(name).map(PathBuf::from));
        places.into_iter().map(|path| path.to_str().unwrap().replace('\\', "/")).collect()
    };
    assert_eq!(places(&[]), Vec::<String>::new());
    assert_eq!(places(&[("HOME", "/h")]), ["/h/.docker/config.json", "/h/.config/containers/auth.json"]);
    assert_eq!(
        places(&[
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_CONFIG_HOME", "/c")
        ]),
        ["/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"]
    );
    assert_eq!(
        places(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f.json"), ("XDG_RUNTIME_DIR", "/r")]),
        ["/h/.docker/config.json", "/f.json"]
    );
}
