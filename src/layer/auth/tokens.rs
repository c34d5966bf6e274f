use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::builder::quotable;
use super::users::Revision;
use crate::error::Error;
use crate::http::scope::Scopes;
use crate::rt::Clock;
use crate::secret::{Mac, Secret};

/// How bearer tokens are handed out, and where.
///
/// A token says who asked for it, and for which scopes; it opens nothing beyond those. What its owner may do is judged
/// anew with every operation by the guards further inside, so that a right that is taken away ends at once, whatever
/// tokens there are.
///
/// It is a text of ours, signed with HMAC-SHA-256, and good for [`service`](Self::service) alone.
#[derive(Clone)]
#[must_use]
pub struct Tokens {
    realm: String,
    service: Option<String>,
    key: Option<Secret>,
    lifetime: Duration,
    refresh: Option<Duration>,
    clock: Clock,
}

impl Tokens {
    /// How long a token lasts unless [`Tokens::lifetime`] says otherwise: 5 minutes.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

    /// The shortest lifetime: 1 minute, which is what clients take for granted.
    pub const MIN_LIFETIME: Duration = Duration::from_secs(60);

    /// The fewest bytes of a key: 32.
    pub const MIN_KEY: usize = 32;

    /// Tokens from `realm`, the absolute URL that clients reach the endpoint at: `https://registry.example/token`. The
    /// layer over HTTP answers its path.
    pub fn new(realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            service: None,
            key: None,
            lifetime: Self::DEFAULT_LIFETIME,
            refresh: None,
            clock: Clock::system(),
        }
    }

    /// The name of this registry, which stands in challenges and which tokens are bound to: the host and port of the
    /// realm when not set.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// The key that tokens are signed with, [`MIN_KEY`](Self::MIN_KEY) random bytes or more, for several instances that
    /// take each other's tokens or for tokens that survive a restart. When not set it is random and ends with the
    /// process.
    pub fn key(mut self, key: impl Into<Secret>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long a token lasts: [`Tokens::DEFAULT_LIFETIME`] when not set.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Hands out refresh tokens that last so long to clients that ask for one (`offline_token`, `access_type=offline`),
    /// as `docker login` does, which keeps it in place of the password. None are handed out when not set.
    ///
    /// A refresh token ends with the user and with the user's password, and where the users tell no
    /// [`Revision`] there is none. It needs a [`key`](Self::key) that survives a restart, or else its owner has to log in
    /// again after one.
    pub fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh = Some(lifetime);
        self
    }

    /// What tells when a token ends: the system's clock when not set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("realm", &self.realm)
            .field("service", &self.service)
            .field("lifetime", &self.lifetime)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// Signs tokens and reads them.
pub(super) struct Issuer {
    pub(super) realm: String,
    pub(super) path: String,
    pub(super) service: String,
    pub(super) lifetime: Duration,
    refresh_lifetime: Option<Duration>,
    clock: Clock,
    access: Mac,
    refresh: Mac,
    revisions: Mac,
}

/// What an access token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Nobody's, where it was asked for without a name.
    pub(super) subject: Option<String>,
    pub(super) scopes: Scopes,
}

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 12 * 1024;

#[derive(Serialize, Deserialize)]
struct Access {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    exp: u64,
    scope: String,
}

#[derive(Serialize, Deserialize)]
struct Refresh {
    sub: String,
    exp: u64,
    rev: String,
}

impl Issuer {
    pub(super) fn new(settings: Tokens) -> Result<Self, Error> {
        let realm = quotable("token service's URL", settings.realm)?;
        let wrong =
            || Error::internal(format!("`{realm}` is no absolute URL of http or https without a query"));
        let uri: Uri = realm.parse().map_err(|error| wrong().with_source(error))?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|authority| is_http && !authority.as_str().contains('@'));
        let authority = authority.filter(|_| uri.query().is_none()).ok_or_else(wrong)?;
        let service = quotable("service's name", settings.service.unwrap_or_else(|| authority.to_string()))?;
        if settings.lifetime < Tokens::MIN_LIFETIME {
            return Err(Error::internal(format!(
                "a token lasts {} s at least",
                Tokens::MIN_LIFETIME.as_secs()
            )));
        }
        let mac = match settings.key {
            Some(key) if key.expose().len() < Tokens::MIN_KEY => {
                return Err(Error::internal(format!("a key has {} bytes at least", Tokens::MIN_KEY)));
            }
            Some(key) => Mac::new(key.expose().as_bytes()),
            None => Mac::random()?,
        };
        // A token of one kind or for one service is none of another kind or for another.
        let derived = |usage: &str| mac.derived(&format!("tower-oci registry token 1: {usage}: {service}"));
        Ok(Self {
            access: derived("access"),
            refresh: derived("refresh"),
            revisions: derived("revision"),
            path: uri.path().to_owned(),
            lifetime: settings.lifetime,
            refresh_lifetime: settings.refresh,
            clock: settings.clock,
            realm,
            service,
        })
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// A token for the scopes. The subject was verified.
    pub(super) fn access(&self, subject: Option<&str>, scopes: &Scopes) -> Result<Secret, Error> {
        let (sub, exp) = (subject.map(str::to_owned), self.end(self.lifetime));
        sign(&self.access, &Access { sub, exp, scope: scopes.to_string() })
    }

    /// What a token says that was signed here and has not ended.
    pub(super) fn granted(&self, token: &Secret) -> Option<Granted> {
        let Access { sub, exp, scope } = open(&self.access, token)?;
        self.is_ahead(exp).then(|| Granted { subject: sub, scopes: Scopes::parse(&scope) })
    }

    /// A refresh token for a user in this state, where there are any.
    pub(super) fn refresh(&self, subject: &str, revision: &Revision) -> Result<Option<Secret>, Error> {
        let Some(lifetime) = self.refresh_lifetime else { return Ok(None) };
        let (sub, exp) = (subject.to_owned(), self.end(lifetime));
        sign(&self.refresh, &Refresh { sub, exp, rev: self.state(subject, revision) }).map(Some)
    }

    /// Whose refresh token it is, if it was signed here and has not ended, and what [`Issuer::state`] has to be.
    pub(super) fn refreshed(&self, token: &Secret) -> Option<(String, Secret)> {
        self.refresh_lifetime?;
        let Refresh { sub, exp, rev } = open(&self.refresh, token)?;
        self.is_ahead(exp).then(|| (sub, rev.into()))
    }

    /// A name for the state of a user's password that tells nothing of it.
    pub(super) fn state(&self, subject: &str, revision: &Revision) -> String {
        let length = (subject.len() as u64).to_be_bytes();
        URL_SAFE_NO_PAD.encode(self.revisions.of(&[&length, subject.as_bytes(), revision.as_bytes()]))
    }

    fn end(&self, lifetime: Duration) -> u64 {
        seconds(self.clock.now()).saturating_add(lifetime.as_secs())
    }

    fn is_ahead(&self, end: u64) -> bool {
        seconds(self.clock.now()) < end
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("realm", &self.realm)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// `<payload>.<code>`, both in the alphabet of RFC 4648, section 5. There is one algorithm, which nobody can choose.
fn sign<T: Serialize>(mac: &Mac, content: &T) -> Result<Secret, Error> {
    let content = serde_json::to_vec(content)
        .map_err(|error| Error::internal("a token could not be written").with_source(error))?;
    let mut text = URL_SAFE_NO_PAD.encode(content);
    let code = mac.of(&[text.as_bytes()]);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(code, &mut text);
    Ok(text.into())
}

/// The content is looked at only when the code is right.
fn open<T: DeserializeOwned>(mac: &Mac, token: &Secret) -> Option<T> {
    let text = token.expose();
    if text.len() > MAX_TOKEN {
        return None;
    }
    let (payload, code) = text.split_once('.')?;
    let code = URL_SAFE_NO_PAD.decode(code).ok()?;
    if !bool::from(mac.of(&[payload.as_bytes()]).as_slice().ct_eq(&code)) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
