use super::service::Session;
use crate::error::Error;
use crate::operation::{Forward, GetBlob, Response};

pub(super) async fn answer(session: Session, asked: GetBlob) -> Result<Response, Error> {
    session.pass(asked, Forward::Bypass).await
}
