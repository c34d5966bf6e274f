use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::request::Parts;

#[cfg(feature = "build")]
use super::building::Building;
use super::grants::Grants;
use super::limits::Limits;
#[cfg(feature = "platform")]
use super::platform::Platforms;
use super::service::{Inner, Wave};
use super::settings::{Action, Authorize, HttpLayers, Settings};
use crate::error::{Error, ErrorCode};
use crate::layer::limit::Limiter;
use crate::rt::Clock;
use crate::spec::name::{Host, shortened};
use crate::spec::platform::Platform;
use crate::store::{MemoryRecords, Records};

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
    anonymous: bool,
    submissions: Option<Limiter>,
    #[cfg(feature = "build")]
    orders: Option<Limiter>,
    #[cfg(feature = "build")]
    building: Option<Building>,
    #[cfg(feature = "platform")]
    trusted_platforms: Option<Platforms>,
}

impl WaveBuilder {
    pub(super) fn new(server_url: String) -> Self {
        Self {
            server_url,
            lifetime: Wave::DEFAULT_LIFETIME,
            records: None,
            platforms: vec![Platform::LINUX_AMD64],
            http_layers: HttpLayers::default(),
            limits: Limits::default(),
            entry_chain: Some(Wave::ENTRY_CHAIN.to_owned()),
            base_annotations: true,
            authorize: Arc::new(|_, action| action != Action::Revoke),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: None,
            clock: Clock::system(),
            anonymous: true,
            submissions: None,
            #[cfg(feature = "build")]
            orders: None,
            #[cfg(feature = "build")]
            building: None,
            #[cfg(feature = "platform")]
            trusted_platforms: None,
        }
    }

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

    /// Who may describe and revoke tokens, and watch builds: `authorize` is asked with the head of the HTTP request,
    /// whose extensions may say who the caller is and whose path has the token or the build's name. By default whoever
    /// knows a token may describe it, whoever knows a build's name, which can't be guessed, may watch it, and nobody may
    /// revoke a token.
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

    /// Whether requests are taken of who didn't say who it is: neither by an [`Identity`](crate::operation::Identity)
    /// among the extensions of the HTTP request nor by a `towerAccessToken`. True by default; else such requests get a
    /// 401.
    pub fn anonymous(mut self, allowed: bool) -> Self {
        self.anonymous = allowed;
        self
    }

    /// How many container-token requests a caller may send. No limit by default. Pulls have a
    /// [layer](crate::layer::limit) of their own.
    pub fn submission_limit(mut self, limiter: Limiter) -> Self {
        self.submissions = Some(limiter);
        self
    }

    /// How many of a caller's requests may ask for builds and freezes. No limit by default.
    #[cfg(feature = "build")]
    pub fn build_limit(mut self, limiter: Limiter) -> Self {
        self.orders = Some(limiter);
        self
    }

    /// How images are built and frozen. Requests for that get a 501 without it.
    #[cfg(feature = "build")]
    pub fn building(mut self, building: Building) -> Self {
        self.building = Some(building);
        self
    }

    /// The platforms whose users' credentials are used for requests with a `towerAccessToken`, and that may pair with
    /// this service. Without any, such requests are taken as all others.
    #[cfg(feature = "platform")]
    pub fn trusted_platforms(mut self, platforms: Platforms) -> Self {
        self.trusted_platforms = Some(platforms);
        self
    }

    /// The clock that tokens and builds live by: for tests.
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
        #[cfg(feature = "build")]
        let made = self.building.map(|building| building.build(&clock, &records)).transpose()?;
        let grants = Grants::new(records, self.http_layers, clock.clone());
        let settings = Settings {
            #[cfg(feature = "build")]
            server_url: self.server_url.trim_end_matches('/').to_owned(),
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
            anonymous: self.anonymous,
            submissions: self.submissions,
            #[cfg(feature = "build")]
            orders: self.orders,
            #[cfg(feature = "build")]
            made,
            #[cfg(feature = "platform")]
            trusted_platforms: self.trusted_platforms,
        };
        Ok(Wave(Arc::new(Inner::new(settings, grants))))
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
