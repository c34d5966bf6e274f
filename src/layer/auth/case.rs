use super::Auth;
use super::presented::Presented;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::scope::Scopes;
use crate::operation::{Identity, Operation};

/// One operation of a caller, and how its refusal is challenged.
pub(super) struct Case {
    auth: Auth,
    scopes: Scopes,
    is_ping: bool,
    shows_token: bool,
}

impl Auth {
    pub(super) fn case(&self, presented: &Presented, operation: &Operation) -> Case {
        Case {
            auth: self.clone(),
            scopes: self.0.issuer.as_ref().map(|_| Scopes::of(operation)).unwrap_or_default(),
            is_ping: matches!(operation, Operation::Ping(_)),
            shows_token: matches!(presented, Presented::Bearer(_)),
        }
    }

    /// Who it is, by what the caller showed, or by what a layer outside of ours found out already.
    ///
    /// # Errors
    ///
    /// `Unauthorized` with a challenge; what verifying a password fails with.
    pub(super) async fn identify(
        &self,
        presented: &Presented,
        known: Option<Identity>,
        case: &Case,
    ) -> Result<Identity, Error> {
        let anonymous = self.0.anonymous;
        match presented {
            Presented::Nothing => match known.filter(|known| !known.is_anonymous()) {
                Some(known) => Ok(known),
                None if anonymous && !case.is_ping => Ok(Identity::anonymous()),
                None => Err(case.refused("authentication required", None)),
            },
            // What podman and skopeo send when they are asked for a name and have none.
            Presented::Basic { name, password } if anonymous && name.is_empty() && password.is_empty() => {
                Ok(Identity::anonymous())
            }
            Presented::Basic { name, password } => match self.0.logins.verify(name, password).await? {
                true => Ok(Identity::named(name.as_str())),
                false => Err(case.refused("wrong user name or password", None)),
            },
            Presented::Bearer(token) => {
                let granted = self.0.issuer.as_ref().and_then(|issuer| issuer.granted(token));
                match granted.filter(|granted| anonymous || granted.subject.is_some()) {
                    None => Err(case.refused("the token is not valid or has ended", Some("invalid_token"))),
                    Some(granted) if !granted.scopes.cover(&case.scopes) => {
                        Err(case.refused("the token is not for this", Some("insufficient_scope")))
                    }
                    Some(granted) => Ok(granted.subject.map_or_else(Identity::anonymous, Identity::named)),
                }
            }
            Presented::Unreadable => {
                Err(case.refused("the `Authorization` header can't be understood", None))
            }
        }
    }
}

impl Case {
    /// The error of a guard inside, with a challenge where it wants the caller to log in and has none of its own.
    pub(super) fn challenge(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Unauthorized || error.challenge().is_some() {
            return error;
        }
        // A token that was good isn't good enough.
        error.with_challenge(self.value(self.shows_token.then_some("insufficient_scope")))
    }

    fn refused(&self, message: &str, reason: Option<&str>) -> Error {
        Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, message)
            .with_challenge(self.value(reason))
    }

    /// The value of `WWW-Authenticate`. All that is put into it can stand in quotes: it was checked, or is a name.
    fn value(&self, reason: Option<&str>) -> String {
        let Some(issuer) = &self.auth.0.issuer else { return self.auth.basic_challenge() };
        let mut value = format!("Bearer realm=\"{}\",service=\"{}\"", issuer.realm, issuer.service);
        if !self.scopes.is_empty() {
            value.push_str(&format!(",scope=\"{}\"", self.scopes));
        }
        if let Some(reason) = reason {
            value.push_str(&format!(",error=\"{reason}\""));
        }
        value
    }
}

impl Auth {
    pub(super) fn basic_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.0.realm)
    }
}
