use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use moka::future::Cache;
use tower::ServiceExt as _;
use tower_service::Service;

use super::transport::{Guard, HttpService, Transport};
use super::upstream::{Upstream, UpstreamBuilder};
use crate::error::Error;
use crate::operation::{BoxFuture, Credentials, Operation, Pong, Request, Response, UpstreamId};
use crate::secret::Secret;
use crate::spec::name::Host;

/// How many hosts that nobody configured are remembered at once, with their tokens.
const MAX_HOSTS: u64 = 1024;

/// One that nobody asked for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// A leaf that holds several [`Upstream`]s: which one is asked says the extension [`UpstreamId`] of a request, as the
/// router sets it.
///
/// ```
/// use tower_oci::client::{Upstream, Upstreams};
/// use tower_oci::operation::Credential;
///
/// # fn main() -> Result<(), tower_oci::error::Error> {
/// let upstreams = Upstreams::builder()
///     .upstream(Upstream::builder("docker.io".parse()?).credential(Credential::basic("user", "password")))
///     // An on-premise registry may be at a private address, since it is named here.
///     .upstream(Upstream::builder("registry.corp.example:5000".parse()?).plain_http(true))
///     .default_upstream("docker.io".parse()?)
///     .build()?;
/// # let _ = upstreams; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    upstreams: BTreeMap<Host, Upstream>,
    default: Option<Host>,
    others: Option<Others>,
}

/// Registries that clients may name.
struct Others {
    known: Cache<Host, Upstream>,
    public: HttpService,
    credentials: Option<Arc<dyn Credentials>>,
}

impl Upstreams {
    /// Settings; without any it knows no registry.
    pub fn builder() -> UpstreamsBuilder {
        UpstreamsBuilder::default()
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams")
            .field("upstreams", &self.0.upstreams.keys().collect::<Vec<_>>())
            .field("default", &self.0.default)
            .field("any_host", &self.0.others.is_some())
            .finish()
    }
}

impl Service<Request> for Upstreams {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let id = request.extensions().get::<UpstreamId>();
            let Some(host) = id.map(UpstreamId::host).or(inner.default.as_ref()) else {
                if matches!(request.operation(), Operation::Ping(_)) {
                    return Ok(Response::new(Pong::new().into()));
                }
                return Err(Error::name_unknown("the name says no registry, and there is no default one"));
            };
            let upstream = inner.upstream(host).await?;
            upstream.oneshot(request).await
        })
    }
}

impl Inner {
    async fn upstream(&self, host: &Host) -> Result<Upstream, Error> {
        if let Some(upstream) = self.upstreams.get(host) {
            return Ok(upstream.clone());
        }
        let Some(others) = &self.others else {
            return Err(Error::name_unknown(format!("no upstream is configured for the registry `{host}`")));
        };
        if let Some(upstream) = others.known.get(host).await {
            return Ok(upstream);
        }
        let builder = Upstream::builder(host.clone()).unnamed(others.public.clone());
        let upstream = builder.or(others.credentials.as_ref(), None, None).build()?;
        // Two who come at once may each make one; the later stays.
        others.known.insert(host.clone(), upstream.clone()).await;
        Ok(upstream)
    }
}

/// The settings of [`Upstreams`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct UpstreamsBuilder {
    upstreams: Vec<UpstreamBuilder>,
    default: Option<Host>,
    any_host: bool,
    credentials: Option<Arc<dyn Credentials>>,
    transport: Option<Transport>,
    upload_key: Option<Secret>,
}

impl UpstreamsBuilder {
    /// Adds a registry; one for the same host takes the place of an earlier one.
    pub fn upstream(mut self, upstream: UpstreamBuilder) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// The registry of requests that name none.
    pub fn default_upstream(mut self, host: Host) -> Self {
        self.default = Some(host);
        self
    }

    /// Whether registries that aren't configured are asked as well: over https, at public addresses only. It makes an
    /// open proxy of the service, unless a layer says who may use it for what.
    pub fn any_host(mut self, any: bool) -> Self {
        self.any_host = any;
        self
    }

    /// The credentials of upstreams that have none of their own.
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// What connections are made by; else a transport with its defaults.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The key for upload locations of upstreams that have none of their own; see
    /// [`UpstreamBuilder::upload_key`]. It turns nothing on: each upstream says whether
    /// [writes are passed on](UpstreamBuilder::writes), and those reached by [`any_host`](Self::any_host) are only read
    /// from.
    pub fn upload_key(mut self, key: impl Into<Secret>) -> Self {
        self.upload_key = Some(key.into());
        self
    }

    /// The leaf.
    ///
    /// # Errors
    ///
    /// When an upstream can't be built, or the default one is neither configured nor reached by
    /// [`any_host`](Self::any_host).
    pub fn build(self) -> Result<Upstreams, Error> {
        let transport = match self.transport {
            Some(transport) => transport,
            None => Transport::builder().build()?,
        };
        let mut upstreams = BTreeMap::new();
        for builder in self.upstreams {
            let host = builder.host().clone();
            let upstream =
                builder.or(self.credentials.as_ref(), Some(&transport), self.upload_key.as_ref()).build()?;
            upstreams.insert(host, upstream);
        }
        if let Some(default) = &self.default
            && !self.any_host
            && !upstreams.contains_key(default)
        {
            return Err(Error::name_unknown(format!("the default upstream `{default}` is not configured")));
        }
        let others = self.any_host.then(|| Others {
            known: Cache::builder().max_capacity(MAX_HOSTS).time_to_idle(FORGOTTEN_AFTER).build(),
            public: transport.connect(Guard::public_only()),
            credentials: self.credentials,
        });
        Ok(Upstreams(Arc::new(Inner { upstreams, default: self.default, others })))
    }
}
