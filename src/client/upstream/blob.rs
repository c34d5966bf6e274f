use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Inner;
use super::exchange::{Answer, Ask, Caller};
use super::manifest::{is_settled, refuses_head};
use crate::body::Body;
use crate::client::redirect::Redirects;
use crate::client::resume::{Identity, Position, Resume, Resuming};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::headers::is_encoded;
use crate::operation::{Blob, BlobContent, GetBlob, Reply, Response, Verified};
use crate::spec::digest::Digest;
use crate::spec::range::{ContentRange, RangeSpec, Ranges};

/// How much is read and thrown away when an upstream answers the request for the rest of a blob with all of it.
const MAX_SKIPPED: u64 = 16 * 1024 * 1024;

impl Inner {
    /// A blob, or a part of one. A whole one is hashed on its way, unless it isn't to be verified.
    pub(super) async fn blob(
        self: &Arc<Self>,
        mut operation: GetBlob,
        caller: &Caller,
        redirects: Redirects,
        is_verified: bool,
    ) -> Result<Response, Error> {
        if operation.head {
            return self.head_blob(operation, caller, redirects).await;
        }
        if operation.conditions.allow_range(&operation.digest)
            && let Some(range) = operation.range.take()
        {
            // Registries answer a suffix of no bytes in ways that make no sense.
            operation.range = range.without_empty();
            if operation.range.is_none() {
                return self.nothing_of_blob(operation, caller).await;
            }
        }
        let digest = operation.digest;
        let (mut ask, asked) = Ask::new(operation.into(), caller)?;
        ask.redirects = redirects;
        let mut answer = self.exchange(&ask).await?;
        if let Some(uri) = answer.handed_on.take() {
            return Ok(handed_on(digest, uri));
        }
        let identity = Identity::of(answer.headers());
        let (mut reply, mut extensions) = self.read(&ask, &asked, answer).await?.into_parts();
        if let Reply::Blob(blob) = &mut reply {
            let size = blob.size;
            match &mut blob.content {
                BlobContent::Whole(body) => {
                    let resume = self.resume(ask, identity, size, None);
                    *body = whole(std::mem::take(body), size, self.what(&digest), resume);
                    if is_verified {
                        *body = std::mem::take(body).verified(digest, size)?;
                        extensions.insert(Verified::new());
                    }
                }
                BlobContent::Part(part) => {
                    let (first, last) = (part.range.first(), part.range.last());
                    let resume = self.resume(ask, identity, size, Some(last));
                    let body = std::mem::take(&mut part.body);
                    let end = last.saturating_add(1);
                    part.body = Body::new(Resuming::new(body, first, Some(end), self.what(&digest), resume));
                }
                _ => {}
            }
        }
        Ok(Response::from_parts(reply, extensions))
    }

    /// A `HEAD`, or where that is refused a `GET` of the first byte: its answer has the size, and leaves the connection
    /// fit for use.
    async fn head_blob(
        &self,
        operation: GetBlob,
        caller: &Caller,
        redirects: Redirects,
    ) -> Result<Response, Error> {
        let digest = operation.digest;
        let mut refused = None;
        if !(self.quirks.refuses_head_of_blobs || self.refuses_head_of_blobs.is_known()) {
            let (mut ask, asked) = Ask::new(operation.clone().into(), caller)?;
            ask.redirects = redirects;
            let mut answer = self.exchange(&ask).await?;
            if let Some(uri) = answer.handed_on.take() {
                return Ok(handed_on(digest, uri));
            }
            if !refuses_head(&answer) {
                return self.read(&ask, &asked, answer).await;
            }
            refused = Some(is_settled(&answer));
        }
        let mut get = GetBlob::ranges(operation.repository, digest, Ranges::one(RangeSpec::Span(0, 0)));
        get.conditions = operation.conditions;
        let (mut ask, asked) = Ask::new(get.into(), caller)?;
        ask.settled = refused == Some(true);
        let answer = self.exchange(&ask).await?;
        let response = match size_of_whole(&answer) {
            Some(size) => Response::new(Reply::from(Blob::head(digest, Some(size)))),
            None => self.read(&ask, &asked, answer).await?.map(without_content),
        };
        if refused.is_some() {
            self.refuses_head_of_blobs.remember();
        }
        Ok(response)
    }

    /// The answer to a request for no bytes of a blob: 416, if it is there.
    async fn nothing_of_blob(&self, mut operation: GetBlob, caller: &Caller) -> Result<Response, Error> {
        operation.head = true;
        let response = self.head_blob(operation, caller, Redirects::Follow).await?;
        let Reply::Blob(Blob { digest, size, content: BlobContent::Whole(_), .. }) = response.reply() else {
            return Ok(response);
        };
        let message = format!("no bytes of {digest} were asked for");
        let error = Error::new(ErrorKind::RangeNotSatisfiable, ErrorCode::SizeInvalid, message);
        Err(match size {
            Some(size) => error.with_content_size(*size),
            None => error,
        })
    }

    fn what(&self, digest: &Digest) -> String {
        format!("the blob {digest} of {}", self.origin)
    }

    /// How to go on with a blob of `size` bytes, up to the byte `last` of it.
    fn resume(
        self: &Arc<Self>,
        mut ask: Ask,
        identity: Identity,
        size: Option<u64>,
        last: Option<u64>,
    ) -> Resume {
        ask.redirects = Redirects::Follow;
        ask.headers.remove(header::IF_NONE_MATCH);
        ask.headers.remove(header::IF_RANGE);
        let inner = Arc::clone(self);
        Box::new(move |position| {
            let (inner, mut ask, identity) = (Arc::clone(&inner), ask.clone(), identity.clone());
            Box::pin(async move {
                let range = match last {
                    Some(last) => format!("bytes={}-{last}", position.next),
                    None => format!("bytes={}-", position.next),
                };
                ask.headers.insert(
                    header::RANGE,
                    HeaderValue::try_from(range)
                        .map_err(|error| Error::internal("a range makes no header").with_source(error))?,
                );
                inner.rest(ask, &identity, size, last, position).await
            })
        })
    }

    /// The rest of a blob from `position` on, up to the byte `last` of it.
    async fn rest(
        &self,
        mut ask: Ask,
        identity: &Identity,
        size: Option<u64>,
        last: Option<u64>,
        position: Position,
    ) -> Result<Body, Error> {
        if !self.budget.withdraw() {
            return Err(Error::unavailable("it is not resumed, since too much is tried again already"));
        }
        if let Some(before) = position.fruitless.checked_sub(1) {
            tokio::time::sleep(self.retry.back_off(before)).await;
        }
        tracing::debug!(upstream = %self.host, from = position.next, "resuming a blob");
        // Our client has its headers by now; the upstream gets its time anew.
        ask.caller.deadline = self.deadline();
        let answer = self.until(ask.caller.deadline, Box::pin(self.exchange(&ask))).await?;
        let changed = || Error::corrupt("it is another content by now");
        // A part isn't verified by anybody: it must not go on in another form.
        if answer.status().is_success() && is_encoded(answer.headers()) {
            return Err(Error::bad_gateway("the rest came with a content coding that nobody asked for"));
        }
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (range, total) = match content_range(answer.headers()) {
                    Some(ContentRange::Part(range, total)) => (range, total),
                    _ => return Err(Error::bad_gateway("the rest came without a valid Content-Range")),
                };
                if differ(size, total) || !identity.agrees(&Identity::of(answer.headers())) {
                    return Err(changed());
                }
                if range.first() != position.next {
                    let (first, next) = (range.first(), position.next);
                    return Err(Error::bad_gateway(format!(
                        "byte {next} was asked for, but byte {first} came"
                    )));
                }
                Ok(answer.response.into_body())
            }
            StatusCode::OK => {
                let length = content_length(answer.headers());
                if differ(size, length) || !identity.agrees(&Identity::of(answer.headers())) {
                    return Err(changed());
                }
                if position.next > MAX_SKIPPED {
                    return Err(Error::bad_gateway("the rest was asked for, but all of it came"));
                }
                let kept = last.map(|last| last.saturating_add(1).saturating_sub(position.next));
                Ok(Body::new(Skip { body: answer.response.into_body(), left: position.next, kept }))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(changed()),
            status => Err(Error::unavailable(format!(
                "the rest was asked for, and {} answered {status}",
                answer.from
            ))),
        }
    }
}

/// A whole blob, resumed where it breaks off.
fn whole(body: Body, size: Option<u64>, what: String, resume: Resume) -> Body {
    let is_there = body.as_bytes().is_some_and(|bytes| size.is_none_or(|size| size == bytes.len() as u64));
    if is_there { body } else { Body::new(Resuming::new(body, 0, size, what, resume)) }
}

fn handed_on(digest: Digest, uri: http::Uri) -> Response {
    let mut blob = Blob::head(digest, None);
    blob.size = None;
    blob.content = BlobContent::Redirect(uri);
    Response::new(Reply::from(blob))
}

fn without_content(reply: Reply) -> Reply {
    match reply {
        Reply::Blob(blob) => match blob.content {
            BlobContent::Whole(_) | BlobContent::Part(_) | BlobContent::Parts(_) => {
                Blob::head(blob.digest, blob.size).into()
            }
            _ => Reply::Blob(blob),
        },
        other => other,
    }
}

/// The size of a blob by the answer to a request for its first byte, unless it comes in another form.
fn size_of_whole(answer: &Answer) -> Option<u64> {
    if is_encoded(answer.headers()) {
        return None;
    }
    match (answer.status(), content_range(answer.headers())) {
        (StatusCode::PARTIAL_CONTENT, Some(ContentRange::Part(_, size))) => size,
        // An empty blob has no first byte.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange::Unsatisfied(size))) => Some(size),
        (StatusCode::OK, _) => content_length(answer.headers()),
        _ => None,
    }
}

/// Whether two sizes are known and aren't the same.
fn differ(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.parse().ok()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body without its first bytes.
struct Skip {
    body: Body,
    left: u64,
    /// How many of those behind them are wanted, where it isn't all.
    kept: Option<u64>,
}

impl HttpBody for Skip {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.kept == Some(0) {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            self.left -= skipped as u64;
            let mut rest = data.split_off(skipped);
            if let Some(kept) = &mut self.kept {
                rest.truncate(usize::try_from(*kept).unwrap_or(usize::MAX));
                *kept -= rest.len() as u64;
            }
            if !rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(rest))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept == Some(0) || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size().map(|size| size.saturating_sub(self.left));
        match (rest, self.kept) {
            (Some(rest), kept) => SizeHint::with_exact(rest.min(kept.unwrap_or(u64::MAX))),
            (None, _) => SizeHint::default(),
        }
    }
}
