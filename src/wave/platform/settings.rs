use std::time::Duration;

use super::endpoint::Endpoint;
use crate::rt::Clock;

/// What [`Platforms`](super::Platforms) were built with.
pub(super) struct Settings {
    /// Those that are trusted.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) timeout: Duration,
    pub(super) clock: Clock,
}
