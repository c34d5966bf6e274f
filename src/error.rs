//! The crate's one error type.
//!
//! An [`Error`] says three things: to programs, an [`ErrorKind`]; to clients, a status and one of the
//! specification's codes ([`ErrorCode`]); to people, a message that names the offending value. It never carries
//! a secret: messages are built from validated names, and sources are errors of libraries.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

use http::StatusCode;

/// A boxed error, as tower's middleware returns it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A code of the distribution specification's table
/// [Error Codes](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `BLOB_UNKNOWN`: blob unknown to registry.
    BlobUnknown,
    /// `BLOB_UPLOAD_INVALID`: blob upload invalid.
    BlobUploadInvalid,
    /// `BLOB_UPLOAD_UNKNOWN`: blob upload unknown to registry.
    BlobUploadUnknown,
    /// `DIGEST_INVALID`: provided digest did not match uploaded content.
    DigestInvalid,
    /// `MANIFEST_BLOB_UNKNOWN`: manifest references a manifest or blob unknown to registry.
    ManifestBlobUnknown,
    /// `MANIFEST_INVALID`: manifest invalid.
    ManifestInvalid,
    /// `MANIFEST_UNKNOWN`: manifest unknown to registry.
    ManifestUnknown,
    /// `NAME_INVALID`: invalid repository name.
    NameInvalid,
    /// `NAME_UNKNOWN`: repository name not known to registry.
    NameUnknown,
    /// `SIZE_INVALID`: provided length did not match content length.
    SizeInvalid,
    /// `UNAUTHORIZED`: authentication required.
    Unauthorized,
    /// `DENIED`: requested access to the resource is denied.
    Denied,
    /// `UNSUPPORTED`: the operation is unsupported. Also the code of every answer of the 5xx class, for which the
    /// specification has no code of its own.
    Unsupported,
    /// `TOOMANYREQUESTS`: too many requests.
    TooManyRequests,
}

impl ErrorCode {
    const ALL: [Self; 14] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::SizeInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
    ];

    /// The code as the specification writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }

    /// The code that is written as `text`, if it is one of the specification's.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, for programs that decide what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request can't be understood or contradicts itself. The client's to mend.
    Invalid,
    /// What was asked for isn't there.
    NotFound,
    /// The caller has to say who it is.
    Unauthorized,
    /// The caller may not have it.
    Denied,
    /// A range lies outside the content, or a chunk is out of order.
    RangeNotSatisfiable,
    /// Something is over a limit of this crate or its settings.
    TooLarge,
    /// Too many requests, here or upstream.
    TooManyRequests,
    /// The operation, or the kind of document, isn't supported.
    Unsupported,
    /// Content doesn't have the digest or the size that it should have.
    Corrupt,
    /// An upstream answered with something that makes no sense.
    BadGateway,
    /// An upstream can't be reached or is out of order, or this service is overloaded.
    Unavailable,
    /// Something took too long.
    TimedOut,
    /// A defect or an exhausted resource of this process.
    Internal,
}

/// When to come back, as `Retry-After` has it
/// ([RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAfter {
    /// In so much time, in whole seconds on the wire.
    Delay(Duration),
    /// Not before that moment.
    At(SystemTime),
}

impl RetryAfter {
    /// The time from `now` until it is allowed to come back; zero when that has passed.
    #[must_use]
    pub fn delay_from(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(at) => at.duration_since(now).unwrap_or(Duration::ZERO),
        }
    }
}

/// The crate's error: what a registry operation fails with.
///
/// Its `Display` is the message for people; [`std::error::Error::source`] has the cause.
///
/// ```
/// use tower_oci::error::{Error, ErrorCode, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, ErrorCode::ManifestUnknown, "no manifest `v1` in `library/busybox`");
/// assert_eq!(error.status(), http::StatusCode::NOT_FOUND);
/// assert_eq!(error.to_string(), "no manifest `v1` in `library/busybox`");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: ErrorCode,
    status: StatusCode,
    message: String,
    retry_after: Option<RetryAfter>,
    challenge: Option<String>,
    content_size: Option<u64>,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` that is told to clients with `code` and `message`; the status follows from both.
    pub fn new(kind: ErrorKind, code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code,
            status: default_status(kind),
            message: message.into(),
            retry_after: None,
            challenge: None,
            content_size: None,
            source: None,
        }))
    }

    /// The request is malformed; `code` says which part of it.
    pub fn invalid(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// The operation isn't supported here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, ErrorCode::Unsupported, message)
    }

    /// No such manifest.
    pub fn manifest_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, ErrorCode::ManifestUnknown, message)
    }

    /// No such blob.
    pub fn blob_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, ErrorCode::BlobUnknown, message)
    }

    /// No such repository, or no registry behind the name.
    pub fn name_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, ErrorCode::NameUnknown, message)
    }

    /// The caller may not have it.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, ErrorCode::Denied, message)
    }

    /// Content that doesn't agree with its digest or size.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, ErrorCode::DigestInvalid, message)
    }

    /// An upstream's answer makes no sense.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadGateway, ErrorCode::Unsupported, message)
    }

    /// An upstream can't be reached or is out of order.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, ErrorCode::Unsupported, message)
    }

    /// Something took too long.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TimedOut, ErrorCode::Unsupported, message)
    }

    /// A defect or an exhausted resource of this process.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, ErrorCode::Unsupported, message)
    }

    /// The same error, answered with `status` in place of the one that follows from its kind.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with the time to come back.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// The same error with a challenge *of our own* for the client: the value of `WWW-Authenticate`.
    ///
    /// An upstream's challenge never goes here: the client has no business with the upstream's realm.
    #[must_use]
    pub fn with_challenge(mut self, challenge: impl Into<String>) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// The same error with the size in bytes of the content that a range lies outside of: `Content-Range: bytes */…`; of
    /// what has come of an upload: `Range: 0-…`.
    #[must_use]
    pub fn with_content_size(mut self, size: u64) -> Self {
        self.0.content_size = Some(size);
        self
    }

    /// The same error with `context` and a colon in front of its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same error with another message, made of the one that it has.
    #[cfg(any(feature = "client", all(feature = "build", feature = "wave")))]
    #[must_use]
    pub(crate) fn map_message(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.0.message = change(&self.0.message);
        self
    }

    /// What went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The specification's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The status that a client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The message for people, the same as `Display`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// When to come back, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<RetryAfter> {
        self.0.retry_after
    }

    /// Our own challenge for the client, if there is one.
    #[must_use]
    pub fn challenge(&self) -> Option<&str> {
        self.0.challenge.as_deref()
    }

    /// The size in bytes of the content that a range lies outside of, if that is known.
    #[must_use]
    pub fn content_size(&self) -> Option<u64> {
        self.0.content_size
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("code", &self.0.code).field("status", &self.0.status);
        debug.field("message", &self.0.message);
        if let Some(retry_after) = &self.0.retry_after {
            debug.field("retry_after", retry_after);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What tower's middleware boxed: our own error is taken out again, tower's time-out becomes 504, its load shedding
/// 503; anything else is an internal error with that source.
impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return *ours,
            Err(other) => other,
        };
        if error.is::<tower::timeout::error::Elapsed>() {
            return Self::timed_out("the operation took too long").with_source(error);
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Self::unavailable("the service is overloaded; try again").with_source(error);
        }
        Self::internal("the service failed").with_source(error)
    }
}

fn default_status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Corrupt | ErrorKind::BadGateway => StatusCode::BAD_GATEWAY,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boxed_error_of_ours_comes_out_as_it_was() {
        let boxed: BoxError =
            Error::denied("no").with_retry_after(RetryAfter::Delay(Duration::from_secs(3))).into();
        let error = Error::from(boxed);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(3))));
    }

    #[test]
    fn towers_errors_have_their_own_status() {
        let elapsed: BoxError = Box::new(tower::timeout::error::Elapsed::new());
        assert_eq!(Error::from(elapsed).status(), StatusCode::GATEWAY_TIMEOUT);
        let overloaded: BoxError = Box::new(tower::load_shed::error::Overloaded::new());
        assert_eq!(Error::from(overloaded).status(), StatusCode::SERVICE_UNAVAILABLE);
        let other: BoxError = "odd".into();
        assert_eq!(Error::from(other).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::from_wire("UNKNOWN"), None);
    }
}
