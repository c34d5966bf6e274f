use http::{HeaderMap, Uri, header};

use crate::client::origin::WebOrigin;
use crate::error::Error;
use crate::http::challenge::{self, Challenge};
use crate::http::scope::Scopes;

/// How an upstream wants to be asked: what is remembered of its challenge, so that it isn't provoked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Scheme {
    /// By a token from the service at `realm`.
    Bearer(TokenService),
    /// By user name and password.
    Basic,
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct TokenService {
    /// Absolute, http or https, and without user information.
    pub(in crate::client) realm: Uri,
    pub(in crate::client) origin: WebOrigin,
    pub(in crate::client) service: Option<String>,
}

/// A challenge that was understood.
#[derive(Debug)]
pub(in crate::client) struct Demand {
    pub(in crate::client) scheme: Scheme,
    /// What the upstream says that it takes.
    pub(in crate::client) scopes: Scopes,
}

impl Demand {
    /// Reads the challenges of a 401: the first bearer token that can be had, else Basic. None when there is no
    /// challenge at all.
    ///
    /// # Errors
    ///
    /// When there are challenges, but none that is known or may be followed.
    pub(in crate::client) fn read(headers: &HeaderMap, upstream: &WebOrigin) -> Result<Option<Self>, Error> {
        let challenges = challenge::parse(headers.get_all(header::WWW_AUTHENTICATE).iter());
        let mut refused = None;
        for challenge in challenges.iter().filter(|challenge| challenge.scheme == "bearer") {
            match token_service(challenge, upstream) {
                Ok(service) => {
                    let scopes = challenge.parameter("scope").map(Scopes::parse).unwrap_or_default();
                    return Ok(Some(Self { scheme: Scheme::Bearer(service), scopes }));
                }
                Err(reason) => refused = Some(reason),
            }
        }
        if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            return Ok(Some(Self { scheme: Scheme::Basic, scopes: Scopes::default() }));
        }
        match (refused, challenges.first()) {
            (Some(reason), _) => Err(Error::denied(format!("{upstream} wants a token, but {reason}"))),
            (None, Some(_)) => Err(Error::denied(format!(
                "{upstream} wants authentication by neither of the schemes Bearer and Basic"
            ))),
            (None, None) => Ok(None),
        }
    }
}

/// The token service of a challenge, or why it may not be asked.
fn token_service(challenge: &Challenge, upstream: &WebOrigin) -> Result<TokenService, String> {
    let realm = challenge.parameter("realm").ok_or("doesn't say where from")?;
    let uri: Uri = realm.parse().map_err(|_| "its realm is no URL")?;
    let origin = WebOrigin::of(&uri).ok_or("its realm is no URL of http or https")?;
    if upstream.is_https() && !origin.is_https() {
        return Err(format!("only over plain http, from {origin}"));
    }
    let service = challenge.parameter("service").filter(|service| !service.is_empty()).map(str::to_owned);
    Ok(TokenService { realm: uri, origin, service })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn read(challenges: &[&str]) -> Result<Option<Demand>, Error> {
        let upstream = WebOrigin::of(&"https://registry.example".parse().unwrap()).unwrap();
        let headers =
            challenges.iter().map(|value| (header::WWW_AUTHENTICATE, value.parse().unwrap())).collect();
        Demand::read(&headers, &upstream)
    }

    fn bearer(challenges: &[&str]) -> (String, Option<String>, String) {
        let demand = read(challenges).unwrap().unwrap();
        let Scheme::Bearer(service) = demand.scheme else { panic!("{demand:?}") };
        (service.realm.to_string(), service.service, demand.scopes.to_string())
    }

    #[test]
    fn challenges_of_the_wild_are_understood() {
        let wanted = (
            "https://auth.example/token".to_owned(),
            Some("registry.example".to_owned()),
            "repository:a/b:pull".to_owned(),
        );
        for challenges in [
            &[
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#,
            ][..],
            &[
                r#"Bearer scope="repository:a/b:pull" , service="registry.example",  realm="https://auth.example/token""#,
            ],
            &[
                r#"Basic realm="x", bearer service=registry.example, realm="https://auth.example/token",scope="repository:a/b:pull""#,
            ],
            &[
                "Negotiate",
                r#"Basic realm="Registry Realm""#,
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull",error="invalid_token""#,
            ],
        ] {
            assert_eq!(bearer(challenges), wanted, "{challenges:?}");
        }
        let star = bearer(&[r#"Bearer realm="https://auth.example/token",scope="*""#]);
        assert_eq!(star, ("https://auth.example/token".to_owned(), None, String::new()));
        let basic = read(&[r#"Basic realm="Sonatype Nexus""#]).unwrap().unwrap();
        assert_eq!(basic.scheme, Scheme::Basic);
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn realms_that_may_not_be_followed_are_refused() {
        for (realm, reason) in [
            ("http://auth.example/token", "only over plain http, from http://auth.example"),
            ("ftp://auth.example/token", "its realm is no URL of http or https"),
            ("/token", "its realm is no URL of http or https"),
            ("https://auth.example@evil.example/", "its realm is no URL of http or https"),
            ("not a url", "its realm is no URL"),
        ] {
            let error = read(&[&format!("Bearer realm=\"{realm}\"")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert_eq!(error.message(), format!("registry.example wants a token, but {reason}"));
        }
        let error = read(&["Negotiate abcd="]).unwrap_err();
        assert_eq!(
            error.message(),
            "registry.example wants authentication by neither of the schemes Bearer and Basic"
        );
    }
}
