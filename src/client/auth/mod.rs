//! How an upstream is told who asks: challenges, token services, tokens.
//!
//! The first challenge of an upstream is remembered, so that later requests bring their token along, until its token
//! service can't be had: then the next request provokes a new one. Tokens are kept by credential and canonical scope
//! set; one request for a token serves all who wait for it, and doesn't end with the one who asked first.

mod scheme;
mod slot;
mod token;
mod words;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use moka::future::Cache;
use tokio::time::Instant;
use tower::ServiceExt as _;

pub(super) use self::scheme::{Demand, Scheme, TokenService};
use self::slot::Slot;
pub(super) use self::token::Token;
pub(crate) use self::words::{hides, read as read_words};
use super::origin::WebOrigin;
use super::retry::retry_after;
use super::transport::HttpService;
use crate::error::{Error, ErrorCode, ErrorKind};
pub(super) use crate::http::scope::Scopes;
use crate::operation::{Credential, CredentialId};
use crate::secret::Secret;

/// How many tokens are kept for one upstream.
const MAX_TOKENS: u64 = 4096;

/// A request for a token that takes longer is given up, whoever still waits for it: those who come meanwhile share it, so
/// that one that hangs would otherwise hang for as long as there is traffic.
const FETCHED_WITHIN: Duration = Duration::from_secs(30);

/// A token that nobody used for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// Who asks an upstream.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) credential: Credential,
    id: CredentialId,
}

impl Who {
    pub(super) fn new(credential: Credential) -> Self {
        let id = credential.id();
        Self { credential, id }
    }

    /// Texts that must not be told on, should an upstream echo them.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match &self.credential {
            Credential::Basic { username, password } => {
                let header = token::basic(username, password).ok();
                let encoded = header.as_ref().and_then(|header| header.to_str().ok()?.strip_prefix("Basic "));
                [Some(password.clone()), encoded.map(Secret::from)].into_iter().flatten().collect()
            }
            Credential::IdentityToken(token) | Credential::RegistryToken(token) => vec![token.clone()],
            Credential::Anonymous => Vec::new(),
        }
    }
}

/// What a request is sent with.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// The token, if it is one that was asked for.
    pub(super) token: Option<Arc<Token>>,
    /// The token service that wasn't given the credential, since it is not trusted.
    pub(super) withheld: Option<WebOrigin>,
}

/// What came of a challenge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lesson {
    /// Whether the caller can answer it.
    pub(super) answerable: bool,
    /// Whether it wants a token. What was known before doesn't tell: another request may have learned the same meanwhile.
    pub(super) wants_token: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    credential: CredentialId,
    scopes: Scopes,
}

/// The state of one upstream.
pub(super) struct Auth {
    origin: WebOrigin,
    token_hosts: Vec<WebOrigin>,
    own: HttpService,
    elsewhere: HttpService,
    scheme: RwLock<Option<Scheme>>,
    /// Whether the last request for a token got none, and not since it was refused.
    doubtful: Arc<AtomicBool>,
    slots: Cache<Key, Arc<Slot>>,
}

impl Auth {
    /// For the upstream at `origin`. `own` reaches it and its token services `token_hosts`, `elsewhere` everything
    /// else, guarded.
    pub(super) fn new(
        origin: WebOrigin,
        token_hosts: Vec<WebOrigin>,
        own: HttpService,
        elsewhere: HttpService,
    ) -> Self {
        let slots = Cache::builder().max_capacity(MAX_TOKENS).time_to_idle(FORGOTTEN_AFTER).build();
        Self {
            origin,
            token_hosts,
            own,
            elsewhere,
            scheme: RwLock::default(),
            doubtful: Arc::default(),
            slots,
        }
    }

    /// Forgets the challenge where its token service couldn't be had the last time: the upstream may name another one by
    /// now. Answers whether it did. For the beginning of an operation, whose own retries know what they need.
    pub(super) fn reconsider(&self) -> bool {
        let is_doubtful = self.doubtful.swap(false, Ordering::Relaxed);
        if is_doubtful {
            *self.scheme.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        is_doubtful
    }

    /// What a request of `who` for `scopes` is to be sent with, by all that is known of the upstream.
    ///
    /// # Errors
    ///
    /// When a token is needed and can't be had.
    pub(super) async fn authorization(
        &self,
        who: &Who,
        scopes: &Scopes,
        refused: Option<&Token>,
    ) -> Result<Option<Authorization>, Error> {
        if let Credential::RegistryToken(token) = &who.credential {
            let header = token::bearer(token)?;
            return Ok(Some(Authorization { header, token: None, withheld: None }));
        }
        let scheme = self.scheme.read().unwrap_or_else(PoisonError::into_inner).clone();
        match (scheme, &who.credential) {
            (Some(Scheme::Basic), Credential::Basic { username, password }) => {
                let header = token::basic(username, password)?;
                Ok(Some(Authorization { header, token: None, withheld: None }))
            }
            (Some(Scheme::Bearer(service)), _) => {
                let trusted = self.trusts(&service.origin);
                let withheld =
                    (!trusted && who.credential != Credential::Anonymous).then(|| service.origin.clone());
                let token = self.token(who, scopes, service, refused).await?;
                Ok(Some(Authorization { header: token.header.clone(), token: Some(token), withheld }))
            }
            (Some(Scheme::Basic) | None, _) => Ok(None),
        }
    }

    /// Takes note of the challenge of a 401.
    ///
    /// # Errors
    ///
    /// When there are challenges, but none that may be followed.
    pub(super) async fn learn(
        &self,
        headers: &HeaderMap,
        who: &Who,
        scopes: &Scopes,
    ) -> Result<Lesson, Error> {
        let Some(demand) = Demand::read(headers, &self.origin)? else { return Ok(Lesson::default()) };
        let answerable = match (&demand.scheme, &who.credential) {
            (_, Credential::RegistryToken(_)) => false,
            (Scheme::Basic, credential) => matches!(credential, Credential::Basic { .. }),
            (Scheme::Bearer(_), _) => true,
        };
        if matches!(demand.scheme, Scheme::Bearer(_)) {
            let wanted = scopes.widened(&demand.scopes);
            if wanted != *scopes {
                self.slot(who, scopes).await.ask_for(wanted);
            }
        }
        let mut scheme = self.scheme.write().unwrap_or_else(PoisonError::into_inner);
        let wants_token = matches!(demand.scheme, Scheme::Bearer(_));
        if scheme.as_ref() != Some(&demand.scheme) {
            *scheme = Some(demand.scheme);
        }
        Ok(Lesson { answerable, wants_token })
    }

    fn trusts(&self, origin: &WebOrigin) -> bool {
        *origin == self.origin || self.token_hosts.contains(origin)
    }

    async fn slot(&self, who: &Who, scopes: &Scopes) -> Arc<Slot> {
        let key = Key { credential: who.id, scopes: scopes.clone() };
        self.slots.get_with(key, std::future::ready(Arc::default())).await
    }

    async fn token(
        &self,
        who: &Who,
        scopes: &Scopes,
        service: TokenService,
        refused: Option<&Token>,
    ) -> Result<Arc<Token>, Error> {
        let slot = self.slot(who, scopes).await;
        let trusted = self.trusts(&service.origin);
        let http = if trusted { self.own.clone() } else { self.elsewhere.clone() };
        let who = who.clone();
        let (own, doubtful) = (scopes.clone(), Arc::clone(&self.doubtful));
        slot.token(refused, move |wider| async move {
            // Given up counts as not had: who waits is often less patient than this.
            let mut outcome = Outcome { is_missing: true, doubtful };
            let wanted = wider.unwrap_or(own);
            let fetching = fetch(http, &service, &wanted, &who, trusted);
            let fetched = tokio::time::timeout(FETCHED_WITHIN, fetching).await.unwrap_or_else(|_| {
                let (host, seconds) = (&service.origin, FETCHED_WITHIN.as_secs());
                let message = format!("the token service {host} did not answer within {seconds} s");
                Err(Error::timed_out(message).into())
            });
            outcome.is_missing = fetched.as_ref().is_err_and(|failed| !failed.is_refusal);
            fetched.map_err(|failed| failed.error)
        })
        .await
    }
}

/// Takes note of what came of a request for a token, when it ends.
struct Outcome {
    is_missing: bool,
    doubtful: Arc<AtomicBool>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.doubtful.store(self.is_missing, Ordering::Relaxed);
    }
}

/// Why there is no token.
struct NoToken {
    error: Error,
    /// Whether the service was there and did not want to give one.
    is_refusal: bool,
}

impl From<Error> for NoToken {
    fn from(error: Error) -> Self {
        Self { error, is_refusal: false }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("origin", &self.origin).field("token_hosts", &self.token_hosts).finish()
    }
}

/// One request for a token. Redirects aren't followed.
async fn fetch(
    http: HttpService,
    service: &TokenService,
    scopes: &Scopes,
    who: &Who,
    trusted: bool,
) -> Result<Token, NoToken> {
    let host = &service.origin;
    let asked = Instant::now();
    let request = token::request(service, scopes, &who.credential, trusted)?;
    let named = |error: Error| error.context(format_args!("the token service {host}"));
    let response = http.oneshot(request).await.map_err(named)?;
    let (parts, body) = response.into_parts();
    let status = parts.status;
    if status.is_success() {
        let answer = body.read(token::MAX_ANSWER).await.map_err(|error| match error.kind() {
            ErrorKind::TooLarge => Error::bad_gateway(format!(
                "the token service {host} answered with more than {} bytes",
                token::MAX_ANSWER
            )),
            _ => named(error),
        })?;
        return Ok(token::read(&answer, asked, host)?);
    }
    let answered = format!("the token service {host} answered {status}");
    if status.is_redirection() {
        return Err(Error::bad_gateway(format!("{answered}, and redirects of it are not followed")).into());
    }
    let words = body.read(token::MAX_ANSWER).await.ok().and_then(|body| words::read(&body));
    let words = words.filter(|words| !words::hides(words, &who.secrets()));
    let wanted = if scopes.to_string().is_empty() { String::new() } else { format!(" to {scopes}") };
    let message = match words {
        Some(words) => format!("{answered}{wanted}: {words}"),
        None => format!("{answered}{wanted}"),
    };
    let error = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Error::unavailable(message)
        }
        _ if status.is_client_error() => Error::denied(message),
        _ => Error::bad_gateway(message),
    };
    let error = match retry_after(&parts.headers) {
        Some(retry_after) => error.with_retry_after(retry_after),
        None => error,
    };
    let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    Err(NoToken { error, is_refusal: status.is_client_error() && !is_gone })
}
