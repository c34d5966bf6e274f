use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::write::{Seal, Writes};
use super::{Inner, Refusal, Upstream};
use crate::client::auth::Auth;
use crate::client::origin::WebOrigin;
use crate::client::quirks::{Known, Quirks};
use crate::client::redirect::Redirects;
use crate::client::retry::{Budget, RetryPolicy};
use crate::client::transport::{Guard, HttpService, Transport};
use crate::error::{Error, ErrorCode};
use crate::operation::{Anonymous, BoxFuture, Credential, Credentials};
use crate::rt::Clock;
use crate::secret::Secret;
use crate::spec::name::{Host, Repository};

/// How long a client waits for headers: containerd gives up after 30 seconds.
const HEADERS_WITHIN: Duration = Duration::from_secs(25);

const USER_AGENT: &str = concat!("tower-oci/", env!("CARGO_PKG_VERSION"));

/// The settings of an [`Upstream`]. What is built in about well-known registries is filled in where nothing is said.
#[derive(Clone)]
#[must_use]
pub struct UpstreamBuilder {
    host: Host,
    endpoint: Option<Host>,
    plain_http: bool,
    credentials: Option<Arc<dyn Credentials>>,
    token_hosts: Vec<Host>,
    /// Whether the embedder named it: then it may be at a private address.
    named: bool,
    allowed_hosts: Vec<Host>,
    allowed_networks: Vec<String>,
    transport: Option<Transport>,
    http: Option<HttpService>,
    http_elsewhere: Option<HttpService>,
    redirects: Redirects,
    quirks: Option<Quirks>,
    retry: RetryPolicy,
    headers_within: Duration,
    user_agent: Option<HeaderValue>,
    secret_headers: HeaderMap,
    writes: bool,
    upload_key: Option<Secret>,
    upload_hosts: Vec<Host>,
    clock: Clock,
}

impl UpstreamBuilder {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            endpoint: None,
            plain_http: false,
            credentials: None,
            token_hosts: Vec::new(),
            named: true,
            allowed_hosts: Vec::new(),
            allowed_networks: Vec::new(),
            transport: None,
            http: None,
            http_elsewhere: None,
            redirects: Redirects::default(),
            quirks: None,
            retry: RetryPolicy::new(),
            headers_within: HEADERS_WITHIN,
            user_agent: None,
            secret_headers: HeaderMap::new(),
            writes: false,
            upload_key: None,
            upload_hosts: Vec::new(),
            clock: Clock::system(),
        }
    }

    /// Where it is spoken to, if not at its name.
    pub fn endpoint(mut self, endpoint: Host) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// It is spoken to over plain http. Its token service may then be so, too.
    pub fn plain_http(mut self, plain: bool) -> Self {
        self.plain_http = plain;
        self
    }

    /// With which credentials it is asked. An extension [`Credential`] of a request goes before.
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The one credential with which it is asked, for all of its repositories.
    pub fn credential(self, credential: Credential) -> Self {
        self.credentials(Arc::new(One(credential)))
    }

    /// A host whose token service may be given the credentials, beside the upstream's own origin and what is built in.
    /// It is asked over https, and over plain http only where the upstream is.
    pub fn token_host(mut self, host: Host) -> Self {
        self.token_hosts.push(host);
        self
    }

    /// A host that redirects and foreign token services may lead to, though its address be a private one. The
    /// endpoint and the token hosts may be private in any case, since they are named here.
    pub fn allow_host(mut self, host: Host) -> Self {
        self.allowed_hosts.push(host);
        self
    }

    /// Private addresses in CIDR notation that the upstream, its redirects and foreign token services may be at.
    pub fn allow_network(mut self, network: impl Into<String>) -> Self {
        self.allowed_networks.push(network.into());
        self
    }

    /// What connections are made by; else it makes a transport of its own, with its defaults.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The service that all requests go through, in place of a transport: guarding addresses and time-outs are then
    /// its own business.
    pub fn http(mut self, http: HttpService) -> Self {
        self.http = Some(http);
        self
    }

    /// The service for requests to others than the upstream itself and its token hosts: targets of redirects, and token
    /// services that nobody has named. It has to guard addresses. Only of use beside [`http`](Self::http).
    pub fn http_elsewhere(mut self, http: HttpService) -> Self {
        self.http_elsewhere = Some(http);
        self
    }

    /// What happens when it says that a blob is elsewhere.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// How it strays from the specification, in place of what is built in.
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = Some(quirks);
        self
    }

    /// How often it is tried again.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long an answer's headers may take in all, with tokens, redirects and retries: 25 seconds, since containerd
    /// gives up after 30.
    pub fn headers_within(mut self, limit: Duration) -> Self {
        self.headers_within = limit;
        self
    }

    /// What we call ourselves: `tower-oci/<version>`.
    pub fn user_agent(mut self, user_agent: HeaderValue) -> Self {
        self.user_agent = Some(user_agent);
        self
    }

    /// A header that opens the registry. Like a credential it goes to the upstream's own origin only.
    pub fn secret_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.secret_headers.insert(name, value);
        self
    }

    /// Whether uploads, manifests and deletes are passed on; without it they are `UNSUPPORTED`. Who may write is for a
    /// layer above to say: the upstream sees its own [`credentials`](Self::credentials), whoever our client is.
    ///
    /// Content is streamed, and sent once: an upstream that nothing is known of is asked who may write before that. No
    /// write is tried again unless no connection could be made. What brings content may take longer than
    /// [`headers_within`](Self::headers_within); a client that sends nothing for 60 seconds is given up, and an
    /// upstream that takes and says nothing for the transport's
    /// [`header_timeout`](crate::client::transport::TransportBuilder::header_timeout). Redirects of writes aren't
    /// followed.
    ///
    /// A manifest with a `subject` is passed on like others. Where the upstream has no referrers API, the answer has no
    /// `OCI-Subject`, by which the client knows that it has to write the referrers tag itself.
    pub fn writes(mut self, passed_on: bool) -> Self {
        self.writes = passed_on;
        self
    }

    /// The key that upload locations are sealed with: text of 32 bytes at least, made at random, a secret. All
    /// instances that have the same one go on with each other's uploads.
    ///
    /// What a client gets in place of the upstream's `Location` is encrypted and authenticated: it can neither be read
    /// nor made up, and is good for this upstream and that repository, for 24 hours. Without a key each upstream that is
    /// built makes one of its own: after a restart, or at another instance, its open uploads are unknown, and clients
    /// begin again.
    pub fn upload_key(mut self, key: impl Into<Secret>) -> Self {
        self.upload_key = Some(key.into());
        self
    }

    /// A host that the upstream's upload locations may lead to, beside its own origin: anything else is answered with
    /// 502. It gets the content, but no credentials; it may be at a private address. It is asked over https, and over
    /// plain http only where the upstream is.
    pub fn upload_host(mut self, host: Host) -> Self {
        self.upload_hosts.push(host);
        self
    }

    /// The clock that upload locations live by: for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The upstream.
    ///
    /// # Errors
    ///
    /// When a host makes no URL, a network isn't in CIDR notation, a transport can't be made, or the key for uploads is
    /// too short.
    pub fn build(self) -> Result<Upstream, Error> {
        let known = Known::of(&self.host);
        let endpoint = match (&self.endpoint, known.endpoint) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(known)) => known.parse()?,
            (None, None) => self.host.clone(),
        };
        let (uri, origin) = located(&endpoint, self.plain_http)?;
        let mut token_hosts = self.token_hosts.clone();
        // What is built in holds for the registry where it is at home.
        if self.endpoint.is_none()
            && let Some(known) = known.token_host
        {
            token_hosts.push(known.parse()?);
        }
        let (own, elsewhere) = self.services(&endpoint)?;
        let token_origins = self.origins(&token_hosts)?;
        let auth = Auth::new(origin.clone(), token_origins, own.clone(), elsewhere.clone());
        let writes = if self.writes { Some(self.passed_on()?) } else { None };
        Ok(Upstream(Arc::new(Inner {
            host: self.host,
            endpoint: uri,
            origin,
            own,
            elsewhere,
            credentials: self.credentials.unwrap_or_else(|| Arc::new(Anonymous::new())),
            auth,
            redirects: self.redirects,
            quirks: self.quirks.unwrap_or(known.quirks),
            retry: self.retry,
            budget: Budget::new(),
            headers_within: self.headers_within,
            user_agent: self.user_agent.unwrap_or(HeaderValue::from_static(USER_AGENT)),
            secret_headers: self.secret_headers,
            writes,
            refuses_head_of_manifests: Refusal::default(),
            refuses_head_of_blobs: Refusal::default(),
        })))
    }

    /// The registry's host.
    pub(in crate::client) fn host(&self) -> &Host {
        &self.host
    }

    /// With `credentials`, `transport` and `upload_key`, unless it has its own.
    pub(in crate::client) fn or(
        mut self,
        credentials: Option<&Arc<dyn Credentials>>,
        transport: Option<&Transport>,
        upload_key: Option<&Secret>,
    ) -> Self {
        self.credentials = self.credentials.or_else(|| credentials.cloned());
        self.transport = self.transport.or_else(|| transport.cloned());
        self.upload_key = self.upload_key.or_else(|| upload_key.cloned());
        self
    }

    /// A client has named the host, and nobody else: it may not be at a private address. One pool of connections
    /// serves all such.
    pub(in crate::client) fn unnamed(mut self, public: HttpService) -> Self {
        self.named = false;
        self.http = Some(public);
        self
    }

    fn passed_on(&self) -> Result<Writes, Error> {
        let seal = match &self.upload_key {
            Some(key) => Seal::new(key)?,
            None => Seal::random()?,
        };
        let hosts = self.origins(&self.upload_hosts)?;
        Ok(Writes { seal, clock: self.clock.clone(), hosts, is_met: AtomicBool::new(false) })
    }

    /// Where `hosts` are asked: over plain http too, if the upstream is.
    fn origins(&self, hosts: &[Host]) -> Result<Vec<WebOrigin>, Error> {
        let schemes: &[bool] = if self.plain_http { &[false, true] } else { &[false] };
        let origins = hosts.iter().flat_map(|host| schemes.iter().map(move |plain| (host, *plain)));
        origins.map(|(host, plain)| Ok(located(host, plain)?.1)).collect()
    }

    /// The way to the upstream itself, and the one to everybody else.
    fn services(&self, endpoint: &Host) -> Result<(HttpService, HttpService), Error> {
        if let Some(http) = &self.http {
            return Ok((http.clone(), self.http_elsewhere.as_ref().unwrap_or(http).clone()));
        }
        let transport = match &self.transport {
            Some(transport) => transport.clone(),
            None => Transport::builder().build()?,
        };
        let mut guard = Guard::public_only();
        for host in &self.allowed_hosts {
            guard = guard.allow_host(host);
        }
        for network in &self.allowed_networks {
            guard = guard.allow_network(network)?;
        }
        let elsewhere = transport.connect(self.upload_hosts.iter().fold(guard.clone(), Guard::allow_host));
        if self.named {
            guard = self.token_hosts.iter().fold(guard.allow_host(endpoint), Guard::allow_host);
        }
        Ok((transport.connect(guard), elsewhere))
    }
}

impl fmt::Debug for UpstreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBuilder")
            .field("host", &self.host)
            .field("endpoint", &self.endpoint)
            .field("plain_http", &self.plain_http)
            .field("token_hosts", &self.token_hosts)
            .field("redirects", &self.redirects)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

/// A host as a URI and as an origin.
fn located(host: &Host, plain_http: bool) -> Result<(Uri, WebOrigin), Error> {
    let invalid =
        || Error::invalid(ErrorCode::NameInvalid, format!("the registry host `{host}` makes no URL"));
    let authority: Authority = host.as_str().parse().map_err(|_| invalid())?;
    let scheme = if plain_http { Scheme::HTTP } else { Scheme::HTTPS };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    let uri = uri.map_err(|_| invalid())?;
    let origin = WebOrigin::of(&uri).ok_or_else(invalid)?;
    Ok((uri, origin))
}

/// The same credential for everything.
#[derive(Debug)]
struct One(Credential);

impl Credentials for One {
    fn credential<'a>(
        &'a self,
        _: &'a Host,
        _: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}
