use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::limits::Limits;
use crate::rt::Clock;
use crate::spec::name::Host;
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
}

/// Who may do what, as the embedder decides.
pub(super) type Authorize = Arc<dyn Fn(&Parts, Action) -> bool + Send + Sync>;

/// What a [`Wave`](super::Wave) was built with.
pub(super) struct Settings {
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
