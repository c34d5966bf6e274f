use http::StatusCode;

use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};

/// What something failed with, for all who waited for it.
#[derive(Clone, Debug)]
pub(in crate::layer::cache) struct Failure {
    kind: ErrorKind,
    code: ErrorCode,
    status: StatusCode,
    message: String,
    retry_after: Option<RetryAfter>,
    challenge: Option<String>,
    content_size: Option<u64>,
}

impl Failure {
    pub(in crate::layer::cache) fn error(&self) -> Error {
        let mut error = Error::new(self.kind, self.code, &self.message).with_status(self.status);
        if let Some(retry_after) = self.retry_after {
            error = error.with_retry_after(retry_after);
        }
        if let Some(challenge) = &self.challenge {
            error = error.with_challenge(challenge);
        }
        match self.content_size {
            Some(size) => error.with_content_size(size),
            None => error,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            code: error.code(),
            status: error.status(),
            message: error.message().to_owned(),
            retry_after: error.retry_after(),
            challenge: error.challenge().map(str::to_owned),
            content_size: error.content_size(),
        }
    }
}
