use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::Instant;

use super::scheme::TokenService;
use crate::body::Body;
use crate::error::Error;
use crate::http::scope::Scopes;
use crate::operation::Credential;
use crate::secret::Secret;

/// A token, and how long it is used.
#[derive(Debug)]
pub(in crate::client) struct Token {
    pub(in crate::client) secret: Secret,
    /// The header that it is sent in; marked as sensitive.
    pub(in crate::client) header: HeaderValue,
    renew: Instant,
}

/// The largest answer that is read from a token service: 64 KiB.
pub(in crate::client) const MAX_ANSWER: usize = 64 * 1024;

/// What a token lives at least, and where the service doesn't say how long
/// ([token specification](https://distribution.github.io/distribution/spec/auth/token/)).
const SHORTEST: Duration = Duration::from_secs(60);

/// However long a token is said to live, it is renewed after this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The unreserved characters of RFC 3986, and those that token services are used to see as they are.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b',')
    .remove(b'*');

impl Token {
    /// A token that lives for `life` from `asked` on, and is renewed when four fifths of that are over.
    fn new(secret: Secret, asked: Instant, life: Duration) -> Result<Self, Error> {
        let header = bearer(&secret)?;
        let renew = life.clamp(SHORTEST, LONGEST) / 5 * 4;
        Ok(Self { secret, header, renew: asked.checked_add(renew).unwrap_or(asked) })
    }

    pub(in crate::client) fn is_fresh(&self) -> bool {
        Instant::now() < self.renew
    }
}

/// What a token service answers.
#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<serde_json::Number>,
}

/// Reads the answer of a token service to a request that was sent at `asked`.
///
/// # Errors
///
/// When it isn't what the token specification says.
pub(in crate::client) fn read(
    answer: &[u8],
    asked: Instant,
    host: &dyn std::fmt::Display,
) -> Result<Token, Error> {
    // The answer itself is a secret: it isn't shown, and neither is what the parser says of it.
    let nonsense = |what: &str| Error::bad_gateway(format!("the token service {host} answered {what}"));
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| nonsense("with something else than a token"))?;
    let secret = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let secret = secret.ok_or_else(|| nonsense("without a token"))?;
    let life = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds.as_f64()?).ok());
    Token::new(secret, asked, life.unwrap_or(SHORTEST))
        .map_err(|_| nonsense("with a token that no header can hold"))
}

/// A request for a token. Without `trusted` nothing of the credential is in it.
///
/// User name and password go by `GET` with Basic, an identity token by `POST` as OAuth2 has it.
///
/// # Errors
///
/// When the realm makes no request.
pub(in crate::client) fn request(
    service: &TokenService,
    scopes: &Scopes,
    credential: &Credential,
    trusted: bool,
) -> Result<Request<Body>, Error> {
    let mut query = String::new();
    let mut add = |name: &str, value: &str| {
        let separator = if query.is_empty() { "" } else { "&" };
        query.push_str(separator);
        query.push_str(name);
        query.push('=');
        query.extend(utf8_percent_encode(value, IN_QUERY));
    };
    let request = Request::builder().header(header::ACCEPT, "application/json");
    let request = if let (Credential::IdentityToken(token), true) = (credential, trusted) {
        add("grant_type", "refresh_token");
        if let Some(service) = &service.service {
            add("service", service);
        }
        add("client_id", "tower-oci");
        let scopes: Vec<String> = scopes.iter().collect();
        if !scopes.is_empty() {
            add("scope", &scopes.join(" "));
        }
        add("refresh_token", token.expose());
        request
            .method(Method::POST)
            .uri(service.realm.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(query))
    } else {
        if let Some(service) = &service.service {
            add("service", service);
        }
        scopes.iter().for_each(|scope| add("scope", &scope));
        let mut request = request.uri(with_query(service, &query)?);
        if let (Credential::Basic { username, password }, true) = (credential, trusted) {
            request = request.header(header::AUTHORIZATION, basic(username, password)?);
        }
        request.body(Body::empty())
    };
    request.map_err(|error| {
        Error::bad_gateway(format!("the realm of {} makes no request", service.origin)).with_source(error)
    })
}

fn with_query(service: &TokenService, query: &str) -> Result<http::Uri, Error> {
    let mut parts = service.realm.clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    if !query.is_empty() {
        let separator = if !path.contains('?') {
            "?"
        } else if path.ends_with(['?', '&']) {
            ""
        } else {
            "&"
        };
        let joined = format!("{path}{separator}{query}").parse();
        parts.path_and_query = Some(joined.map_err(|error| {
            Error::bad_gateway(format!("the realm of {} makes no request", service.origin)).with_source(error)
        })?);
    }
    http::Uri::from_parts(parts).map_err(|error| {
        Error::bad_gateway(format!("the realm of {} makes no request", service.origin)).with_source(error)
    })
}

/// `Basic` with this user name and password, marked as sensitive.
///
/// # Errors
///
/// Never but for texts of absurd length.
pub(in crate::client) fn basic(username: &str, password: &Secret) -> Result<HeaderValue, Error> {
    sensitive(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

/// `Bearer` with this token, marked as sensitive.
///
/// # Errors
///
/// When a header can't hold it.
pub(in crate::client) fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    sensitive(format!("Bearer {}", token.expose()))
}

fn sensitive(text: String) -> Result<HeaderValue, Error> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Error::internal("a credential that no header can hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::origin::WebOrigin;
    use crate::operation::{ListTags, Operation};

    fn service(realm: &str, service: Option<&str>) -> TokenService {
        let realm: http::Uri = realm.parse().unwrap();
        let origin = WebOrigin::of(&realm).unwrap();
        TokenService { realm, origin, service: service.map(str::to_owned) }
    }

    fn scopes() -> Scopes {
        Scopes::of(&Operation::from(ListTags::new("a/b".parse().unwrap())))
    }

    fn life(answer: &str) -> Result<Duration, String> {
        let now = Instant::now();
        let token = read(answer.as_bytes(), now, &"auth.example").map_err(|error| error.to_string())?;
        assert_eq!(token.secret.expose(), "t");
        assert_eq!(token.header, "Bearer t");
        assert!(token.header.is_sensitive());
        Ok(token.renew - now)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_read_in_all_their_forms() {
        let secs = Duration::from_secs;
        assert_eq!(life(r#"{"token":"t"}"#), Ok(secs(48)));
        assert_eq!(life(r#"{"access_token":"t","expires_in":300}"#), Ok(secs(240)));
        assert_eq!(
            life(r#"{"token":"t","access_token":"u","expires_in":100.5,"issued_at":"x"}"#),
            Ok(Duration::from_millis(80_400))
        );
        assert_eq!(life(r#"{"token":"","access_token":"t","expires_in":1}"#), Ok(secs(48)));
        assert_eq!(life(r#"{"token":"t","expires_in":-5}"#), Ok(secs(48)));
        assert_eq!(life(r#"{"token":"t","expires_in":1e300}"#), Ok(secs(48)));
        assert_eq!(life(r#"{"token":"t","expires_in":99999999}"#), Ok(secs(69_120)));
        for (answer, said) in [
            ("", "with something else than a token"),
            ("<html>", "with something else than a token"),
            (r#"{"token":7}"#, "with something else than a token"),
            ("{}", "without a token"),
            (r#"{"token":null}"#, "without a token"),
            (r#"{"token":"a\nb"}"#, "with a token that no header can hold"),
        ] {
            assert_eq!(
                life(answer),
                Err(format!("the token service auth.example answered {said}")),
                "{answer}"
            );
        }
    }

    #[test]
    fn requests_carry_credentials_only_where_they_are_trusted() {
        let credential = Credential::basic("user", "hunter2");
        let service = service("https://auth.example/token", Some("registry.example"));
        let wanted = "https://auth.example/token?service=registry.example&scope=repository:a/b:pull";
        let trusted = request(&service, &scopes(), &credential, true).unwrap();
        assert_eq!(trusted.uri(), wanted);
        assert_eq!(trusted.headers()[header::AUTHORIZATION], "Basic dXNlcjpodW50ZXIy");
        for credential in [credential, Credential::IdentityToken("secret".into())] {
            let anonymous = request(&service, &scopes(), &credential, false).unwrap();
            assert_eq!((anonymous.method(), anonymous.uri().to_string().as_str()), (&Method::GET, wanted));
            assert_eq!(anonymous.headers().get(header::AUTHORIZATION), None);
            assert_eq!(anonymous.body().size(), Some(0));
        }
    }

    #[tokio::test]
    async fn an_identity_token_is_posted() {
        let service = service("https://auth.example/oauth2/token", Some("reg & co"));
        let request = request(&service, &scopes(), &Credential::IdentityToken("a+b=".into()), true).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::POST, "https://auth.example/oauth2/token")
        );
        assert_eq!(
            request.into_body().read(1000).await.unwrap(),
            "grant_type=refresh_token&service=reg%20%26%20co&client_id=tower-oci&scope=repository:a/b:pull&refresh_token=a%2Bb%3D"
        );
    }

    #[test]
    fn a_realm_keeps_its_own_query() {
        for (realm, uri) in [
            ("https://a.example/t?x=1", "https://a.example/t?x=1&scope=repository:a/b:pull"),
            ("https://a.example/t?", "https://a.example/t?scope=repository:a/b:pull"),
            ("https://a.example", "https://a.example/?scope=repository:a/b:pull"),
        ] {
            let request = request(&service(realm, None), &scopes(), &Credential::Anonymous, true).unwrap();
            assert_eq!(request.uri(), uri);
        }
    }
}
