//! The tokens that a request's own ones were exchanged for, when those had ended.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::access::PlatformAccess;
use super::endpoint::Endpoint;
use super::exchange::Exchange;
use super::kept::Key;
use super::sealed;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::layer::cache::flight::Flights;
use crate::rt::{Clock, Tasks};
use crate::secret::Secret;
use crate::store::Records;
use crate::store::recent::{Recent, lock};

/// An access at a platform that is trusted.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) endpoint: Endpoint,
    pub(super) workspace: Option<u64>,
    original: Tokens,
    pub(super) key: Key,
}

impl Session {
    pub(super) fn new(endpoint: Endpoint, access: &PlatformAccess) -> Self {
        let (token, refresh) = access.tokens();
        let original = Tokens { access: token.clone(), refresh: refresh.cloned() };
        // Without the refresh token somebody's wrong one would stand for everybody's.
        let key = Key::of(&[endpoint.as_str().as_bytes(), &original.material()]);
        Self { endpoint, workspace: access.workspace_id(), original, key }
    }

    /// The platform doesn't take the token of this access.
    fn refused(&self, why: &str) -> Error {
        let message = format!("{} doesn't accept the access token{why}", self.endpoint);
        Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, message)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

/// What opens an account of a platform, and what it can be renewed with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access: Secret,
    refresh: Option<Secret>,
}

impl Tokens {
    /// All of it, for messages that mustn't have it in them.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        [Some(self.access.clone()), self.refresh.clone()].into_iter().flatten().collect()
    }

    /// What a key can be derived from.
    fn material(&self) -> Vec<u8> {
        let refresh = self.refresh.as_ref().map_or("", Secret::expose);
        Key::of(&[self.access.expose().as_bytes(), refresh.as_bytes()]).as_bytes().to_vec()
    }
}

/// The tokens that are good now, in memory; those that were renewed in records as well, sealed with the ones that the
/// request brought, so that other processes go on with them.
#[derive(Clone)]
pub(super) struct Renewals {
    current: Arc<Mutex<Recent<Key, Tokens>>>,
    records: Arc<dyn Records>,
    exchange: Exchange,
    clock: Clock,
    tasks: Tasks,
    flights: Arc<Flights<Key, Tokens>>,
}

impl Renewals {
    pub(super) fn new(records: Arc<dyn Records>, exchange: Exchange, clock: Clock, tasks: Tasks) -> Self {
        let current = Arc::new(Mutex::new(Recent::new(MOST_SESSIONS)));
        Self { current, records, exchange, clock, tasks, flights: Arc::default() }
    }

    /// The tokens to try.
    pub(super) fn current(&self, session: &Session) -> Tokens {
        lock(&self.current).get(&session.key).unwrap_or(&session.original).clone()
    }

    /// Those to try when the platform refused `refused`. Asked for once, however many were refused, and to its end:
    /// a refresh token is good for one use, and what comes of it must not be lost.
    pub(super) async fn renewed(&self, session: &Session, refused: Tokens) -> Result<Tokens, Error> {
        let renewing = || {
            let (this, session) = (self.clone(), session.clone());
            async move { this.renew(&session, refused).await }
        };
        let waiting = self.flights.fly(&self.tasks, session.key, renewing);
        waiting.ok_or_else(super::full)?.answer().await
    }

    /// No more can be done for those that were refused.
    pub(super) fn ended(session: &Session) -> Error {
        session.refused(", renewed or not")
    }

    async fn renew(&self, session: &Session, refused: Tokens) -> Result<Tokens, Error> {
        let current = self.current(session);
        if current != refused {
            return Ok(current);
        }
        if let Some(kept) = self.other(session, &refused).await? {
            return Ok(kept);
        }
        let Some(refresh) = &refused.refresh else { return Err(session.refused("")) };
        let fresh = match self.ask(session, refresh).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                // Another process may have been first to use the refresh token.
                let kept = self.other(session, &refused).await?;
                return kept.ok_or(error);
            }
            fresh => fresh?,
        };
        lock(&self.current).insert(session.key, fresh.clone(), 1);
        if let Err(error) = self.keep(session, &fresh).await {
            tracing::warn!(%error, "the renewed token of a platform is kept in memory only");
        }
        tracing::debug!(platform = session.endpoint.as_str(), "a platform renewed a token");
        Ok(fresh)
    }

    /// What the records have in the place of `refused`.
    async fn other(&self, session: &Session, refused: &Tokens) -> Result<Option<Tokens>, Error> {
        let Some(record) = self.records.get(&record(session)).await? else { return Ok(None) };
        // What can't be opened is as good as absent: the request's own tokens decide then.
        let opened = sealed::open(&session.original.material(), USE, &record);
        let kept = opened.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let Some(kept) = kept else { return Ok(None) };
        let kept = Tokens { access: kept.access, refresh: kept.refresh };
        if kept == *refused {
            return Ok(None);
        }
        lock(&self.current).insert(session.key, kept.clone(), 1);
        Ok(Some(kept))
    }

    async fn keep(&self, session: &Session, fresh: &Tokens) -> Result<(), Error> {
        let plain =
            Keep { access: fresh.access.expose(), refresh: fresh.refresh.as_ref().map(Secret::expose) };
        let sealed = sealed::seal(&session.original.material(), USE, &plain)?;
        self.records.put(&record(session), sealed, self.clock.now() + KEPT_FOR).await
    }

    async fn ask(&self, session: &Session, refresh: &Secret) -> Result<Tokens, Error> {
        let endpoint = &session.endpoint;
        let escaped = utf8_percent_encode(refresh.expose(), NON_ALPHANUMERIC);
        let request = Request::post(endpoint.call("/oauth/access_token")?)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Body::from(format!("grant_type=refresh_token&refresh_token={escaped}")))
            .map_err(|_| Error::internal("a form that makes no request"))?;
        let answer = self.exchange.send(endpoint, request, MAX_ANSWER).await?;
        match answer.status.as_u16() {
            200..=299 => {}
            400 | 401 | 403 => return Err(session.refused(", nor the refresh token")),
            _ => return Err(answer.failure(endpoint, "a new access token", std::slice::from_ref(refresh))),
        }
        let access = cookie(&answer.headers, "JWT").ok_or_else(|| {
            Error::bad_gateway(format!(
                "{endpoint} answered without a new access token when it was asked for one"
            ))
        })?;
        let refresh = cookie(&answer.headers, "JWT_REFRESH_TOKEN").unwrap_or_else(|| refresh.clone());
        Ok(Tokens { access, refresh: Some(refresh) })
    }
}

/// The value of a cookie that is set ([RFC 6265, 4.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1)).
fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret> {
    headers.get_all(header::SET_COOKIE).iter().find_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?;
        let (found, value) = pair.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        (found.trim() == name && !value.is_empty()).then(|| value.into())
    })
}

fn record(session: &Session) -> String {
    format!("platform/tokens/{}", session.key.hex())
}

/// What is sealed.
#[derive(Serialize)]
struct Keep<'a> {
    access: &'a str,
    refresh: Option<&'a str>,
}

#[derive(Deserialize)]
struct Kept {
    access: Secret,
    refresh: Option<Secret>,
}

const USE: &str = "platform tokens";

/// The largest answer that is read when a token is renewed; what counts of it are its headers.
const MAX_ANSWER: usize = 64 * 1024;

/// The most accesses whose renewed tokens are in memory.
const MOST_SESSIONS: usize = 4096;

/// For how long renewed tokens are of use to others; each renewal counts anew.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
