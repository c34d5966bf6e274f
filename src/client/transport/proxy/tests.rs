use std::collections::BTreeMap;

use super::*;

fn target(uri: &str) -> Target {
    Target::of(&uri.parse().unwrap()).unwrap()
}

fn settings(http: Option<&str>, https: Option<&str>, no_proxy: &str) -> Proxies {
    ProxySettings {
        http: http.map(Into::into),
        https: https.map(Into::into),
        no_proxy: vec![no_proxy.into()],
    }
    .parse()
    .unwrap()
}

#[test]
fn each_scheme_has_its_proxy() {
    let proxies = settings(Some("http://plain.example:3128"), Some("secure.example"), "");
    assert_eq!(proxies.to(&target("http://x.example/")).unwrap().to_string(), "plain.example:3128");
    assert_eq!(proxies.to(&target("https://x.example/")).unwrap().to_string(), "secure.example:80");
    let proxies = settings(None, Some("http://[::1]:8080/"), "");
    assert!(proxies.to(&target("http://x.example/")).is_none());
    assert_eq!(proxies.to(&target("https://x.example/")).unwrap().to_string(), "[::1]:8080");
}

#[test]
fn what_is_reached_without_a_proxy() {
    let list = "registry.example, .below.example,*.star.example,10.0.0.0/8, 1.1.1.1,port.example:5000,[2001:4860::1]:444";
    let proxies = settings(Some("proxy.example"), Some("proxy.example"), list);
    for (uri, direct) in [
        ("https://registry.example/", true),
        ("https://REGISTRY.example./", true),
        ("https://x.registry.example/", true),
        ("https://xregistry.example/", false),
        ("https://below.example/", false),
        ("https://x.below.example/", true),
        ("https://star.example/", false),
        ("https://x.star.example/", true),
        ("https://10.2.3.4/", true),
        ("https://11.2.3.4/", false),
        ("https://1.1.1.1/", true),
        ("https://1.1.1.2/", false),
        ("https://port.example:5000/", true),
        ("https://port.example/", false),
        ("https://[2001:4860::1]:444/", true),
        ("https://[2001:4860::1]/", false),
        ("https://other.example/", false),
        // Never through a proxy, listed or not.
        ("http://localhost/", true),
        ("http://x.localhost/", true),
        ("http://127.0.0.9:5000/", true),
        ("http://[::1]/", true),
        ("http://[::ffff:127.0.0.1]/", true),
    ] {
        assert_eq!(proxies.to(&target(uri)).is_none(), direct, "{uri}");
    }
    assert!(settings(Some("proxy.example"), None, "*").to(&target("http://x.example/")).is_none());
}

#[test]
fn credentials_of_a_proxy_are_not_shown() {
    let proxies = settings(Some("http://user:hunter%402@proxy.example:3128"), None, "");
    let proxy = proxies.to(&target("http://x.example/")).unwrap();
    // `user:hunter@2`
    assert_eq!(proxy.authorization.as_ref().unwrap().as_bytes(), b"Basic dXNlcjpodW50ZXJAMg==");
    let shown = format!("{proxies:?} {proxy}");
    assert!(!shown.contains("hunter") && !shown.contains("dXNlc"), "{shown}");
}

#[test]
fn malformed_proxies_are_refused_without_their_text() {
    for (uri, reason) in [
        (
            "https://user:hunter2@proxy.example",
            "only proxies that are spoken to over plain http are supported",
        ),
        (
            "socks5://user:hunter2@proxy.example",
            "only proxies that are spoken to over plain http are supported",
        ),
        ("http://user:hunter2@proxy example", "it is no URI"),
        ("http://user:hunter2@proxy.example:0", "its port is zero"),
        ("http://us%3Aer:hunter2@proxy.example", "its user name holds a colon"),
        ("", "it is no URI"),
    ] {
        let settings = ProxySettings { http: Some(uri.into()), ..ProxySettings::default() };
        let error = settings.parse().unwrap_err();
        assert_eq!(error.message(), format!("the address of the HTTP proxy is invalid: {reason}"), "{uri}");
        assert!(!format!("{error:?} {settings:?}").contains("hunter2"));
    }
}

fn from_env(variables: &[(&str, &str)]) -> (Option<String>, Option<String>, Vec<String>) {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let mut settings = ProxySettings::default();
    settings.read_env(|name| variables.get(name).map(|value| (*value).to_owned()));
    let text = |secret: Option<Secret>| secret.map(|secret| secret.expose().to_owned());
    (text(settings.http), text(settings.https), settings.no_proxy)
}

#[test]
fn the_environment_is_read_in_both_cases() {
    assert_eq!(from_env(&[]), (None, None, vec![]));
    assert_eq!(
        from_env(&[("http_proxy", "a"), ("HTTP_PROXY", "b"), ("HTTPS_PROXY", "c"), ("NO_PROXY", "d")]),
        (Some("a".into()), Some("c".into()), vec!["d".into()])
    );
    assert_eq!(
        from_env(&[("ALL_PROXY", "a"), ("https_proxy", "b"), ("no_proxy", "c"), ("NO_PROXY", "d")]),
        (Some("a".into()), Some("b".into()), vec!["c".into()])
    );
    assert_eq!(from_env(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil")]), (None, None, vec![]));
}
