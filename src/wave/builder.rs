use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::request::Parts;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::endpoints::EndpointsLayer;
use super::grant;
use super::grants::Grants;
use super::images::ImagesLayer;
use super::limits::Limits;
use super::settings::{Action, Authorize, HttpLayers, Settings};
use super::submission::Submission;
use crate::error::{Error, ErrorCode};
use crate::layer::rewrite::Plan;
use crate::operation::{BoxRegistry, Registry};
use crate::rt::Clock;
use crate::spec::name::{Host, ImageName, shortened};
use crate::spec::platform::Platform;
use crate::store::{MemoryRecords, Records};

/// The container-token API of one service: its tokens and its settings. Clones share them.
///
/// See [the module](crate::wave) for an example.
#[derive(Clone)]
pub struct Wave(Arc<Inner>);

struct Inner {
    settings: Settings,
    grants: Arc<Grants>,
    checks: Semaphore,
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
        WaveBuilder {
            server_url: server_url.into(),
            lifetime: Self::DEFAULT_LIFETIME,
            records: None,
            platforms: vec![Platform::LINUX_AMD64],
            http_layers: HttpLayers::default(),
            limits: Limits::default(),
            entry_chain: Some(Self::ENTRY_CHAIN.to_owned()),
            base_annotations: true,
            authorize: Arc::new(|_, action| action == Action::Describe),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: None,
            clock: Clock::system(),
        }
    }

    /// The layer over operations that resolves names under tokens, `wt/<token>/<repository>`: it maps them to the
    /// repository and sets its [`Origin`](crate::operation::Origin) and its
    /// [`Rewrite`](crate::layer::rewrite::Rewrite), pinned. Other requests pass as they are.
    ///
    /// Under a token only pulls are answered: all else is `DENIED`.
    #[must_use]
    pub fn images(&self) -> ImagesLayer {
        ImagesLayer::new(Arc::clone(&self.0.grants))
    }

    /// The HTTP layer that answers `/container-token`, `/container-token/{token}` and `/service-info`, and passes
    /// everything else on. `images` is the stack of operations in which images are looked up, with a
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
    /// image exists. There is no I/O in it; layers that came with the request are inflated, which keeps a core busy.
    ///
    /// ```
    /// use tower_oci::wave::Wave;
    ///
    /// let wave = Wave::builder("http://localhost:9090").build()?;
    /// let body = br#"{"containerImage":"busybox","containerConfig":{"env":["A=1"]}}"#;
    /// let (image, plan) = wave.read_request(body)?;
    /// assert_eq!(image.to_string(), "docker.io/library/busybox:latest");
    /// assert_eq!(plan.env(), ["A=1"]);
    /// # Ok::<_, tower_oci::error::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the request is answered with: 400, with a message that names the offending value, or 501 for what isn't
    /// there yet.
    pub fn read_request(&self, body: &[u8]) -> Result<(ImageName, Plan), Error> {
        let submission = Submission::read(body, self.settings())?;
        let plan = grant::plan(&submission, self.settings())?;
        Ok((submission.image, plan))
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

/// The settings of a [`Wave`].
#[must_use]
pub struct WaveBuilder {
    server_url: String,
    lifetime: Duration,
    records: Option<Arc<dyn Records>>,
    platforms: Vec<Platform>,
    http_layers: HttpLayers,
    limits: Limits,
    entry_chain: Option<String>,
    base_annotations: bool,
    authorize: Authorize,
    version: String,
    commit: Option<String>,
    clock: Clock,
}

impl WaveBuilder {
    /// How long a token lives, in whole seconds. [`Wave::DEFAULT_LIFETIME`] by default.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Where tokens are kept: what they open, under their hashes. The content of layers that came with a request is
    /// part of it, so that a record may have as many bytes as a request.
    ///
    /// By default it is the memory of this process, for [`Wave::DEFAULT_CAPACITY`] tokens.
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(records);
        self
    }

    /// The platforms that are served of an image when the request has no `containerPlatform`; all that the image has
    /// when there are none. `linux/amd64` by default.
    pub fn default_platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.platforms = platforms.into_iter().collect();
        self
    }

    /// What is done with layers at http addresses: by default clients are sent there.
    pub fn http_layers(mut self, http_layers: HttpLayers) -> Self {
        self.http_layers = http_layers;
        self
    }

    /// How large requests and their parts may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The variable that tells an injected entry point the image's own one; `None` for no such variable.
    /// [`Wave::ENTRY_CHAIN`] by default.
    pub fn entry_chain(mut self, variable: Option<&str>) -> Self {
        self.entry_chain = variable.map(str::to_owned);
        self
    }

    /// Whether derived OCI manifests say by annotations which image they are derived from. True by default.
    pub fn base_annotations(mut self, on: bool) -> Self {
        self.base_annotations = on;
        self
    }

    /// Who may describe and revoke tokens: `authorize` is asked with the head of the HTTP request, whose extensions
    /// may say who the caller is and whose path has the token. By default whoever knows a token may describe it, and
    /// nobody may revoke one.
    pub fn authorize(mut self, authorize: impl Fn(&Parts, Action) -> bool + Send + Sync + 'static) -> Self {
        self.authorize = Arc::new(authorize);
        self
    }

    /// What `/service-info` says. By default it is the version of this crate, and no commit.
    pub fn version(mut self, version: impl Into<String>, commit: Option<&str>) -> Self {
        self.version = version.into();
        self.commit = commit.map(str::to_owned);
        self
    }

    /// The clock that tokens live by: for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The service.
    ///
    /// # Errors
    ///
    /// `NAME_INVALID`, naming the value, when the server URL isn't an http or https address of an authority alone,
    /// or its authority couldn't be told from a Docker Hub user in front of an image's name: it has a dot or a port,
    /// or is `localhost`. Also when tokens would live for less than a second.
    pub fn build(self) -> Result<Wave, Error> {
        let authority = authority(&self.server_url)?;
        if self.lifetime < Duration::from_secs(1) {
            let message = format!("tokens can't live for {:?}: a second is the least", self.lifetime);
            return Err(Error::invalid(ErrorCode::Unsupported, message));
        }
        let clock = self.clock;
        let records = self.records.unwrap_or_else(|| {
            Arc::new(MemoryRecords::with_capacity(Wave::DEFAULT_CAPACITY).clock(clock.clone()))
        });
        let grants = Arc::new(Grants::new(records, self.http_layers, clock.clone()));
        let settings = Settings {
            authority,
            lifetime: self.lifetime,
            platforms: self.platforms,
            http_layers: self.http_layers,
            limits: self.limits,
            entry_chain: self.entry_chain,
            base_annotations: self.base_annotations,
            authorize: self.authorize,
            version: self.version,
            commit: self.commit,
            clock,
        };
        Ok(Wave(Arc::new(Inner { settings, grants, checks: Semaphore::new(MAX_CHECKS) })))
    }
}

impl fmt::Debug for WaveBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaveBuilder").field("server_url", &self.server_url).finish_non_exhaustive()
    }
}

fn authority(server_url: &str) -> Result<Host, Error> {
    let refused = |reason: &str| {
        let url = shortened(server_url);
        Error::invalid(ErrorCode::NameInvalid, format!("invalid server URL `{url}`: {reason}"))
    };
    let uri: Uri = server_url.parse().map_err(|_| refused("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refused("it starts with neither `http://` nor `https://`"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(refused("it has a path or a query, and registries have none"));
    }
    let authority =
        uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default();
    let host: Host = authority.parse().map_err(|_| refused("its authority is no registry host"))?;
    if !Host::is_meant_by(host.as_str()) {
        return Err(refused("its host has no dot and no port, so that image names would mean Docker Hub"));
    }
    Ok(host)
}

/// How many requests are checked on threads of their own at once; the others wait.
const MAX_CHECKS: usize = 4;
