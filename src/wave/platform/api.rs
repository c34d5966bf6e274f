//! The calls of a platform.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::exchange::{Answer, Exchange, sensitive};
use super::listing::Listing;
use super::packet::Keys;
use super::pairing::Paired;
use super::tokens::{Renewals, Session, Tokens};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::secret::Secret;
use crate::wave::request::invalid;

/// Someone whom a platform knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct User {
    /// The number by which the platform knows the user.
    pub id: u64,
    /// The name that the user logs in with.
    pub user_name: String,
    /// The address, where the platform tells it.
    pub email: Option<String>,
}

/// What asks platforms, as their users.
#[derive(Clone)]
pub(super) struct Api {
    exchange: Exchange,
    renewals: Renewals,
}

impl Api {
    pub(super) fn new(exchange: Exchange, renewals: Renewals) -> Self {
        Self { exchange, renewals }
    }

    /// Whom the access token belongs to.
    pub(super) async fn user(&self, session: &Session) -> Result<User, Error> {
        let answer = self.get(session, "/user-info", MAX_USER, "the user").await.map_err(gateway)?;
        let answer: UserInfo = serde_json::from_slice(&answer).map_err(|_| nonsense(session, "a user"))?;
        Ok(answer.user)
    }

    /// What the platform keeps in the workspace, and the length of its answer.
    pub(super) async fn listing(&self, session: &Session) -> Result<(Listing, usize), Error> {
        let (path, what) = match session.workspace {
            Some(id) => {
                (format!("/credentials?workspaceId={id}"), format!("the credentials of the workspace {id}"))
            }
            None => ("/credentials".to_owned(), "the credentials of the personal workspace".to_owned()),
        };
        let answer =
            self.get(session, &path, MAX_LIST, &what).await.map_err(|error| match session.workspace {
                Some(id) if error.kind() == ErrorKind::NotFound => {
                    invalid(format!("`towerWorkspaceId`: {} has no workspace {id}", session.endpoint))
                }
                _ => gateway(error),
            })?;
        let listing = Listing::read(&answer).ok_or_else(|| nonsense(session, "a list of credentials"))?;
        Ok((listing, answer.len()))
    }

    /// What the platform keeps under `id`, decrypted.
    pub(super) async fn keys(&self, session: &Session, paired: &Paired, id: &str) -> Result<Keys, Error> {
        let pairing = paired.id();
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let mut path = format!("/credentials/{id}/keys?pairingId={pairing}&keyId={pairing}");
        if let Some(workspace) = session.workspace {
            path.push_str(&format!("&workspaceId={workspace}"));
        }
        let answer = self.get(session, &path, MAX_KEYS, "the keys of a credential").await.map_err(gateway)?;
        let answer: Packet =
            serde_json::from_slice(&answer).map_err(|_| nonsense(session, "the keys of a credential"))?;
        paired.open(&answer.keys).ok_or_else(|| {
            let endpoint = &session.endpoint;
            Error::bad_gateway(format!("{endpoint} answered with keys that can't be decrypted"))
        })
    }

    /// Asks with the tokens that are there, then with those that they were or can be renewed with: what another
    /// process has, and what the platform gives for it.
    async fn get(&self, session: &Session, path: &str, max: usize, what: &str) -> Result<Bytes, Error> {
        let mut tokens = self.renewals.current(session);
        for _ in 0..MOST_RENEWALS {
            match self.ask(session, &tokens, path, max, what).await? {
                Some(answer) => return Ok(answer),
                None => tokens = self.renewals.renewed(session, tokens).await?,
            }
        }
        match self.ask(session, &tokens, path, max, what).await? {
            Some(answer) => Ok(answer),
            None => Err(Renewals::ended(session)),
        }
    }

    /// The answer; none when the platform doesn't take the token.
    async fn ask(
        &self,
        session: &Session,
        tokens: &Tokens,
        path: &str,
        max: usize,
        what: &str,
    ) -> Result<Option<Bytes>, Error> {
        let endpoint = &session.endpoint;
        let bearer = sensitive(&format!("Bearer {}", tokens.access.expose()))
            .ok_or_else(|| invalid("`towerAccessToken` has characters that no token has"))?;
        let request = Request::get(endpoint.call(path)?)
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|_| Error::internal("a call that makes no request"))?;
        let answer: Answer = self.exchange.send(endpoint, request, max).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(None),
            status if status.is_success() => Ok(Some(answer.body)),
            _ => Err(answer.failure(endpoint, what, &tokens.secrets())),
        }
    }
}

/// An answer of 404 is no absence of the client's.
fn gateway(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::bad_gateway(error.message()),
        _ => error,
    }
}

fn nonsense(session: &Session, what: &str) -> Error {
    // The answer itself may be a secret, and so may what the parser says of it.
    Error::bad_gateway(format!("{} answered with something else than {what}", session.endpoint))
}

#[derive(Deserialize)]
struct UserInfo {
    user: User,
}

#[derive(Deserialize)]
struct Packet {
    keys: Secret,
}

/// Once to what another process has, once to what that can be renewed with.
const MOST_RENEWALS: usize = 2;

/// The largest answers that are read, in bytes.
const MAX_USER: usize = 64 * 1024;
const MAX_LIST: usize = 1024 * 1024;
const MAX_KEYS: usize = 64 * 1024;
