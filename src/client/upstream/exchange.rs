use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::Inner;
use crate::body::Body;
use crate::client::auth::{Authorization, Scopes, Token, Who};
use crate::client::origin::WebOrigin;
use crate::client::redirect::{Chain, HEADERS_ELSEWHERE, Redirects};
use crate::client::retry::demanded_delay;
use crate::error::{Error, ErrorKind};
use crate::http::{Asked, request};
use crate::operation::{Operation, Response};
use crate::secret::Secret;
use crate::spec::name::Repository;

/// On whose behalf an upstream is asked.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: Who,
    /// Whether it comes from the upstream's own credentials, which may know a newer one later.
    pub(super) ours: bool,
    /// When the client who waits for headers gives up.
    pub(super) deadline: Option<Instant>,
}

/// A request to an upstream, to be made as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) scopes: Scopes,
    pub(super) repository: Option<Repository>,
    pub(super) caller: Caller,
    /// Whether a redirect to another origin is the answer.
    pub(super) redirects: Redirects,
    /// Whether its token was renewed just now: another one would be refused as well.
    pub(super) settled: bool,
    /// What is in its URI that nobody else may see.
    pub(super) hidden: Option<Secret>,
}

impl Ask {
    /// For an operation without content.
    pub(super) fn new(operation: Operation, caller: &Caller) -> Result<(Self, Asked), Error> {
        Self::with_content(operation, caller).map(|(ask, asked, _)| (ask, asked))
    }

    pub(super) fn with_content(operation: Operation, caller: &Caller) -> Result<(Self, Asked, Body), Error> {
        let asked = Asked::of(&operation);
        let scopes = Scopes::of(&operation);
        let repository = operation.repository().cloned();
        let (parts, content) = request::encode(operation)?.into_parts();
        let path = parts.uri.path_and_query().cloned();
        let path = path.ok_or_else(|| Error::internal("an operation was encoded without a path"))?;
        let ask = Self {
            method: parts.method,
            path,
            headers: parts.headers,
            scopes,
            repository,
            caller: caller.clone(),
            redirects: Redirects::Follow,
            settled: false,
            hidden: None,
        };
        Ok((ask, asked, content))
    }
}

/// What came of an [`Ask`].
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: http::Response<Body>,
    /// Who answered in the end.
    pub(super) from: WebOrigin,
    /// Whether that is the upstream itself.
    pub(super) at_home: bool,
    /// Where the client is to be sent.
    pub(super) handed_on: Option<Uri>,
    pub(super) authorization: Option<Authorization>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn token(&self) -> Option<&Arc<Token>> {
        self.authorization.as_ref()?.token.as_ref()
    }
}

impl Inner {
    /// An answer that is read before our client gets its headers. It is asked for again where it breaks off.
    pub(super) async fn document(&self, ask: &Ask, asked: &Asked) -> Result<Response, Error> {
        let mut retries = 0;
        loop {
            let answer = self.exchange(ask).await?;
            let is_success = answer.status().is_success();
            let result = self.read(ask, asked, answer).await;
            let broke_off = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
            let pause = if is_success && broke_off { self.pause(retries, None, ask) } else { None };
            let Some(pause) = pause else { return result };
            tokio::time::sleep(pause).await;
            retries += 1;
        }
    }

    /// Makes a request: with a token where one is needed, through redirects, and again where that may help.
    pub(super) async fn exchange(&self, ask: &Ask) -> Result<Answer, Error> {
        self.budget.deposit();
        self.auth.reconsider();
        let mut caller = ask.caller.clone();
        let mut renewed = ask.settled;
        let mut refused: Option<Arc<Token>> = None;
        let mut retries = 0;
        loop {
            let result = self.once(ask, &caller.who, refused.as_deref()).await;
            if let Ok(answer) = &result
                && !renewed
                && let Some(newer) = self.renew(ask, &caller, answer).await?
            {
                renewed = true;
                refused = answer.token().cloned();
                caller = newer;
                if let Ok(answer) = result {
                    discard(answer.response).await;
                }
                continue;
            }
            let Some(demanded) = passing(&result) else { return result };
            let Some(pause) = self.pause(retries, demanded, ask) else { return result };
            if result.is_err() {
                // Another operation may have forgotten the challenge by then.
                renewed = ask.settled;
            }
            // The answer's connection isn't kept from others meanwhile.
            drop(result);
            tokio::time::sleep(pause).await;
            retries += 1;
        }
    }

    /// Does `work` until `deadline`.
    pub(super) async fn until<T>(
        &self,
        deadline: Option<Instant>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(deadline) = deadline else { return work.await };
        match tokio::time::timeout_at(deadline, work).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = self.headers_within.as_secs_f64();
                Err(Error::timed_out(format!("{} did not answer within {seconds} s", self.origin)))
            }
        }
    }

    /// The time until which an answer has to be there, from now on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.headers_within)
    }

    /// The pause before the retry number `retry`, from 0, which is counted then; none when it should not be made.
    pub(super) fn pause(&self, retry: u32, demanded: Option<Duration>, ask: &Ask) -> Option<Duration> {
        let pause = self.retry.pause(retry, demanded)?;
        // A pause that ends after the deadline would turn the upstream's own words into a time-out.
        let left = ask.caller.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| pause >= left) || !self.budget.withdraw() {
            return None;
        }
        tracing::debug!(upstream = %self.host, retry, ?pause, "trying again");
        Some(pause)
    }

    /// Whether another try makes sense after a refusal, and on whose behalf.
    pub(super) async fn renew(
        &self,
        ask: &Ask,
        caller: &Caller,
        answer: &Answer,
    ) -> Result<Option<Caller>, Error> {
        let expired = answer.status() == StatusCode::FORBIDDEN && self.quirks.expired_token_is_403;
        if !answer.at_home || !(answer.status() == StatusCode::UNAUTHORIZED || expired) {
            return Ok(None);
        }
        if expired && answer.token().is_some() {
            return Ok(Some(caller.clone()));
        }
        let is_credential = answer.authorization.is_some() && answer.token().is_none();
        if is_credential && caller.ours {
            // What was refused is the credential itself, and its source may know a newer one.
            let newer = self.ask_source(ask.repository.as_ref()).await?;
            if newer.credential != caller.who.credential {
                return Ok(Some(Caller { who: newer, ..caller.clone() }));
            }
        }
        if expired {
            return Ok(None);
        }
        let lesson = self.auth.learn(answer.headers(), &caller.who, &ask.scopes).await?;
        // The same credential again makes sense only where a token is wanted in its place.
        Ok((lesson.answerable && (lesson.wants_token || !is_credential)).then(|| caller.clone()))
    }

    /// One try, through redirects.
    async fn once(&self, ask: &Ask, who: &Who, refused: Option<&Token>) -> Result<Answer, Error> {
        let authorization = self.auth.authorization(who, &ask.scopes, refused).await;
        let authorization = authorization.map_err(|error| error.context(&self.origin))?;
        let mut chain = Chain::new(self.uri(&ask.path)?, self.origin.clone());
        loop {
            let request = self.request(ask, &chain, authorization.as_ref());
            let http = if chain.is_at_home() { &self.own } else { &self.elsewhere };
            let response = http.clone().oneshot(request).await;
            let response = response.map_err(|error| named(error, chain.origin()))?;
            let handed_on = match chain.target(response.status(), response.headers())? {
                Some(target) if ask.redirects == Redirects::HandOn && target.origin != self.origin => {
                    Some(target.uri)
                }
                Some(target) => {
                    chain.go(target);
                    discard(response).await;
                    continue;
                }
                None => None,
            };
            let (from, at_home) = (chain.origin().clone(), chain.is_at_home());
            return Ok(Answer { response, from, at_home, handed_on, authorization });
        }
    }

    fn request(
        &self,
        ask: &Ask,
        chain: &Chain,
        authorization: Option<&Authorization>,
    ) -> http::Request<Body> {
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = chain.uri().clone();
        let headers = request.headers_mut();
        headers.clone_from(&ask.headers);
        headers.insert(USER_AGENT, self.user_agent.clone());
        // What is hashed are the blob's own bytes, not a transport's encoding of them.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if chain.is_at_home() {
            headers.extend(self.secret_headers.clone());
            if let Some(authorization) = authorization {
                headers.insert(AUTHORIZATION, authorization.header.clone());
            }
        } else {
            let kept = HEADERS_ELSEWHERE.into_iter();
            *headers = kept.filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect();
        }
        request
    }

    pub(super) fn uri(&self, path: &PathAndQuery) -> Result<Uri, Error> {
        let mut parts = self.endpoint.clone().into_parts();
        parts.path_and_query = Some(path.clone());
        Uri::from_parts(parts)
            .map_err(|error| Error::internal("an operation makes no URI").with_source(error))
    }
}

/// Reads the rest of an answer that nobody wants, if it is short and there already, so that its connection can be used
/// again.
pub(super) async fn discard(response: http::Response<Body>) {
    const SHORT: usize = 16 * 1024;
    const SOON: Duration = Duration::from_millis(20);
    let body = response.into_body();
    if body.size().is_none_or(|size| size <= SHORT as u64) {
        // Whatever comes of it, the answer is done with.
        let _ = tokio::time::timeout(SOON, body.read(SHORT)).await;
    }
}

/// Whether a failure may pass, and after which time at the earliest.
fn passing(result: &Result<Answer, Error>) -> Option<Option<Duration>> {
    match result {
        Ok(answer) => matches!(answer.status().as_u16(), 429 | 502 | 503 | 504)
            .then(|| demanded_delay(answer.headers())),
        Err(error) => matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TooManyRequests)
            .then(|| error.retry_after().map(|after| after.delay_from(SystemTime::now()))),
    }
}

/// The error of a transport, with the name of who was asked, unless it says that itself.
pub(super) fn named(error: Error, origin: &WebOrigin) -> Error {
    // A transport writes an IPv6 address without its brackets.
    let host = origin.host().trim_matches(['[', ']']);
    if error.message().contains(host) { error } else { error.context(origin) }
}
