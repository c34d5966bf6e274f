use super::service::Session;
use crate::error::Error;
use crate::operation::{Forward, GetManifest, Response};
use crate::spec::name::Reference;

pub(super) async fn answer(session: Session, asked: GetManifest) -> Result<Response, Error> {
    session.pass(asked, Forward::Bypass).await
}

/// What `reference` means in this repository was changed by somebody who came this way.
pub(super) fn forget(_session: &Session, _reference: &Reference) {}
