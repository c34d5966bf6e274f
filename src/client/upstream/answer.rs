use http::StatusCode;

use super::Inner;
use super::exchange::{Answer, Ask};
use crate::client::auth::{Token, hides, read_words};
use crate::client::origin::WebOrigin;
use crate::error::Error;
use crate::http::{Asked, response};
use crate::operation::{Credential, Response};
use crate::secret::Secret;

/// How much of the body of a refusal is read for its words.
const MAX_REFUSAL: usize = 64 * 1024;

/// What is told in place of an upstream's words that have a secret in them.
const ECHO: &str = "the registry refused the request, in words that echo a secret";

impl Inner {
    /// Reads an answer as the operation's reply.
    ///
    /// # Errors
    ///
    /// What the upstream says, with its name; its 401 becomes a 403 that says what it wants, since our client has no
    /// business with its challenge.
    pub(super) async fn read(&self, ask: &Ask, asked: &Asked, answer: Answer) -> Result<Response, Error> {
        let (from, at_home) = (answer.from.clone(), answer.at_home);
        let token = answer.authorization.as_ref().and_then(|authorization| authorization.token.clone());
        let result = if answer.status() == StatusCode::UNAUTHORIZED {
            Err(self.refused(ask, answer).await)
        } else {
            response::decode(asked, answer.response).await
        };
        result.map_err(|error| {
            let secrets = self.secrets(ask, token.as_deref());
            let name = self.name(&from, at_home);
            error.map_message(|message| {
                let message = if hides(message, &secrets) { ECHO } else { message };
                match message.strip_prefix("the registry") {
                    Some(rest) => format!("{name}{rest}"),
                    None => format!("{name}: {message}"),
                }
            })
        })
    }

    /// What the upstream was sent that nobody else may see.
    fn secrets(&self, ask: &Ask, token: Option<&Token>) -> Vec<Secret> {
        let headers = self.secret_headers.values().filter_map(|value| value.to_str().ok());
        let mut secrets = ask.caller.who.secrets();
        secrets.extend(token.map(|token| token.secret.clone()));
        secrets.extend(headers.map(Secret::from));
        secrets.extend(ask.hidden.clone());
        secrets
    }

    /// Who has answered, for messages.
    fn name(&self, from: &WebOrigin, at_home: bool) -> String {
        if at_home {
            return self.origin.to_string();
        }
        format!("{from}, where {} redirects to,", self.origin)
    }

    async fn refused(&self, ask: &Ask, answer: Answer) -> Error {
        let wish = self.wish(ask, &answer);
        let body = answer.response.into_body().read(MAX_REFUSAL).await;
        let words = body.ok().and_then(|body| read_words(&body)).map(|words| format!(": {words}"));
        Error::denied(format!("the registry answered with 401{}; {wish}", words.unwrap_or_default()))
    }

    /// What an upstream that answers with 401 wants.
    fn wish(&self, ask: &Ask, answer: &Answer) -> String {
        if !answer.at_home {
            return "redirects take no credentials along".to_owned();
        }
        let scopes = ask.scopes.to_string();
        let what = if scopes.is_empty() { String::new() } else { format!(" for {scopes}") };
        let credential = &ask.caller.who.credential;
        let Some(authorization) = &answer.authorization else {
            return match credential {
                Credential::Anonymous => format!("it wants credentials{what}, and there are none for it"),
                _ => "it does not say which credentials it wants".to_owned(),
            };
        };
        if let Some(service) = &authorization.withheld {
            return format!(
                "its token service {service} is neither built in nor configured for it, so it was not given the \
                 credentials"
            );
        }
        match (credential, &authorization.token) {
            (Credential::Anonymous, _) => format!("it wants credentials{what}, and there are none for it"),
            (_, Some(_)) => format!("it refuses the token that its token service gave{what}"),
            (_, None) => "it refuses the credentials that are configured for it".to_owned(),
        }
    }
}
