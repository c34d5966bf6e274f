use super::service::Session;
use crate::error::Error;
use crate::operation::{Forward, ListReferrers, ListTags, Response};

pub(super) async fn tags(session: Session, asked: ListTags) -> Result<Response, Error> {
    session.pass(asked, Forward::Bypass).await
}

pub(super) async fn referrers(session: Session, asked: ListReferrers) -> Result<Response, Error> {
    session.pass(asked, Forward::Bypass).await
}

/// The lists of this repository were changed by somebody who came this way.
pub(super) fn forget(_session: &Session) {}
