use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower::ServiceExt as _;
use tower_service::Service;

use super::faulty::value;
use super::token::{Account, Scope, TokenField, TokenSettings, basic, grant, parameters, plain};
use super::when::Kind;
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::BoxFuture;

type Answer = BoxFuture<'static, Result<http::Response<Body>, Error>>;

/// The bearer flow of registries around an HTTP service: a challenge that names the scope, a token endpoint, and
/// tokens that are good for what they were granted for.
///
/// The token endpoint is `/token` on the same host, or a service of its own: [`BearerAuth::token_endpoint`]. It
/// understands `GET` with Basic authentication or without, and `POST` with a password or an identity token
/// ([Docker's token authentication](https://distribution.github.io/distribution/spec/auth/token/)).
///
/// Clones share tokens; settings are made before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
/// use tower::ServiceExt;
/// use tower_oci::body::Body;
/// use tower_oci::testing::{Account, BearerAuth, echo};
///
/// let upstream = BearerAuth::new(echo()).account(Account::new("alice", "secret").may("a/b", &["pull"]));
/// let request = http::Request::get("https://r.example/v2/a/b/tags/list").body(Body::empty()).unwrap_or_default();
/// let response = upstream.oneshot(request).await?;
/// assert_eq!(response.status(), 401);
/// assert_eq!(
///     response.headers()["www-authenticate"],
///     r#"Bearer realm="https://r.example/token",service="testing",scope="repository:a/b:pull""#,
/// );
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BearerAuth<S> {
    inner: S,
    settings: Arc<Settings>,
    tokens: Arc<Mutex<Tokens>>,
}

#[derive(Clone)]
struct Settings {
    realm: Option<String>,
    service: String,
    accounts: Vec<Account>,
    anonymous: Account,
    tokens: TokenSettings,
}

#[derive(Default)]
struct Tokens {
    issued: usize,
    /// What each is granted, and until when; for ever when the clock doesn't reach so far.
    valid: BTreeMap<String, (BTreeSet<Scope>, Option<Instant>)>,
}

impl<S> BearerAuth<S> {
    /// Nobody may do anything yet, not even without an account.
    pub fn new(inner: S) -> Self {
        let settings = Settings {
            realm: None,
            service: "testing".to_owned(),
            accounts: Vec::new(),
            anonymous: Account::new("", ""),
            tokens: TokenSettings::new(),
        };
        Self { inner, settings: Arc::new(settings), tokens: Arc::default() }
    }

    /// The URL of the token endpoint, when it isn't `/token` on the same host.
    #[must_use]
    pub fn realm(mut self, url: impl Into<String>) -> Self {
        self.change().realm = Some(url.into());
        self
    }

    /// The `service` of challenges: `testing` when not set.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.change().service = service.into();
        self
    }

    /// One more who is known.
    #[must_use]
    pub fn account(mut self, account: Account) -> Self {
        self.change().accounts.push(account);
        self
    }

    /// What may be done with a token that was asked for without credentials; see [`Account::may`].
    #[must_use]
    pub fn anonymous_may(mut self, repository: &str, actions: &[&str]) -> Self {
        let anonymous = self.settings.anonymous.clone();
        self.change().anonymous = anonymous.may(repository, actions);
        self
    }

    /// What tokens look like and how long they last.
    #[must_use]
    pub fn tokens(mut self, tokens: TokenSettings) -> Self {
        self.change().tokens = tokens;
        self
    }

    /// Makes all tokens expire now.
    pub fn expire_all(&self) {
        let now = Instant::now();
        for (_, end) in self.table().valid.values_mut() {
            *end = Some(now);
        }
    }

    /// How many tokens were handed out.
    #[must_use]
    pub fn issued(&self) -> usize {
        self.table().issued
    }

    /// The token endpoint alone, to be put on a host of its own.
    #[must_use]
    pub fn token_endpoint(
        &self,
    ) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Error, Future: Send>
    + Clone
    + Send
    + Sync
    + use<S>
    + 'static {
        let (settings, tokens) = (Arc::clone(&self.settings), Arc::clone(&self.tokens));
        tower::service_fn(move |request: http::Request<Body>| {
            issue(Arc::clone(&settings), Arc::clone(&tokens), request)
        })
    }

    fn change(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    fn table(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.tokens)
    }

    /// What is answered when the request may not pass.
    fn refusal(&self, parts: &request::Parts) -> Option<http::Response<Body>> {
        let needed = needed(parts);
        let error = match bearer(&parts.headers) {
            None => None,
            Some(token) => match self.table().valid.get(token) {
                None => Some("invalid_token"),
                Some((_, Some(end))) if *end <= Instant::now() => {
                    if self.settings.tokens.expired_status != StatusCode::UNAUTHORIZED {
                        let text = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
                        return Some(plain(self.settings.tokens.expired_status, text));
                    }
                    Some("invalid_token")
                }
                Some((granted, _)) if needed.is_subset(granted) => return None,
                Some(_) => Some("insufficient_scope"),
            },
        };
        let own = format!("{}/token", origin(parts));
        let realm = self.settings.realm.as_deref().unwrap_or(&own);
        let mut challenge = format!(r#"Bearer realm="{realm}",service="{}""#, self.settings.service);
        if !needed.is_empty() {
            challenge.push_str(&format!(r#",scope="{}""#, written(&needed)));
        }
        if let Some(error) = error {
            challenge.push_str(&format!(r#",error="{error}""#));
        }
        Some(unauthorized(&challenge))
    }
}

/// Without accounts and tokens.
impl<S> fmt::Debug for BearerAuth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("issued", &self.issued()).finish_non_exhaustive()
    }
}

impl<S, B, C> Service<http::Request<B>> for BearerAuth<S>
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let body = Body::new(body);
        if parts.uri.path() == "/token" && self.settings.realm.is_none() {
            let (settings, tokens) = (Arc::clone(&self.settings), Arc::clone(&self.tokens));
            return Box::pin(issue(settings, tokens, http::Request::from_parts(parts, body)));
        }
        match self.refusal(&parts) {
            Some(refusal) => Box::pin(std::future::ready(Ok(refusal))),
            None => pass(self.inner.clone(), http::Request::from_parts(parts, body)),
        }
    }
}

/// Basic authentication around an HTTP service: whoever is known may do everything.
#[derive(Clone, Debug)]
pub struct BasicAuth<S> {
    inner: S,
    accounts: Arc<Vec<Account>>,
}

impl<S> BasicAuth<S> {
    /// Nobody is known yet.
    pub fn new(inner: S) -> Self {
        Self { inner, accounts: Arc::default() }
    }

    /// One more who is known.
    #[must_use]
    pub fn account(mut self, account: Account) -> Self {
        Arc::make_mut(&mut self.accounts).push(account);
        self
    }
}

impl<S, B, C> Service<http::Request<B>> for BasicAuth<S>
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shown = basic(request.headers());
        if shown.is_some_and(|shown| self.accounts.iter().any(|account| shown.is_of(account))) {
            return pass(self.inner.clone(), request.map(Body::new));
        }
        Box::pin(std::future::ready(Ok(unauthorized(r#"Basic realm="testing""#))))
    }
}

fn pass<S, C>(inner: S, request: http::Request<Body>) -> Answer
where
    S: Service<http::Request<Body>, Response = http::Response<C>, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
    C: HttpBody<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    Box::pin(async move {
        let response = inner.oneshot(request).await.map_err(|error| Error::from(error.into()))?;
        Ok(response.map(Body::new))
    })
}

/// Answers a request to the token endpoint.
async fn issue(
    settings: Arc<Settings>,
    tokens: Arc<Mutex<Tokens>>,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let body = body.read(64 << 10).await?;
    let granted = grant(&parts, &body, &settings.tokens, &settings.accounts, &settings.anonymous);
    let granted = match granted {
        Ok(granted) => granted,
        Err((status, json)) => return Ok(plain(status, json)),
    };
    let token = {
        let mut tokens = lock(&tokens);
        tokens.issued += 1;
        let token = format!("bearer-token-{}", tokens.issued);
        let end = Instant::now().checked_add(settings.tokens.lifetime);
        tokens.valid.insert(token.clone(), (granted, end));
        token
    };
    let mut members = Vec::new();
    if settings.tokens.field != TokenField::AccessToken {
        members.push(format!(r#""token":"{token}""#));
    }
    if settings.tokens.field != TokenField::Token {
        members.push(format!(r#""access_token":"{token}""#));
    }
    members.extend(settings.tokens.expires_in.map(|seconds| format!(r#""expires_in":{seconds}"#)));
    let mut response = http::Response::new(Body::from(format!("{{{}}}", members.join(","))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What a request needs to be granted.
fn needed(parts: &request::Parts) -> BTreeSet<Scope> {
    let path = parts.uri.path();
    let after = match Kind::of(path) {
        Kind::Manifest => "/manifests/",
        Kind::Blob | Kind::Upload => "/blobs/",
        Kind::Tags => "/tags/",
        Kind::Referrers => "/referrers/",
        Kind::Catalog => {
            let all =
                Scope { kind: "registry".to_owned(), name: "catalog".to_owned(), action: "*".to_owned() };
            return BTreeSet::from([all]);
        }
        Kind::Ping | Kind::Other => return BTreeSet::new(),
    };
    let path = path.strip_prefix("/v2/").unwrap_or(path);
    let name = path.rsplit_once(after).map_or(path, |(name, _)| name);
    let actions: &[&str] = match parts.method {
        Method::GET | Method::HEAD if Kind::of(parts.uri.path()) != Kind::Upload => &["pull"],
        Method::DELETE if Kind::of(parts.uri.path()) != Kind::Upload => &["delete"],
        _ => &["pull", "push"],
    };
    let mut needed: BTreeSet<Scope> = actions.iter().map(|action| Scope::repository(name, action)).collect();
    let from = parameters(parts.uri.query().unwrap_or_default(), "from");
    needed.extend(from.iter().map(|from| Scope::repository(from, "pull")));
    needed
}

/// Scopes as a challenge has them: the actions on one thing together.
fn written(scopes: &BTreeSet<Scope>) -> String {
    let mut things = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for scope in scopes {
        things.entry((&scope.kind, &scope.name)).or_default().push(&scope.action);
    }
    let things = things.iter().map(|((kind, name), actions)| format!("{kind}:{name}:{}", actions.join(",")));
    things.collect::<Vec<_>>().join(" ")
}

/// Scheme and host that the request was sent to.
fn origin(parts: &request::Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or("localhost");
    format!("{}://{host}", parts.uri.scheme_str().unwrap_or("http"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(challenge: &str) -> http::Response<Body> {
    let text = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let mut response = plain(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, value(challenge));
    response
}

fn lock(tokens: &Mutex<Tokens>) -> MutexGuard<'_, Tokens> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
