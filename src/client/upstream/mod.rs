//! One registry, reached over HTTP.

mod answer;
mod blob;
mod builder;
mod exchange;
mod list;
mod manifest;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::Instant;
use tower_service::Service;

pub use self::builder::UpstreamBuilder;
use self::exchange::{Ask, Caller};
use self::write::{Writes, brings_content};
use super::auth::{Auth, Who};
use super::origin::WebOrigin;
use super::quirks::Quirks;
use super::redirect::Redirects;
use super::retry::{Budget, RetryPolicy};
use super::transport::HttpService;
use crate::error::Error;
use crate::operation::{
    Access, BoxFuture, Credential, Credentials, Operation, Request, Response, WithoutRedirect,
    WithoutVerification,
};
use crate::spec::name::{Host, Repository};

/// A leaf that answers operations by asking a registry over HTTP. Clones share its connections, tokens and budget.
///
/// What it does, and what it doesn't: see the [room's page](super).
///
/// ```
/// use tower_oci::client::Upstream;
/// use tower_oci::operation::Credential;
///
/// # fn main() -> Result<(), tower_oci::error::Error> {
/// let hub = Upstream::builder("docker.io".parse()?)
///     .credential(Credential::basic("user", "password"))
///     .build()?;
/// assert_eq!(hub.host().as_str(), "docker.io");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

pub(super) struct Inner {
    host: Host,
    /// Scheme and authority that are spoken to.
    endpoint: Uri,
    origin: WebOrigin,
    own: HttpService,
    elsewhere: HttpService,
    credentials: Arc<dyn Credentials>,
    auth: Auth,
    redirects: Redirects,
    quirks: Quirks,
    retry: RetryPolicy,
    budget: Budget,
    headers_within: Duration,
    user_agent: HeaderValue,
    secret_headers: HeaderMap,
    writes: Option<Writes>,
    /// What turned out to be refused.
    refuses_head_of_manifests: Refusal,
    refuses_head_of_blobs: Refusal,
}

impl Upstream {
    /// Settings for the registry `host`, as names mean it: `docker.io`, `registry.corp.example:5000`.
    pub fn builder(host: Host) -> UpstreamBuilder {
        UpstreamBuilder::new(host)
    }

    /// The registry's host, as names mean it.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0.host
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("host", &self.0.host)
            .field("endpoint", &self.0.endpoint)
            .field("redirects", &self.0.redirects)
            .field("quirks", &self.0.quirks)
            .finish_non_exhaustive()
    }
}

impl Service<Request> for Upstream {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(inner.answer(request))
    }
}

impl Inner {
    /// Answers within the time that a client waits for headers, unless it's the client who takes its time.
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Error> {
        let deadline = self.deadline();
        let waits = !brings_content(request.operation());
        let work = Box::pin(self.dispatch(request, deadline));
        if waits { self.until(deadline, work).await } else { work.await }
    }

    async fn dispatch(
        self: &Arc<Self>,
        request: Request,
        deadline: Option<Instant>,
    ) -> Result<Response, Error> {
        let (operation, extensions) = request.into_parts();
        let reads = matches!(operation.access(), Access::Ping | Access::Pull | Access::Catalog);
        if !reads && self.writes.is_none() {
            return Err(Error::unsupported(format!(
                "{} is not passed on to {}: upstreams are only read from",
                operation.kind().as_str(),
                self.host
            )));
        }
        let caller = match extensions.get::<Credential>() {
            Some(credential) => Caller { who: Who::new(credential.clone()), ours: false, deadline },
            None => {
                let who = self.until(deadline, self.ask_source(operation.repository())).await?;
                Caller { who, ours: true, deadline }
            }
        };
        if let (false, Some(writes)) = (reads, &self.writes) {
            return self.write(writes, operation, &caller).await;
        }
        match operation {
            Operation::GetManifest(operation) => self.manifest(operation, &caller).await,
            Operation::GetBlob(operation) => {
                let reads_itself = extensions.get::<WithoutRedirect>().is_some();
                let redirects = if reads_itself { Redirects::Follow } else { self.redirects };
                let is_verified = extensions.get::<WithoutVerification>().is_none();
                self.blob(operation, &caller, redirects, is_verified).await
            }
            Operation::ListTags(operation) => self.tags(operation, &caller).await,
            Operation::ListReferrers(operation) => self.referrers(operation, &caller).await,
            Operation::ListRepositories(operation) => self.repositories(operation, &caller).await,
            other => self.plain(other, &caller).await,
        }
    }

    /// What the upstream's own credentials say.
    async fn ask_source(&self, repository: Option<&Repository>) -> Result<Who, Error> {
        Ok(Who::new(self.credentials.credential(&self.host, repository).await?))
    }

    /// An operation whose answer is a document, or none.
    async fn plain(&self, operation: Operation, caller: &Caller) -> Result<Response, Error> {
        let (ask, asked) = Ask::new(operation, caller)?;
        self.document(&ask, &asked).await
    }
}

/// Something that turned out to be refused, whoever asks. It's forgotten after an hour: it may have been a mishap.
#[derive(Debug, Default)]
struct Refusal(Mutex<Option<Instant>>);

impl Refusal {
    const REMEMBERED: Duration = Duration::from_secs(60 * 60);

    fn remember(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_known(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < Self::REMEMBERED)
    }
}
