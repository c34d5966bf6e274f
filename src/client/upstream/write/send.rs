use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, StatusCode};
use tower::ServiceExt as _;

use super::Writes;
use super::content::Content;
use super::location::Destination;
use crate::body::Body;
use crate::client::auth::{Authorization, Token};
use crate::client::transport::never_sent;
use crate::client::upstream::Inner;
use crate::client::upstream::exchange::{Answer, Ask, Caller, discard, named};
use crate::error::Error;
use crate::operation::Ping;

/// A write on its way.
pub(super) struct Delivery<'a> {
    pub(super) writes: &'a Writes,
    pub(super) ask: &'a Ask,
    pub(super) to: Destination,
    /// What can be read there, to find out who may write.
    pub(super) door: Destination,
    pub(super) content: Content,
}

impl Inner {
    /// Makes a request that writes: once, unless nothing of it can have had an effect. That is when no connection could
    /// be made, and when the upstream asks who is there.
    pub(super) async fn send(&self, delivery: &Delivery<'_>) -> Result<Answer, Error> {
        let Delivery { writes, ask, to, content, .. } = delivery;
        self.budget.deposit();
        if self.auth.reconsider() {
            // Or the challenge would cost the content.
            writes.is_met.store(false, Ordering::Relaxed);
        }
        let mut caller = ask.caller.clone();
        let mut renewed = false;
        let mut refused: Option<Arc<Token>> = None;
        let mut retries = 0;
        loop {
            let introduction = Box::pin(self.introduce(delivery, &caller, refused.as_deref()));
            let authorization = self.until(caller.deadline, introduction).await?;
            let answer = match self.attempt(ask, to, content.body(), authorization).await {
                Ok(answer) => answer,
                Err(error) => {
                    if let Some(failure) = content.failure() {
                        return Err(failure);
                    }
                    let again = content.is_intact() && never_sent(&error);
                    let pause = if again { self.pause(retries, None, ask) } else { None };
                    let Some(pause) = pause else { return Err(error) };
                    tokio::time::sleep(pause).await;
                    retries += 1;
                    continue;
                }
            };
            if to.at_home && answer.status() != StatusCode::UNAUTHORIZED {
                writes.is_met.store(true, Ordering::Relaxed);
            }
            if renewed {
                return Ok(answer);
            }
            let Some(newer) = self.renew(ask, &caller, &answer).await? else { return Ok(answer) };
            refused = answer.token().cloned();
            if !content.is_intact() {
                // What was sent is gone. When our client comes again, there is a token that wasn't refused.
                let _ = self.auth.authorization(&newer.who, &ask.scopes, refused.as_deref()).await;
                return Ok(answer);
            }
            renewed = true;
            caller = newer;
            discard(answer.response).await;
        }
    }

    /// What the request is to be sent with. Before content that comes only once is sent to an upstream that nothing is
    /// known of, something else is asked there, so that the challenge doesn't cost the content.
    async fn introduce(
        &self,
        delivery: &Delivery<'_>,
        caller: &Caller,
        refused: Option<&Token>,
    ) -> Result<Option<Authorization>, Error> {
        let Delivery { writes, ask, to, door, content } = delivery;
        if !to.at_home {
            return Ok(None);
        }
        let authorization = async |refused| {
            let authorization = self.auth.authorization(&caller.who, &ask.scopes, refused).await;
            authorization.map_err(|error| error.context(&self.origin))
        };
        let known = authorization(refused).await?;
        if known.is_some() || !content.is_stream() || writes.is_met.load(Ordering::Relaxed) {
            return Ok(known);
        }
        let (mut probe, asked) = Ask::new(Ping::new().into(), caller)?;
        probe.scopes = ask.scopes.clone();
        probe.hidden = ask.hidden.clone();
        let answer = self.attempt(&probe, door, Body::empty(), None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            writes.is_met.store(true, Ordering::Relaxed);
            discard(answer.response).await;
            return Ok(None);
        }
        if self.renew(ask, caller, &answer).await?.is_none() {
            self.read(&probe, &asked, answer).await?;
            return Ok(None);
        }
        discard(answer.response).await;
        authorization(None).await
    }

    /// One request. Redirects aren't followed: they would need the content a second time.
    async fn attempt(
        &self,
        ask: &Ask,
        to: &Destination,
        body: Body,
        authorization: Option<Authorization>,
    ) -> Result<Answer, Error> {
        let mut request = http::Request::new(body);
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = to.uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&ask.headers);
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if to.at_home {
            headers.extend(self.secret_headers.clone());
            if let Some(authorization) = &authorization {
                headers.insert(AUTHORIZATION, authorization.header.clone());
            }
        }
        let http = if to.at_home { &self.own } else { &self.elsewhere };
        let response = http.clone().oneshot(request).await.map_err(|error| named(error, &to.origin))?;
        Ok(Answer { response, from: to.origin.clone(), at_home: to.at_home, handed_on: None, authorization })
    }
}
