//! What a pull under a token is about, and with whose credentials it is read.

use super::grant::{Content, Grant};
use super::service::Wave;
use crate::error::Error;
#[cfg(feature = "build")]
use crate::error::{ErrorKind, RetryAfter};
use crate::operation::{Credential, UserAgent};
use crate::spec::digest::Digest;

impl Wave {
    /// The digest of what the token is for, once there is one: an image that is being built is waited for.
    pub(super) async fn content(&self, grant: &Grant, agent: Option<UserAgent>) -> Result<Digest, Error> {
        #[cfg(not(feature = "build"))]
        let _ = agent;
        match &grant.content {
            Content::Image { source, .. } => Ok(*source),
            #[cfg(feature = "build")]
            Content::Build(id) => {
                let made = self.settings().made.as_ref();
                let made = made.ok_or_else(|| Error::unavailable("this service no longer builds images"))?;
                let limit = made.patience(agent.as_ref());
                let log = format!("its log is at {}/v1alpha1/builds/{id}/logs", self.settings().server_url);
                match tokio::time::timeout(limit, made.builds.outcome(id)).await {
                    Ok(Ok(built)) => Ok(built.digest),
                    Ok(Err(error)) if error.kind() == ErrorKind::Invalid => {
                        Err(error.map_message(|reason| format!("{reason} ({log})")))
                    }
                    Ok(Err(error)) => Err(error),
                    Err(_) => {
                        let message = format!("the image is still being built, by {id}: {log}");
                        Err(Error::unavailable(message).with_retry_after(RetryAfter::Delay(SOON)))
                    }
                }
            }
        }
    }

    /// What the image is read with, where that isn't the service's own.
    pub(super) async fn credential_of(
        &self,
        grant: &Grant,
        token: &str,
    ) -> Result<Option<Credential>, Error> {
        #[cfg(feature = "platform")]
        if let Some(sealed) = &grant.access {
            return self.opened(grant, sealed, token).await;
        }
        let _ = token;
        match &grant.access {
            None => Ok(None),
            Some(_) => Err(Error::unavailable("this service no longer uses credentials of platforms")),
        }
    }
}

/// When somebody who waited for a build may come back.
#[cfg(feature = "build")]
const SOON: std::time::Duration = std::time::Duration::from_secs(5);
