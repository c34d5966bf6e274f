use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::cap::Caps;
use super::connect::Connector;
use super::dial::StaticHosts;
use super::exchange::Exchange;
use super::guard::Guard;
use super::proxy::{Proxies, ProxySettings};
use super::service::HttpService;
#[cfg(feature = "tls")]
use super::tls::{Tls, TlsProvider, TlsSettings};
use crate::error::{Error, ErrorCode};
use crate::rt::{Tasks, env};
use crate::secret::Secret;
use crate::spec::name::Host;

/// What all upstreams share on their way: trusted roots, an HTTP proxy, time-outs, caps. Clones share it.
///
/// ```
/// # fn main() -> Result<(), tower_oci::error::Error> {
/// use std::time::Duration;
/// use tower_oci::client::transport::{Guard, Transport};
///
/// let transport = Transport::builder().connect_timeout(Duration::from_secs(5)).proxy_from_env().build()?;
/// let public = transport.connect(Guard::public_only());
/// let internal = transport.connect(Guard::public_only().allow_host(&"registry.corp.example".parse()?));
/// # let _ = (public, internal); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Transport(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) caps: Caps,
    pub(super) proxies: Proxies,
    pub(super) hosts: StaticHosts,
    pub(super) tasks: Tasks,
    #[cfg(feature = "tls")]
    pub(super) tls: Tls,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) header: Duration,
    pub(super) body_idle: Duration,
    pub(super) pool_idle: Duration,
    pub(super) queue: Duration,
    pub(super) per_host: usize,
}

impl Transport {
    /// Settings, all with a default.
    pub fn builder() -> TransportBuilder {
        TransportBuilder::default()
    }

    /// A pool of connections that go where `guard` lets them.
    ///
    /// Each call makes a pool of its own; clones of the service share it. The caps on exchanges per host hold for all
    /// pools of a transport together. It has to be used on a tokio runtime with time and I/O enabled.
    ///
    /// Its errors say what happened: a name that doesn't resolve, a refused or broken connection and a full queue are
    /// [`Unavailable`], time-outs are [`TimedOut`], a certificate that isn't trusted and an answer that isn't HTTP
    /// are [`BadGateway`], the guard's refusals are [`Denied`]. None holds a path or a query, since those of signed
    /// URLs are secrets.
    ///
    /// [`Unavailable`]: crate::error::ErrorKind::Unavailable
    /// [`TimedOut`]: crate::error::ErrorKind::TimedOut
    /// [`BadGateway`]: crate::error::ErrorKind::BadGateway
    /// [`Denied`]: crate::error::ErrorKind::Denied
    #[must_use]
    pub fn connect(&self, guard: Guard) -> HttpService {
        let connector = Connector::new(Arc::clone(&self.0), guard);
        HttpService::new(Exchange::new(connector, Arc::clone(&self.0)))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// The settings of a [`Transport`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TransportBuilder {
    limits: Limits,
    proxies: ProxySettings,
    hosts: StaticHosts,
    tasks: Option<Tasks>,
    #[cfg(feature = "tls")]
    tls: TlsSettings,
    #[cfg(feature = "http2")]
    http2: bool,
}

impl Default for TransportBuilder {
    fn default() -> Self {
        let limits = Limits {
            connect: Duration::from_secs(10),
            header: Duration::from_secs(30),
            body_idle: Duration::from_secs(60),
            pool_idle: Duration::from_secs(90),
            queue: Duration::from_secs(30),
            per_host: 64,
        };
        Self {
            limits,
            proxies: ProxySettings::default(),
            hosts: StaticHosts::new(),
            tasks: None,
            #[cfg(feature = "tls")]
            tls: TlsSettings::default(),
            #[cfg(feature = "http2")]
            http2: false,
        }
    }
}

/// Time-outs and caps.
impl TransportBuilder {
    /// How long resolving, connecting, the proxy's tunnel and the TLS handshake may take together: 10 seconds by
    /// default. Addresses of a name are tried in order, each with its share of what is left.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long an upstream may take to send the head of its response: 30 seconds by default, connecting included. It
    /// counts anew with each piece of an upload that the upstream took, and stands still while it is the upload's
    /// source that gives nothing.
    pub fn header_timeout(mut self, limit: Duration) -> Self {
        self.limits.header = limit;
        self
    }

    /// How long a response's body may give nothing: 60 seconds by default. There is no limit on the whole.
    pub fn body_idle_timeout(mut self, limit: Duration) -> Self {
        self.limits.body_idle = limit;
        self
    }

    /// How long an idle connection is kept: 90 seconds by default.
    pub fn pool_idle_timeout(mut self, limit: Duration) -> Self {
        self.limits.pool_idle = limit;
        self
    }

    /// How many exchanges with one scheme, host and port may go on at once, each counted until its response's body has
    /// ended: 64 by default. Over HTTP/1.1 that is the number of connections in use; as many may be idle. Requests beyond wait in order.
    pub fn max_per_host(mut self, count: usize) -> Self {
        self.limits.per_host = count;
        self
    }

    /// How long a request waits for its turn when the cap per host is reached: 30 seconds by default.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.limits.queue = limit;
        self
    }

    /// Where the tasks of connections are counted; by default the transport has [`Tasks`] of its own. A shutdown of the
    /// tasks doesn't wait for connections, but ends them after everything else.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = Some(tasks);
        self
    }

    /// Lets `host`, whatever its port, have these addresses in place of the resolver's. The guard judges them like
    /// others. The port of `host` is ignored.
    pub fn resolve(mut self, host: &Host, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.hosts.insert(host.hostname().to_owned(), addresses.into_iter().collect());
        self
    }
}

/// HTTP proxies.
///
/// A proxy is given as `http://host:port`, with `user:password@` in front of the host where it wants Basic
/// credentials; `%40` and the like are decoded. https goes through it by `CONNECT`, plain http by sending it the whole
/// URI. `localhost` and loopback addresses are never reached through a proxy. What the [`Guard`] can judge there is told
/// in its documentation.
impl TransportBuilder {
    /// The proxy for http and https.
    pub fn proxy(self, uri: impl Into<Secret>) -> Self {
        let uri = uri.into();
        self.http_proxy(uri.clone()).https_proxy(uri)
    }

    /// The proxy for plain http.
    pub fn http_proxy(mut self, uri: impl Into<Secret>) -> Self {
        self.proxies.http = Some(uri.into());
        self
    }

    /// The proxy for https.
    pub fn https_proxy(mut self, uri: impl Into<Secret>) -> Self {
        self.proxies.https = Some(uri.into());
        self
    }

    /// What is reached without a proxy: entries divided by commas, added to those that are there. `registry.example` means
    /// that host and those below it, `.example` those below it only; both may have a port. `10.0.0.0/8` and `10.0.0.1`
    /// mean addresses that are written in the URL. `*` means everything.
    pub fn no_proxy(mut self, list: impl Into<String>) -> Self {
        self.proxies.no_proxy.push(list.into());
        self
    }

    /// Takes the proxies from the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` for both, and `NO_PROXY`,
    /// in lower or upper case, of which lower case goes first. `HTTP_PROXY` in upper case doesn't count in a CGI program
    /// (where `REQUEST_METHOD` is set), because there clients may set it.
    pub fn proxy_from_env(mut self) -> Self {
        self.proxies.read_env(env::text);
        self
    }
}

/// TLS and HTTP/2.
impl TransportBuilder {
    /// Trusts these root certificates too: one or more in PEM.
    #[cfg(feature = "tls")]
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.pem.push(pem.into());
        self
    }

    /// Trusts this root certificate too, in DER.
    #[cfg(feature = "tls")]
    pub fn root_certificate_der(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.tls.der.push(der.into());
        self
    }

    /// Whether the platform's root certificates are trusted, as they are by default; without them, only those that were
    /// added. They are read at the first https connection, from where the platform has them. On Unix systems
    /// other than macOS the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` say where that is, by common usage.
    #[cfg(feature = "tls")]
    pub fn native_roots(mut self, trusted: bool) -> Self {
        self.tls.native_roots = trusted;
        self
    }

    /// The implementation of cryptography.
    #[cfg(feature = "tls")]
    pub fn tls_provider(mut self, provider: TlsProvider) -> Self {
        self.tls.provider = Some(provider);
        self
    }

    /// Whether HTTP/2 is offered in TLS handshakes (ALPN); it isn't by default. Over plain http it is never
    /// spoken. For large blobs several connections with HTTP/1.1 are faster than one with HTTP/2.
    #[cfg(feature = "http2")]
    pub fn http2(mut self, offered: bool) -> Self {
        self.http2 = offered;
        self
    }
}

impl TransportBuilder {
    /// Checks the settings. Nothing is connected to, and nothing is read.
    ///
    /// # Errors
    ///
    /// `Invalid` when a proxy's address or a root certificate is malformed or the cap per host is zero.
    pub fn build(self) -> Result<Transport, Error> {
        let per_host = self.limits.per_host;
        if per_host == 0 || per_host > Semaphore::MAX_PERMITS {
            let message = format!("the cap on exchanges per host is {per_host}, which makes no sense");
            return Err(Error::invalid(ErrorCode::Unsupported, message));
        }
        #[cfg(all(feature = "tls", feature = "http2"))]
        let http2 = self.http2;
        #[cfg(all(feature = "tls", not(feature = "http2")))]
        let http2 = false;
        Ok(Transport(Arc::new(Shared {
            caps: Caps::new(per_host),
            proxies: self.proxies.parse()?,
            hosts: self.hosts,
            tasks: self.tasks.unwrap_or_default(),
            limits: self.limits,
            #[cfg(feature = "tls")]
            tls: self.tls.parse(http2)?,
        })))
    }
}
