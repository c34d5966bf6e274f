use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;

use crate::body::Body;

/// Someone who is known to a registry for tests, and what he may do.
///
/// ```
/// use tower_oci::testing::Account;
///
/// let account = Account::new("alice", "secret").may("library/busybox", &["pull"]).may("alice/*", &["pull", "push"]);
/// # let _ = account;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Account {
    user: String,
    password: String,
    identity_token: Option<String>,
    grants: Vec<(String, Vec<String>)>,
}

impl Account {
    /// An account that may do nothing yet.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into(), identity_token: None, grants: Vec::new() }
    }

    /// May do `actions` (`pull`, `push`, `delete`) in a repository: its name, or a prefix and `*`.
    pub fn may(mut self, repository: impl Into<String>, actions: &[&str]) -> Self {
        self.grants.push((repository.into(), actions.iter().map(|&action| action.to_owned()).collect()));
        self
    }

    /// Has this identity token, which is taken as `refresh_token`.
    pub fn identity_token(mut self, token: impl Into<String>) -> Self {
        self.identity_token = Some(token.into());
        self
    }

    fn grants(&self, scope: &Scope) -> bool {
        self.grants.iter().any(|(pattern, actions)| {
            let named = match pattern.strip_suffix('*') {
                Some(prefix) => scope.name.starts_with(prefix),
                None => *pattern == scope.name,
            };
            named && actions.contains(&scope.action)
        })
    }
}

/// Without password and identity token.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// In which member an answer of a token endpoint has the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenField {
    /// `token`
    #[default]
    Token,
    /// `access_token`
    AccessToken,
    /// Both, with the same value.
    Both,
}

/// What a token endpoint hands out.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TokenSettings {
    pub(super) field: TokenField,
    pub(super) expires_in: Option<u64>,
    pub(super) lifetime: Duration,
    pub(super) post: bool,
    pub(super) expired_status: StatusCode,
}

impl TokenSettings {
    /// `token`, valid for five minutes, which is told; `POST` is understood; an expired one gets a 401.
    pub fn new() -> Self {
        Self {
            field: TokenField::Token,
            expires_in: Some(300),
            lifetime: Duration::from_secs(300),
            post: true,
            expired_status: StatusCode::UNAUTHORIZED,
        }
    }

    /// The token stands in this member.
    pub fn field(mut self, field: TokenField) -> Self {
        self.field = field;
        self
    }

    /// How long a token is said to be valid, in seconds; not told when `None`.
    pub fn expires_in(mut self, seconds: Option<u64>) -> Self {
        self.expires_in = seconds;
        self
    }

    /// How long a token is valid in truth.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whether `POST` (OAuth2) is understood, or answered with 405.
    pub fn post(mut self, understood: bool) -> Self {
        self.post = understood;
        self
    }

    /// The status for a request with an expired token: 401 with a challenge, or 403 as ECR has it.
    pub fn expired_status(mut self, status: StatusCode) -> Self {
        self.expired_status = status;
        self
    }
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// One action on one thing: `repository:<name>:<action>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) action: String,
}

impl Scope {
    pub(super) fn repository(name: &str, action: &str) -> Self {
        Self { kind: "repository".to_owned(), name: name.to_owned(), action: action.to_owned() }
    }

    /// All that a `scope` parameter names.
    fn parse(text: &str) -> Vec<Self> {
        let mut scopes = Vec::new();
        for item in text.split_ascii_whitespace() {
            // A name may contain a colon, before a port.
            let Some((kind, rest)) = item.split_once(':') else { continue };
            let Some((name, actions)) = rest.rsplit_once(':') else { continue };
            scopes.extend(actions.split(',').map(|action| Self {
                kind: kind.to_owned(),
                name: name.to_owned(),
                action: action.to_owned(),
            }));
        }
        scopes
    }
}

/// What the answer to a request to a token endpoint grants: what is asked for, as far as it may be had. Or a status
/// and JSON that are answered instead.
pub(super) fn grant(
    parts: &http::request::Parts,
    body: &Bytes,
    settings: &TokenSettings,
    accounts: &[Account],
    anonymous: &Account,
) -> Result<BTreeSet<Scope>, (StatusCode, &'static str)> {
    let form = String::from_utf8_lossy(body);
    let (text, credential) = if parts.method == Method::GET {
        (parts.uri.query().unwrap_or_default(), basic(&parts.headers))
    } else if parts.method == Method::POST && settings.post {
        let credential = match parameter(&form, "grant_type").as_deref() {
            Some("refresh_token") => parameter(&form, "refresh_token").map(Credential::Identity),
            Some("password") => {
                let (user, password) = (parameter(&form, "username"), parameter(&form, "password"));
                user.zip(password).map(|(user, password)| Credential::Password(user, password))
            }
            _ => return Err((StatusCode::BAD_REQUEST, r#"{"error":"unsupported_grant_type"}"#)),
        };
        (&*form, credential)
    } else {
        return Err((StatusCode::METHOD_NOT_ALLOWED, r#"{"details":"no such method"}"#));
    };
    let account = match credential {
        None => Some(anonymous),
        Some(credential) => accounts.iter().find(|account| credential.is_of(account)),
    };
    let Some(account) = account else {
        return Err((StatusCode::UNAUTHORIZED, r#"{"details":"incorrect credentials"}"#));
    };
    let scopes = parameters(text, "scope").into_iter().flat_map(|scope| Scope::parse(&scope));
    Ok(scopes.filter(|scope| account.grants(scope)).collect())
}

/// What someone shows.
#[derive(PartialEq, Eq)]
pub(super) enum Credential {
    Password(String, String),
    Identity(String),
}

impl Credential {
    pub(super) fn is_of(&self, account: &Account) -> bool {
        match self {
            Self::Password(user, password) => *user == account.user && *password == account.password,
            Self::Identity(token) => account.identity_token.as_ref() == Some(token),
        }
    }
}

/// User and password of an `Authorization: Basic` header.
pub(super) fn basic(headers: &HeaderMap) -> Option<Credential> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded =
        BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credential::Password(user.to_owned(), password.to_owned()))
}

/// An answer that isn't the specification's.
pub(super) fn plain(status: StatusCode, json: &'static str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The values of a parameter in a query or a form.
pub(super) fn parameters(text: &str, name: &str) -> Vec<String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
        .collect()
}

pub(super) fn parameter(text: &str, name: &str) -> Option<String> {
    parameters(text, name).into_iter().next()
}
