use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

#[cfg(feature = "build")]
use super::building::Made;
use super::limits::Limits;
#[cfg(feature = "platform")]
use super::platform::Platforms;
use crate::layer::limit::Limiter;
use crate::rt::Clock;
use crate::spec::name::{Host, ImageName};
use crate::spec::platform::Platform;

/// What is done with a layer whose `location` is an http or https address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpLayers {
    /// Such requests get a 400.
    Refuse,
    /// The layer is fetched when it is pulled, checked on its way, and passed on. The address comes from outside, so
    /// the HTTP service that the rewrite layer fetches with has to be a guarded one.
    Stream,
    /// Clients are sent to the address when they pull the layer: this service connects to nothing. They check the
    /// digest themselves.
    #[default]
    Redirect,
}

/// What somebody wants to do with a token beside pulling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// `GET /container-token/{token}`.
    Describe,
    /// `DELETE /container-token/{token}`.
    Revoke,
    /// `GET /v1alpha1/builds/{id}` and what is below it, `GET /v1alpha2/container/{id}` and its status.
    Watch,
}

/// Who may do what, as the embedder decides.
pub(super) type Authorize = Arc<dyn Fn(&Parts, Action) -> bool + Send + Sync>;

/// What a [`Wave`](super::Wave) was built with.
pub(super) struct Settings {
    /// Where clients reach this service, without a slash at the end.
    #[cfg(feature = "build")]
    pub(super) server_url: String,
    /// What `targetImage` starts with.
    pub(super) authority: Host,
    pub(super) lifetime: Duration,
    /// The platforms of a request that names none; all when empty.
    pub(super) platforms: Vec<Platform>,
    pub(super) http_layers: HttpLayers,
    pub(super) limits: Limits,
    pub(super) entry_chain: Option<String>,
    pub(super) base_annotations: bool,
    pub(super) authorize: Authorize,
    pub(super) version: String,
    pub(super) commit: Option<String>,
    pub(super) clock: Clock,
    pub(super) anonymous: bool,
    pub(super) submissions: Option<Limiter>,
    #[cfg(feature = "build")]
    pub(super) orders: Option<Limiter>,
    #[cfg(feature = "build")]
    pub(super) made: Option<Made>,
    #[cfg(feature = "platform")]
    pub(super) trusted_platforms: Option<Platforms>,
}

impl Settings {
    /// Whether an image is one that this service keeps itself.
    pub(super) fn is_kept_here(&self, image: &ImageName) -> bool {
        #[cfg(feature = "build")]
        if let Some(made) = &self.made {
            return made.is_own(image);
        }
        let _ = image;
        false
    }
}

impl Settings {
    /// Whether an image is kept here for one caller alone: it is reached by that caller's tokens, and not by its name.
    pub(super) fn is_somebodys(&self, image: &ImageName) -> bool {
        #[cfg(feature = "build")]
        if let Some(made) = &self.made {
            return made.is_somebodys(image);
        }
        let _ = image;
        false
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("authority", &self.authority)
            .field("lifetime", &self.lifetime)
            .field("platforms", &self.platforms)
            .field("http_layers", &self.http_layers)
            .field("limits", &self.limits)
            .field("entry_chain", &self.entry_chain)
            .field("base_annotations", &self.base_annotations)
            .finish_non_exhaustive()
    }
}
