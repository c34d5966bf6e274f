use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::logins::{LoginLimits, Logins};
use super::tokens::{Issuer, Tokens};
use super::users::Users;
use super::{Auth, Inner};
use crate::error::Error;
use crate::rt::Tasks;

/// Settings of an [`Auth`].
#[derive(Debug)]
#[must_use]
pub struct AuthBuilder {
    users: Arc<dyn Users>,
    realm: String,
    anonymous: bool,
    tokens: Option<Tokens>,
    tasks: Tasks,
    limits: LoginLimits,
}

impl AuthBuilder {
    pub(super) fn new(users: impl Users) -> Self {
        Self {
            users: Arc::new(users),
            realm: Auth::DEFAULT_REALM.to_owned(),
            anonymous: false,
            tokens: None,
            tasks: Tasks::new(),
            limits: LoginLimits {
                at_once: Auth::DEFAULT_LOGINS,
                waiting: Auth::DEFAULT_WAITING,
                remember_for: Auth::DEFAULT_REMEMBERED,
            },
        }
    }

    /// The realm of `Basic` challenges, which some clients show to people: [`Auth::DEFAULT_REALM`] when not set.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Asks for bearer tokens in place of names and passwords, and hands them out. `Basic` is still taken from clients
    /// that send it unasked.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Whether callers who show nothing pass, for guards further inside to judge; without it they don't.
    ///
    /// `/v2/` is challenged all the same, or else clients would never send what they have. With `Basic` alone that keeps
    /// docker from pulling anonymously; with [`tokens`](Self::tokens) every client can.
    pub fn anonymous(mut self, on: bool) -> Self {
        self.anonymous = on;
        self
    }

    /// How many passwords are verified at once, and how many may wait for their turn; who comes beyond gets
    /// `429 TOOMANYREQUESTS`. [`Auth::DEFAULT_LOGINS`] and [`Auth::DEFAULT_WAITING`] when not set; one is verified at
    /// least.
    pub fn max_logins(mut self, at_once: usize, waiting: usize) -> Self {
        (self.limits.at_once, self.limits.waiting) = (at_once, waiting);
        self
    }

    /// How long a password that was right isn't verified again: [`Auth::DEFAULT_REMEMBERED`] when not set; zero verifies
    /// each time. Where the users tell a [`Revision`](super::Revision), a change of password ends it at once.
    pub fn remember_logins(mut self, time: Duration) -> Self {
        self.limits.remember_for = time;
        self
    }

    /// Where logins are verified, so that a shutdown can wait for them.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When a realm or a service's name can't stand in a challenge, a time or a key is too short, or the system has no
    /// random numbers.
    pub fn build(self) -> Result<Auth, Error> {
        let realm = quotable("realm", self.realm)?;
        let logins = Arc::new(Logins::new(self.users, self.tasks, self.limits)?);
        let issuer = self.tokens.map(Issuer::new).transpose()?;
        Ok(Auth(Arc::new(Inner { realm, anonymous: self.anonymous, logins, issuer })))
    }
}

/// A text that stands in quotes as it is.
pub(super) fn quotable(what: &str, text: String) -> Result<String, Error> {
    let fits = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    if fits && !text.is_empty() && text.len() <= 255 {
        return Ok(text);
    }
    Err(Error::internal(format!(
        "a {what} has 1 to 255 characters of printable ASCII without quotes and backslashes"
    )))
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { realm, anonymous, logins, issuer } = &*self.0;
        f.debug_struct("Auth")
            .field("realm", realm)
            .field("anonymous", anonymous)
            .field("logins", logins)
            .field("issuer", issuer)
            .finish()
    }
}
