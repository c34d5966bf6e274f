//! A platform on a socket, and a service that has paired with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tower_oci::body::Body;
use tower_oci::client::transport::{Guard, HttpService, Transport};
use tower_oci::error::{BoxError, Error};
use tower_oci::operation::Credential;
use tower_oci::rt::Clock;
use tower_oci::store::MemoryRecords;
use tower_oci::testing::{PlatformStandIn, Served, serve};
use tower_oci::wave::platform::{Pairing, PlatformAccess, Platforms, PlatformsBuilder};

/// The moment at which the tests' clocks start: 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600;

pub(crate) struct World {
    pub(crate) platform: PlatformStandIn,
    pub(crate) platforms: Platforms,
    pub(crate) records: MemoryRecords,
    pub(crate) endpoint: String,
    pub(crate) clock: Clock,
    seconds: Arc<AtomicU64>,
    _served: Served,
}

impl World {
    /// A platform with which the service has paired, and its user `alice`, whose token is `access`.
    pub(crate) async fn new() -> Self {
        Self::with(|platforms| platforms).await
    }

    pub(crate) async fn with(settings: impl FnOnce(PlatformsBuilder) -> PlatformsBuilder) -> Self {
        let world = Self::unpaired(settings);
        world.pair().await;
        world
    }

    /// Before the platform has paired.
    pub(crate) fn unpaired(settings: impl FnOnce(PlatformsBuilder) -> PlatformsBuilder) -> Self {
        let platform = PlatformStandIn::new();
        platform.user(1, "alice", "access");
        let served = serve(platform.clone()).unwrap();
        let seconds = Arc::new(AtomicU64::new(START));
        let read = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(read.load(Ordering::Relaxed))
        });
        let records = MemoryRecords::with_capacity(100).clock(clock.clone());
        let endpoint = served.url("");
        let platforms = settings(builder(&endpoint, &records, &clock)).build().unwrap();
        Self { platform, platforms, records, endpoint, clock, seconds, _served: served }
    }

    /// Another process of the same service: it shares the records and nothing else.
    pub(crate) fn restarted(&self) -> Platforms {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> PlatformsBuilder {
        builder(&self.endpoint, &self.records, &self.clock)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Lets the platform pair, and tells it the answer.
    pub(crate) async fn pair(&self) -> Pairing {
        let pairing = self.platforms.pair(pairing_request(&self.endpoint).as_bytes()).await.unwrap();
        self.platform.pair(&pairing);
        pairing
    }

    pub(crate) fn access(&self, token: &str) -> PlatformAccess {
        PlatformAccess::new(token).endpoint(&self.endpoint)
    }

    /// What opens `repository` of `registry` for alice.
    pub(crate) async fn find(&self, registry: &str, repository: &str) -> Result<Credential, Error> {
        self.find_as(&self.access("access"), registry, repository).await
    }

    pub(crate) async fn find_as(
        &self,
        access: &PlatformAccess,
        registry: &str,
        repository: &str,
    ) -> Result<Credential, Error> {
        let repository = repository.parse().unwrap();
        self.platforms.credential(access, &registry.parse().unwrap(), Some(&repository)).await
    }

    /// What the platform was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.platform.recorder().take()
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        format!("the platform `{}`", self.endpoint)
    }
}

fn builder(endpoint: &str, records: &MemoryRecords, clock: &Clock) -> PlatformsBuilder {
    let guard = Guard::public_only().allow_network("127.0.0.1").unwrap();
    let http = Transport::builder().build().unwrap().connect(guard);
    Platforms::builder(http)
        .endpoint(endpoint)
        .plain_http(true)
        .records(Arc::new(records.clone()))
        .clock(clock.clone())
}

pub(crate) fn pairing_request(endpoint: &str) -> String {
    serde_json::json!({ "service": "tower", "endpoint": endpoint }).to_string()
}

/// Platforms of which `http` answers all requests, with `https://platform.test` among them, which has paired: without
/// sockets, so that time can be paused.
pub(crate) async fn in_memory<S>(
    http: S,
    settings: impl FnOnce(PlatformsBuilder) -> PlatformsBuilder,
) -> (Platforms, Pairing)
where
    S: tower::Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error: Into<BoxError>,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let clock = Clock::from_fn(|| SystemTime::UNIX_EPOCH + Duration::from_secs(START));
    let platforms = Platforms::builder(HttpService::new(http)).endpoint(IN_MEMORY).clock(clock);
    let platforms = settings(platforms).build().unwrap();
    let pairing = platforms.pair(pairing_request(IN_MEMORY).as_bytes()).await.unwrap();
    (platforms, pairing)
}

pub(crate) const IN_MEMORY: &str = "https://platform.test";

/// Status and message of what must fail.
#[track_caller]
pub(crate) fn failure<T>(result: Result<T, Error>) -> (u16, String) {
    let error = result.err().unwrap();
    (error.status().as_u16(), error.message().to_owned())
}
