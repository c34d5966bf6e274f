use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::builder::WaveBuilder;
use super::endpoints::EndpointsLayer;
use super::grant;
use super::grants::Grants;
use super::images::ImagesLayer;
use super::settings::Settings;
use super::submission::{Source, Submission};
#[cfg(feature = "build")]
use crate::build::builds::Builds;
use crate::error::Error;
use crate::layer::rewrite::Plan;
use crate::operation::{BoxRegistry, Registry};
use crate::spec::name::ImageName;

/// The container-token API of one service: its tokens and its settings. Clones share them.
///
/// See [the module](crate::wave) for an example.
#[derive(Clone)]
pub struct Wave(pub(super) Arc<Inner>);

pub(super) struct Inner {
    settings: Settings,
    grants: Grants,
    checks: Semaphore,
}

impl Inner {
    pub(super) fn new(settings: Settings, grants: Grants) -> Self {
        Self { settings, grants, checks: Semaphore::new(MAX_CHECKS) }
    }
}

impl Wave {
    /// How long a token lives unless [`WaveBuilder::token_lifetime`] says otherwise: 36 hours.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(36 * 60 * 60);

    /// The most live tokens in memory, where no [`WaveBuilder::records`] are given: 10,000.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// The variable through which an injected entry point calls the image's own one: `WAVE_ENTRY_CHAIN`.
    pub const ENTRY_CHAIN: &str = "WAVE_ENTRY_CHAIN";

    /// A service that clients reach at `server_url`: a scheme and an authority, as in `https://wave.example.com`
    /// or `http://localhost:9090`. The names that they pull by start with the authority.
    pub fn builder(server_url: impl Into<String>) -> WaveBuilder {
        WaveBuilder::new(server_url.into())
    }

    /// The layer over operations that resolves names under tokens, `wt/<token>/<repository>`: it maps them to the
    /// repository and sets its [`Origin`](crate::operation::Origin) and its
    /// [`Rewrite`](crate::layer::rewrite::Rewrite), pinned. Other requests pass as they are.
    ///
    /// Under a token only pulls are answered: all else is `DENIED`.
    #[must_use]
    pub fn images(&self) -> ImagesLayer {
        ImagesLayer::new(self.clone())
    }

    /// The HTTP layer that answers the paths of [the API](super#the-api), and passes everything else on. `images` is the stack of operations in which images are looked up, with a
    /// [rewrite layer](crate::layer::rewrite) that is told by extension; it may have
    /// [`images`](Self::images) on top or not.
    ///
    /// The extensions of the HTTP request, and so what layers around found out about the caller, go with the
    /// look-up.
    #[must_use]
    pub fn endpoints<R: Registry>(&self, images: R) -> EndpointsLayer {
        EndpointsLayer::new(self.clone(), BoxRegistry::new(images))
    }

    /// The image and the plan that the body of a `POST /container-token` means, checked in full but for whether the
    /// image exists; no image where one is to be built of a recipe. There is no I/O in it; layers that came with the request are inflated, which keeps a core busy.
    ///
    /// ```
    /// use tower_oci::wave::Wave;
    ///
    /// let wave = Wave::builder("http://localhost:9090").build()?;
    /// let body = br#"{"containerImage":"busybox","containerConfig":{"env":["A=1"]}}"#;
    /// let (image, plan) = wave.read_request(body)?;
    /// assert_eq!(image.unwrap().to_string(), "docker.io/library/busybox:latest");
    /// assert_eq!(plan.env(), ["A=1"]);
    /// # Ok::<_, tower_oci::error::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the request is answered with: 400, with a message that names the offending value, or 501 for what isn't
    /// there.
    pub fn read_request(&self, body: &[u8]) -> Result<(Option<ImageName>, Plan), Error> {
        let submission = Submission::read(body, self.settings())?;
        let plan = grant::plan(&submission, self.settings())?;
        let image = match submission.source {
            Source::Image(image) => Some(image),
            Source::Recipe(_) => None,
        };
        Ok((image, plan))
    }

    /// The builds of this service: to end them with it. None where it has no [`Building`](super::Building).
    #[cfg(feature = "build")]
    #[must_use]
    pub fn builds(&self) -> Option<&Builds> {
        self.0.settings.made.as_ref().map(|made| &made.builds)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn grants(&self) -> &Grants {
        &self.0.grants
    }

    /// Waits until one may keep a core busy.
    pub(super) async fn check_permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.0.checks.acquire().await.map_err(|error| Error::internal("never closed").with_source(error))
    }
}

impl fmt::Debug for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wave").field("settings", &self.0.settings).field("grants", &self.0.grants).finish()
    }
}

/// How many requests are checked on threads of their own at once; the others wait.
const MAX_CHECKS: usize = 4;
