use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::RetryAfter;

/// One way in which an upstream fails. Several may apply to one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    // What takes the place of an answer.
    /// The connection closes before any header: what a service answers with an error.
    Close,
    /// No header ever comes.
    Hang,
    /// The answer comes so much later.
    Delay(Duration),
    /// This status with an error body and nothing else: 500, 502, 503, 504, or 401, 403, 405 for a `HEAD` that is
    /// refused.
    Status(StatusCode),
    /// 429 with `Retry-After` in seconds, as a date, or absent.
    TooManyRequests(Option<RetryAfter>),
    /// 401 with a bearer challenge whose realm is this URL.
    Realm(String),
    /// 307 to the same path and query at another origin, such as `https://cdn.example`.
    RedirectOrigin(String),
    /// 307 to the very same place.
    RedirectLoop,
    /// 200 with a page of HTML.
    Html,
    /// An expired token as ECR answers it: 403 with `DENIED`.
    ExpiredAsForbidden,
    /// No such API, without a word of the specification's: referrers, or the catalog.
    NoSuchApi,
    /// This status, these headers, this body.
    Answer(StatusCode, Vec<(HeaderName, HeaderValue)>, Bytes),

    // What is done to a request before it is answered.
    /// A range is ignored: the whole comes with 200.
    RangeIgnored,
    /// Paging is ignored: the whole list comes, without `Link`.
    PagingIgnored,
    /// A page has so many entries at most.
    PageCap(u64),

    // What is done to the answer's headers.
    /// `Content-Range` has this value.
    ContentRange(String),
    /// No `Content-Length`.
    NoContentLength,
    /// No `Docker-Content-Digest`.
    NoDigest,
    /// A `Docker-Content-Digest` of other content.
    WrongDigest,
    /// No `Link`, though there is more.
    NoLink,
    /// This header has this value.
    Header(HeaderName, HeaderValue),
    /// This header is absent.
    NoHeader(HeaderName),

    // What is done to the answer's body.
    /// The lowest bit of the byte at this position is flipped.
    FlippedByte(u64),
    /// The content is another one, of the same size, with another `ETag`: what a resumed body may meet.
    Changed,
    /// The connection closes after so many bytes of the body.
    CutOff(u64),
    /// The body ends after so many bytes as if that were all, without `Content-Length`.
    EndsEarly(u64),
    /// Nothing comes after so many bytes, and the connection stays open.
    Stall(u64),
    /// So many bytes come at a time, with so much time before each.
    Trickle(usize, Duration),
    /// The body is compressed, with `Content-Encoding: gzip`.
    Gzip,
}
