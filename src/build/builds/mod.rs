//! Builds that are asked for, run, and told of: one for each target, in turn, each with a state and a log.
//!
//! [`Builds`] runs the requests that it is given with a [`Builder`]. The target of a request names its result: its tag
//! has to be a digest of all that makes the image. So requests with one target share one build, and everybody gets the
//! same outcome. A build goes on when those who asked for it leave. What is known of it is kept in
//! [`Records`](crate::store::Records), and what it printed in [`Logs`].
//!
//! When the process ends in the middle of a build, the next one that has the same records tells the truth: as soon as
//! somebody asks for the build, it begins again under its id. A build that needed credentials of its caller can't, since
//! no credential is recorded; it is then [`Interrupted`](BuildStatus::Interrupted). Processes may share records: each
//! build has one owner, which says every 10 seconds that it lives; the others wait for what it records. Records have no
//! compare-and-swap, so that two engines may, if rarely, build one target at once: both push the same.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use std::time::Duration;
//! use futures_util::stream;
//! use tower_oci::build::builds::Builds;
//! use tower_oci::build::{Build, BuildContext, BuildRequest, Built, Event};
//! use tower_oci::error::Error;
//! use tower_oci::spec::digest::Digest;
//!
//! // Any engine.
//! let engine = tower::service_fn(|request: BuildRequest| async move {
//!     let made = Digest::sha256(request.context.container_file().as_bytes());
//!     let events = [Ok(Event::Log("made\n".into())), Ok(Event::Finished(Built::new(made)))];
//!     Ok::<_, Error>(Build::new(stream::iter(events)))
//! });
//! let builds = Builds::builder(engine).max_running(4).build()?;
//!
//! let request = BuildRequest::new(BuildContext::new("FROM scratch\n"), "registry.example/builds:1".parse()?);
//! let submitted = builds.submit(request, || async { Ok(None) }).await?;
//! let built = builds.outcome(&submitted.id).await?;
//! assert_eq!(built.digest, Digest::sha256(b"FROM scratch\n"));
//!
//! let log = builds.log(&submitted.id, true).await?.expect("there is a log");
//! assert_eq!(&log.read(1000).await?[..], b"made\n");
//! builds.shutdown(Duration::from_secs(10)).await;
//! # Ok(()) }
//! ```

mod builder;
mod decide;
mod find;
mod id;
mod ledger;
mod live;
mod log;
mod record;
mod state;
mod work;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::builder::BuildsBuilder;
use self::builder::Settings;
use self::decide::{Job, unknown};
use self::find::{Found, pause};
pub use self::id::BuildId;
use self::ledger::Ledger;
use self::live::{Active, Stage, Why};
pub use self::log::{DirectoryLogs, Logs, MemoryLogs};
pub use self::state::{BuildState, BuildStatus, Submitted};
use crate::body::Body;
use crate::build::{BoxBuilder, BuildContext, BuildRequest, Builder, Built, RegistryAccess};
use crate::error::{Error, ErrorCode};
use crate::operation::BoxFuture;
use crate::rt::Tasks;
use crate::spec::digest::Digest;

/// Runs builds: see the [module](self). Clones share them.
#[derive(Clone)]
pub struct Builds(Arc<Inner>);

struct Inner {
    engine: BoxBuilder,
    ledger: Ledger,
    logs: Arc<dyn Logs>,
    access: Option<Access>,
    tasks: Tasks,
    active: Arc<Active>,
    /// One for each build that runs, in the order of asking.
    turns: Semaphore,
    /// One for each build that runs or waits.
    room: Arc<Semaphore>,
    swept: Mutex<Option<Instant>>,
    settings: Settings,
}

type Access =
    Arc<dyn Fn(&BuildRequest) -> BoxFuture<'static, Result<Vec<RegistryAccess>, Error>> + Send + Sync>;

impl Builds {
    /// Builds that `engine` does.
    pub fn builder(engine: impl Builder) -> BuildsBuilder {
        BuildsBuilder::new(engine.boxed_builder())
    }

    /// Asks for an image. Answers when it is known which build makes it, or that it is there.
    ///
    /// While a build of the same target waits or runs, that one is it. Otherwise `exists` is asked, once however many
    /// submit, for the digest of what is at the target: an image that is there isn't built again. A build that failed
    /// is no obstacle. What is begun goes on when this future is dropped.
    ///
    /// # Errors
    ///
    /// `Invalid` when the target has no tag, or a digest; `TooManyRequests` when as many builds wait as may; what
    /// `exists` fails with; when the records are out of order or full, or a shutdown has begun.
    pub async fn submit<E, R>(&self, request: BuildRequest, exists: E) -> Result<Submitted, Error>
    where
        E: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<Option<Digest>, Error>> + Send + 'static,
    {
        let target = request.target.clone();
        if target.tag().is_none() || target.digest().is_some() {
            let message = format!("`{target}` can't be built: a target has a tag, and no digest");
            return Err(Error::invalid(ErrorCode::NameInvalid, message));
        }
        let job = Job::Submission(Box::new(request), Box::new(move || Box::pin(exists())));
        match self.0.enter(&target, job).await? {
            Stage::Recorded(submitted) => Ok(submitted),
            Stage::Here(state) => Ok(Submitted { id: state.id.clone(), cached: false, digest: None }),
            Stage::Deciding | Stage::Refused(_) | Stage::Gone => Err(live::stopping()),
        }
    }

    /// What is known of a build, if there is such a one.
    ///
    /// # Errors
    ///
    /// When the records are out of order.
    pub async fn state(&self, id: &BuildId) -> Result<Option<BuildState>, Error> {
        loop {
            return Ok(match self.0.find(id).await? {
                None => None,
                Some(Found::Here(live)) => match live.stage() {
                    Stage::Here(state) => Some((*state).clone()),
                    // It ended between two looks.
                    _ => continue,
                },
                Some(Found::Recorded(recorded)) => Some(recorded.state),
                Some(Found::Left(recorded, error)) => {
                    let reason = format!("the service stopped; {error}");
                    Some(BuildState { status: BuildStatus::Interrupted { reason }, ..recorded.state })
                }
            });
        }
    }

    /// Waits for the end of a build. There is no time limit on that here: put one around it.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such build. `Invalid`, with 404 and the reason, when it failed. `Unavailable` when it
    /// was interrupted, or the records are out of order.
    pub async fn outcome(&self, id: &BuildId) -> Result<Built, Error> {
        loop {
            let outcome = match self.0.find(id).await? {
                None => return Err(unknown()),
                Some(Found::Here(live)) => match live.over().await {
                    Stage::Here(state) => state.outcome(),
                    _ => continue,
                },
                Some(Found::Recorded(recorded)) => recorded.state.outcome(),
                Some(Found::Left(_, error)) => return Err(error),
            };
            match outcome {
                Some(outcome) => return outcome.map(Built::new),
                None => pause().await,
            }
        }
    }

    /// What a build has printed, from the start, if there is such a build. With `follow`, a build that goes on is read
    /// to its end. A slow reader holds nobody up.
    ///
    /// # Errors
    ///
    /// When the records are out of order; the body fails when the log can't be read.
    pub async fn log(&self, id: &BuildId, follow: bool) -> Result<Option<Body>, Error> {
        if self.0.find(id).await?.is_none() {
            return Ok(None);
        }
        let start = (Arc::clone(&self.0), id.clone(), 0_u64);
        Ok(Some(Body::from_stream(stream::try_unfold(start, move |(inner, id, offset)| async move {
            let read = inner.read_log(&id, offset, follow).await?;
            Ok::<_, Error>(read.map(|bytes| {
                let offset = offset.saturating_add(bytes.len() as u64);
                (bytes, (inner, id, offset))
            }))
        }))))
    }

    /// What a build is made of, if there is such a build.
    ///
    /// # Errors
    ///
    /// When the records are out of order.
    pub async fn context(&self, id: &BuildId) -> Result<Option<Arc<BuildContext>>, Error> {
        Ok(self.0.ledger.request(id).await?.map(|request| request.context))
    }

    /// Ends a build: everybody is told that it failed, since it was cancelled. Answers whether it still went on. A build
    /// of another process ends within ten seconds.
    ///
    /// # Errors
    ///
    /// When the records are out of order.
    pub async fn cancel(&self, id: &BuildId) -> Result<bool, Error> {
        let inner = &self.0;
        if let Some(live) = inner.active.find(id) {
            live.end(Why::Cancelled);
            live.over().await;
            return Ok(true);
        }
        let recorded = inner.ledger.state(id).await?;
        if recorded.is_none_or(|recorded| recorded.state.is_ended()) {
            return Ok(false);
        }
        // Who has it looks for this; when nobody has, it is looked for before it begins again.
        inner.ledger.put_cancel(id).await?;
        inner.find(id).await?;
        Ok(true)
    }

    /// Begins no more builds, waits up to `deadline` for those that run, then ends them. Answers whether all of them
    /// came to their end.
    ///
    /// What waited or was ended is recorded as nobody's: it begins again when a later process is asked for it.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let inner = &self.0;
        inner.active.close();
        inner.turns.close();
        let by_itself = tokio::time::timeout(deadline, inner.active.wait_empty()).await.is_ok();
        inner.active.stop();
        inner.active.wait_empty().await;
        by_itself
    }
}

impl Inner {
    /// Removes old logs, now and then.
    async fn sweep(&self) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.is_some_and(|swept| swept.elapsed() < SWEEP) {
                return;
            }
            *swept = Some(Instant::now());
        }
        if let Err(error) = self.logs.sweep(self.ledger.forgotten()).await {
            tracing::warn!(%error, "old logs can't be removed");
        }
    }
}

impl fmt::Debug for Builds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builds").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// How often old logs are looked for at most.
const SWEEP: Duration = Duration::from_secs(60 * 60);
