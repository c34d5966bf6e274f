//! Who asks for an image, and with whose credentials it is read.

#[cfg(feature = "build")]
use std::sync::Arc;

use bytes::Bytes;
use http::Extensions;

#[cfg(feature = "platform")]
use super::grant::Grant;
#[cfg(feature = "platform")]
use super::platform::{PlatformAccess, Platforms};
use super::service::Wave;
use super::submission::Submission;
use super::token::Token;
use crate::error::{Error, ErrorCode, ErrorKind};
#[cfg(feature = "build")]
use crate::operation::Credentials;
use crate::operation::{Credential, Identity};
#[cfg(feature = "build")]
use crate::spec::digest::Digest;
use crate::spec::name::ImageName;

/// Who asks: somebody whom this service reads images for with what it has itself, or the user of a platform, for whom it
/// reads them with what the platform keeps, and with nothing else.
pub(super) struct Caller {
    #[cfg(feature = "platform")]
    platform: Option<User>,
}

#[cfg(feature = "platform")]
struct User {
    platforms: Platforms,
    access: PlatformAccess,
    /// The platform's address and the user's number there.
    name: String,
}

impl Caller {
    /// Finds out who asks. What a platform doesn't confirm is refused, as are those who don't say who they are, where
    /// the service wants to know.
    pub(super) async fn of(wave: &Wave, facts: &Extensions, submission: &Submission) -> Result<Self, Error> {
        let settings = wave.settings();
        let identified = !Identity::of(facts).is_anonymous();
        #[cfg(feature = "platform")]
        if let (Some(platforms), Some(session)) = (&settings.trusted_platforms, &submission.platform) {
            let access = session.access();
            let user = platforms.user(&access).await?;
            let name = format!("{} {}", platforms.endpoint_of(&access)?, user.id);
            return Ok(Self { platform: Some(User { platforms: platforms.clone(), access, name }) });
        }
        let _ = submission;
        if settings.anonymous || identified {
            return Ok(Self {
                #[cfg(feature = "platform")]
                platform: None,
            });
        }
        let message = if cfg!(feature = "platform") {
            "this service takes no anonymous requests: send a `towerAccessToken`"
        } else {
            "this service takes no anonymous requests"
        };
        Err(Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, message))
    }

    /// What an image is read with, where that isn't the service's own.
    pub(super) async fn credential(
        &self,
        wave: &Wave,
        image: &ImageName,
    ) -> Result<Option<Credential>, Error> {
        #[cfg(feature = "platform")]
        if let Some(user) = &self.platform
            && !wave.settings().is_kept_here(image)
        {
            let found = user.platforms.credential(&user.access, image.registry(), Some(image.repository()));
            return found.await.map(Some);
        }
        let _ = (wave, image);
        Ok(None)
    }

    /// Whether a platform said who it is.
    pub(super) fn is_known_to_a_platform(&self) -> bool {
        #[cfg(feature = "platform")]
        return self.platform.is_some();
        #[cfg(not(feature = "platform"))]
        false
    }

    /// What a token's record keeps of it: nothing that can be read without the token.
    pub(super) fn seal(&self, token: &Token) -> Result<Option<Bytes>, Error> {
        #[cfg(feature = "platform")]
        if let Some(user) = &self.platform {
            return user.access.seal(token.expose().as_bytes()).map(Some);
        }
        let _ = token;
        Ok(None)
    }

    /// Credentials of the caller's own, and a name for the caller.
    #[cfg(feature = "build")]
    pub(super) fn own(&self) -> Option<(Arc<dyn Credentials>, Digest)> {
        #[cfg(feature = "platform")]
        if let Some(user) = &self.platform {
            let credentials = user.platforms.session(user.access.clone());
            return Some((credentials, Digest::sha256(user.name.as_bytes())));
        }
        None
    }
}

#[cfg(feature = "platform")]
impl Wave {
    /// What the image of a token is read with: what the platform keeps for who asked for the token.
    pub(super) async fn opened(
        &self,
        grant: &Grant,
        sealed: &Bytes,
        token: &str,
    ) -> Result<Option<Credential>, Error> {
        if self.settings().is_kept_here(&grant.image) {
            return Ok(None);
        }
        let platforms = self.settings().trusted_platforms.as_ref();
        let platforms = platforms
            .ok_or_else(|| Error::unavailable("this service no longer uses credentials of platforms"))?;
        let access = PlatformAccess::open(sealed, token.as_bytes())?;
        let image = &grant.image;
        platforms.credential(&access, image.registry(), Some(image.repository())).await.map(Some)
    }
}
