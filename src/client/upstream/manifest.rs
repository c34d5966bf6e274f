use http::{StatusCode, header};

use super::Inner;
use super::exchange::{Answer, Ask, Caller};
use crate::error::Error;
use crate::http::headers::{content_length, told_digest};
use crate::operation::{Conditional, GetManifest, Manifest, Reply, Response, Verified};
use crate::spec::name::Reference;

impl Inner {
    /// A manifest; its content is hashed where it is read.
    pub(super) async fn manifest(&self, operation: GetManifest, caller: &Caller) -> Result<Response, Error> {
        let mut response = if operation.head {
            self.head_manifest(operation, caller).await?
        } else {
            self.plain(operation.into(), caller).await?
        };
        response.extensions_mut().insert(Verified::new());
        Ok(response)
    }

    async fn head_manifest(&self, mut operation: GetManifest, caller: &Caller) -> Result<Response, Error> {
        let is_tag = matches!(operation.reference, Reference::Tag(_));
        let useless = self.quirks.refuses_head_of_manifests
            || self.quirks.no_digest_for_tags && is_tag
            || self.refuses_head_of_manifests.is_known();
        let mut refused = None;
        if !useless {
            let (ask, asked) = Ask::new(operation.clone().into(), caller)?;
            let answer = self.exchange(&ask).await?;
            if refuses_head(&answer) {
                refused = Some(is_settled(&answer));
            } else if !lacks_something(&answer, is_tag) {
                return self.read(&ask, &asked, answer).await;
            }
        }
        operation.head = false;
        let (mut ask, asked) = Ask::new(operation.into(), caller)?;
        ask.settled = refused == Some(true);
        let response = self.document(&ask, &asked).await?;
        if refused.is_some() {
            self.refuses_head_of_manifests.remember();
        }
        Ok(response.map(without_content))
    }
}

/// Whether it's the method that is refused: a 401 that says how to be answered is a refusal of the caller. Elsewhere no
/// caller is known; the signature of a URL may be for `GET` only.
pub(super) fn refuses_head(answer: &Answer) -> bool {
    match answer.status() {
        StatusCode::UNAUTHORIZED => {
            !(answer.at_home && answer.headers().contains_key(header::WWW_AUTHENTICATE))
        }
        status => matches!(status, StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Whether the caller's credentials were brought and found wanting, so that there's no use in asking for others.
pub(super) fn is_settled(answer: &Answer) -> bool {
    answer.at_home && answer.status() == StatusCode::UNAUTHORIZED && answer.authorization.is_some()
}

/// Whether the answer to a `HEAD` leaves out what our clients need, or has nonsense in its place: the digest of a tag, or
/// the length.
fn lacks_something(answer: &Answer, is_tag: bool) -> bool {
    let headers = answer.headers();
    answer.status() == StatusCode::OK
        && (is_tag && told_digest(headers).is_none() || content_length(headers).is_none())
}

fn without_content(reply: Reply) -> Reply {
    match reply {
        Reply::Manifest(Conditional::Full(full)) => {
            Conditional::Full(Manifest::head(full.media_type, full.digest, full.size)).into()
        }
        other => other,
    }
}
