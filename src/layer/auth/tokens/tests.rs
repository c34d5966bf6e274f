use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn at(seconds: u64) -> Clock {
    Clock::from_fn(move || UNIX_EPOCH + Duration::from_secs(seconds))
}

fn tokens() -> Tokens {
    Tokens::new("https://registry.example/token").key(KEY).clock(at(1_800_000_000))
}

fn issuer(tokens: Tokens) -> Issuer {
    Issuer::new(tokens).unwrap()
}

fn pull() -> Scopes {
    Scopes::parse("repository:team/app:pull")
}

#[test]
fn a_token_says_who_and_what_until_it_ends() {
    let token = issuer(tokens()).access(Some("ann"), &pull()).unwrap();
    // Pinned: instances of two versions may share a key.
    assert_eq!(
        token.expose().split_once('.').unwrap().0,
        URL_SAFE_NO_PAD.encode(r#"{"sub":"ann","exp":1800000300,"scope":"repository:team/app:pull"}"#),
    );
    let granted = Granted { subject: Some("ann".to_owned()), scopes: pull() };
    for (now, expected) in [
        (0, Some(&granted)),
        (1_800_000_000, Some(&granted)),
        (1_800_000_299, Some(&granted)),
        (1_800_000_300, None),
    ] {
        assert_eq!(issuer(tokens().clock(at(now))).granted(&token).as_ref(), expected, "{now}");
    }
    let token = issuer(tokens()).access(None, &Scopes::default()).unwrap();
    let nobody = Granted { subject: None, scopes: Scopes::default() };
    assert_eq!(issuer(tokens()).granted(&token), Some(nobody));
}

#[test]
fn a_token_is_good_for_one_key_one_service_and_one_use() {
    let own = issuer(tokens().refresh_lifetime(Duration::from_secs(3600)));
    let token = own.access(Some("ann"), &pull()).unwrap();
    let revision = Revision::of(b"1");
    let refresh = own.refresh("ann", &revision).unwrap().unwrap();
    assert!(own.granted(&token).is_some());
    assert_eq!(own.refreshed(&refresh), Some(("ann".to_owned(), own.state("ann", &revision).into())));
    // One kind is none of the other.
    assert_eq!(own.granted(&refresh), None);
    assert_eq!(own.refreshed(&token), None);
    for other in [
        tokens().key("another key another key another ").refresh_lifetime(Duration::from_secs(3600)),
        tokens().service("other.example").refresh_lifetime(Duration::from_secs(3600)),
        Tokens::new("https://registry.example/token").clock(at(1_800_000_000)),
    ] {
        let other = issuer(other);
        assert_eq!(other.granted(&token), None, "{other:?}");
        assert_eq!(other.refreshed(&refresh), None, "{other:?}");
    }
    // The service is what counts, not the way there.
    let moved =
        Tokens::new("http://elsewhere.example/auth").service("registry.example").key(KEY).clock(at(0));
    assert!(issuer(moved).granted(&token).is_some());
    assert_eq!(issuer(tokens()).refreshed(&refresh), None, "refresh tokens are switched off");
    let late = tokens().refresh_lifetime(Duration::from_secs(3600)).clock(at(1_800_003_600));
    assert_eq!(issuer(late).refreshed(&refresh), None);
}

#[test]
fn a_changed_token_is_none() {
    let own = issuer(tokens());
    let token = own.access(Some("ann"), &pull()).unwrap();
    let text = token.expose();
    for index in 0..text.len() {
        for other in ['A', 'B', '.', '=', '\u{e9}'] {
            let mut changed = text.to_owned();
            changed.replace_range(index..=index, &other.to_string());
            if changed != text {
                assert_eq!(own.granted(&changed.as_str().into()), None, "{changed}");
            }
        }
        assert_eq!(own.granted(&text[..index].into()), None);
    }
    let (payload, code) = text.split_once('.').unwrap();
    let grown = URL_SAFE_NO_PAD.encode(r#"{"sub":"root","exp":99999999999,"scope":"repository:team/app:*"}"#);
    let algorithm = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(code).unwrap()[..16]);
    for forged in [
        format!("{grown}.{code}"),
        format!("{grown}."),
        grown.clone(),
        format!("{payload}.{short}"),
        format!("{algorithm}.{grown}."),
        format!("{algorithm}.{payload}.{code}"),
        format!("{text}.{code}"),
        format!("{text} "),
        format!(".{code}"),
        ".".to_owned(),
        String::new(),
        "a".repeat(MAX_TOKEN + 1),
    ] {
        assert_eq!(own.granted(&forged.as_str().into()), None, "{forged}");
    }
}

#[test]
fn the_largest_token_fits_into_what_is_read() {
    let own = issuer(tokens());
    let name = "n".repeat(200);
    let scopes: Vec<_> =
        (0..Scopes::MAX).map(|n| format!("repository:{name}{n}/{name}:pull,push,delete")).collect();
    let scopes = Scopes::parse(&scopes.join(" "));
    let token = own.access(Some(&"n".repeat(255)), &scopes).unwrap();
    assert!(token.expose().len() < MAX_TOKEN, "{}", token.expose().len());
    assert_eq!(own.granted(&token).unwrap().scopes, scopes);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |tokens: Tokens| Issuer::new(tokens).map(|_| ()).unwrap_err().to_string();
    for realm in
        ["/token", "registry.example/token", "ftp://a/token", "https://a/token?x=y", "https://u:p@a/token"]
    {
        assert_eq!(
            refused(Tokens::new(realm)),
            format!("`{realm}` is no absolute URL of http or https without a query")
        );
    }
    let text = "has 1 to 255 characters of printable ASCII without quotes and backslashes";
    assert_eq!(refused(Tokens::new("https://a/\"")), format!("a token service's URL {text}"));
    assert_eq!(refused(tokens().service("a\"b")), format!("a service's name {text}"));
    assert_eq!(refused(tokens().service("")), format!("a service's name {text}"));
    assert_eq!(refused(tokens().key(&KEY[1..])), "a key has 32 bytes at least");
    assert_eq!(refused(tokens().lifetime(Duration::from_secs(59))), "a token lasts 60 s at least");
    let issuer = issuer(Tokens::new("http://127.0.0.1:5000"));
    assert_eq!((issuer.service.as_str(), issuer.path.as_str()), ("127.0.0.1:5000", "/"));
}

#[test]
fn the_key_is_not_shown() {
    let shown = format!("{:?} {:?}", tokens(), issuer(tokens()));
    assert!(!shown.contains("0123"), "{shown}");
}
