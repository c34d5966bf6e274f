//! One question over HTTP: bounded in time and size, redirects not followed, its failures told without secrets.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tower::ServiceExt as _;

use crate::body::Body;
use crate::client::transport::HttpService;
use crate::client::{hides, read_words, retry_after};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::secret::Secret;

/// What asks.
#[derive(Clone)]
pub(super) struct Exchange {
    http: HttpService,
    limit: Duration,
}

/// What was answered, of whatever status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Exchange {
    pub(super) fn new(http: HttpService, limit: Duration) -> Self {
        Self { http, limit }
    }

    /// Sends `request` to `whom` and reads all of the answer, `max` bytes at most.
    pub(super) async fn send(
        &self,
        whom: &(impl fmt::Display + Sync),
        request: Request<Body>,
        max: usize,
    ) -> Result<Answer, Error> {
        within(self.limit, whom, async {
            let named = |error: Error| error.context(whom);
            let response = self.http.clone().oneshot(request).await.map_err(named)?;
            let (parts, body) = response.into_parts();
            let body = body.read(max).await.map_err(|error| match error.kind() {
                ErrorKind::TooLarge => {
                    Error::bad_gateway(format!("{whom} answered with more than {max} bytes"))
                }
                _ => named(error),
            })?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        })
        .await
    }
}

/// What `work` comes to, or that `whom` took longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    whom: &impl fmt::Display,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::timed_out(format!("{whom} did not answer within {limit:?}"))))
}

impl Answer {
    /// The error that an answer stands for which isn't the one that was hoped for. `what` was asked for, as in "the
    /// credentials"; words of the answer that have a piece of one of `secrets` in them aren't told.
    pub(super) fn failure(&self, whom: &impl fmt::Display, what: &str, secrets: &[Secret]) -> Error {
        let status = self.status;
        let mut message = format!("{whom} answered {status} when it was asked for {what}");
        if status.is_redirection() {
            message.push_str(", and redirects of it are not followed");
        } else if let Some(words) = read_words(&self.body).filter(|words| !hides(words, secrets)) {
            message = format!("{message}: {words}");
        }
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
            }
            StatusCode::FORBIDDEN => Error::denied(message),
            StatusCode::NOT_FOUND => Error::name_unknown(message),
            _ => Error::bad_gateway(message),
        };
        match retry_after(&self.headers) {
            Some(retry_after) => error.with_retry_after(retry_after),
            None => error,
        }
    }
}

/// A header that has a secret in it; none when a header can't hold it.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
