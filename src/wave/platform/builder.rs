use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::api::Api;
use super::aws::Aws;
use super::endpoint::Endpoint;
use super::exchange::Exchange;
use super::kept::Answers;
use super::pairing::Pairings;
use super::platforms::{Inner, Platforms};
use super::settings::Settings;
use super::tokens::Renewals;
use crate::client::transport::HttpService;
use crate::error::Error;
use crate::rt::{Clock, Tasks};
use crate::spec::name::shortened;
use crate::store::{MemoryRecords, Records};
use crate::wave::request::invalid;

/// The settings of [`Platforms`].
#[must_use]
pub struct PlatformsBuilder {
    http: HttpService,
    endpoints: Vec<String>,
    plain_http: bool,
    records: Option<Arc<dyn Records>>,
    timeout: Duration,
    tasks: Tasks,
    clock: Clock,
    ecr: Option<String>,
    sts: Option<String>,
}

impl PlatformsBuilder {
    pub(super) fn new(http: HttpService) -> Self {
        Self {
            http,
            endpoints: Vec::new(),
            plain_http: false,
            records: None,
            timeout: DEFAULT_TIMEOUT,
            tasks: Tasks::new(),
            clock: Clock::system(),
            ecr: None,
            sts: None,
        }
    }

    /// A platform that is trusted, by the URL of its API: access tokens that come with requests are sent there, when
    /// the request says so. Can be given several times; by default it is `https://api.cloud.seqera.io`, for which
    /// `https://api.tower.nf` is another name, and no other.
    ///
    /// A request that names none means that one, whichever are trusted.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// Whether platforms may be trusted that are reached over plain http: false by default.
    pub fn plain_http(mut self, allowed: bool) -> Self {
        self.plain_http = allowed;
        self
    }

    /// Where the keys of pairings and renewed tokens are kept. Private keys are in such records as they are, so that
    /// whoever can read them can read what platforms send; tokens are sealed.
    ///
    /// By default it is the memory of this process: after a restart platforms have to pair again.
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(records);
        self
    }

    /// How long a question to these [`Platforms`] may take, however many requests it needs: 20 seconds by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Where requests run that several may wait for, and that go on when who asked has left. By default it is a count
    /// of its own.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// The clock that answers are believed by, that keys are renewed by and that requests to AWS are signed with: for
    /// tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// One service of AWS for all regions that gives out registries' passwords, in the place of Amazon's own: for tests
    /// and for private endpoints. A URL without a path.
    pub fn ecr_endpoint(mut self, url: impl Into<String>) -> Self {
        self.ecr = Some(url.into());
        self
    }

    /// One service of AWS for all regions that gives out the keys of roles, in the place of Amazon's own: for tests
    /// and for private endpoints. A URL without a path.
    pub fn sts_endpoint(mut self, url: impl Into<String>) -> Self {
        self.sts = Some(url.into());
        self
    }

    /// The platforms.
    ///
    /// # Errors
    ///
    /// When a URL can't be one, or is one of plain http without leave, naming it.
    pub fn build(self) -> Result<Platforms, Error> {
        let endpoints =
            if self.endpoints.is_empty() { vec![Endpoint::DEFAULT.to_owned()] } else { self.endpoints };
        let read = |url: &String| {
            let refused =
                |reason: &str| invalid(format!("`{}` can't be a trusted platform: {reason}", shortened(url)));
            let endpoint = Endpoint::parse(url).map_err(refused)?;
            if !endpoint.is_https() && !self.plain_http {
                return Err(refused("it is reached over plain http, which wasn't allowed"));
            }
            Ok(endpoint)
        };
        let endpoints = endpoints.iter().map(read).collect::<Result<_, _>>()?;
        let (ecr, sts) = (self.ecr.map(service).transpose()?, self.sts.map(service).transpose()?);
        let (clock, tasks) = (self.clock, self.tasks);
        let records = self
            .records
            .unwrap_or_else(|| Arc::new(MemoryRecords::with_capacity(MAX_RECORDS).clock(clock.clone())));
        let exchange = Exchange::new(self.http, self.timeout);
        let renewals = Renewals::new(Arc::clone(&records), exchange.clone(), clock.clone(), tasks.clone());
        Ok(Platforms::new(Inner {
            api: Api::new(exchange.clone(), renewals),
            aws: Aws { exchange, clock: clock.clone(), password_service: ecr, role_service: sts },
            pairings: Pairings::new(records, clock.clone(), tasks.clone()),
            users: Answers::new(clock.clone(), tasks.clone()),
            listings: Answers::new(clock.clone(), tasks.clone()),
            keys: Answers::new(clock.clone(), tasks.clone()),
            passwords: Answers::new(clock.clone(), tasks),
            settings: Settings { endpoints, timeout: self.timeout, clock },
        }))
    }
}

impl fmt::Debug for PlatformsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformsBuilder").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// The address of a service of AWS; its path is what is signed.
fn service(url: String) -> Result<Uri, Error> {
    let uri = url.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none()
    });
    uri.ok_or_else(|| {
        invalid(format!("`{}` can't be a service of AWS: it is no URL without a path", shortened(&url)))
    })
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// The most pairings and renewed tokens in memory.
const MAX_RECORDS: usize = 10_000;
