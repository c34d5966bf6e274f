//! What is to be done for a target: build it, or tell what there is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Inner;
use super::id::BuildId;
use super::record::Recorded;
use super::state::{BuildState, BuildStatus, Submitted};
use crate::build::BuildRequest;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::operation::BoxFuture;
use crate::spec::digest::Digest;

/// Why something is to be done.
pub(super) enum Job {
    Submission(Box<BuildRequest>, Exists),
    /// Somebody asks for a build that no process works on.
    Resumption(BuildId),
}

/// Tells whether the image is there already.
pub(super) type Exists = Box<dyn FnOnce() -> BoxFuture<'static, Result<Option<Digest>, Error>> + Send>;

pub(super) enum Decided {
    Start(Box<Start>),
    Recorded(Submitted),
}

/// A build that is recorded as this process's.
pub(super) struct Start {
    pub(super) recorded: Recorded,
    pub(super) request: BuildRequest,
    pub(super) room: OwnedSemaphorePermit,
}

impl Inner {
    pub(super) async fn decide(&self, job: Job) -> Result<Decided, Error> {
        match job {
            Job::Submission(request, exists) => self.submission(*request, exists).await,
            Job::Resumption(id) => self.resumption(id).await,
        }
    }

    async fn submission(&self, request: BuildRequest, exists: Exists) -> Result<Decided, Error> {
        let latest = self.latest(&request).await?;
        if let Some(latest) = latest.as_ref().filter(|latest| self.ledger.is_held_elsewhere(latest)) {
            return Ok(recorded(&latest.state));
        }
        if let Some(digest) = exists().await? {
            return self.cached(latest, &request, digest).await;
        }
        let room = self.room()?;
        let own_access = !request.access.is_empty();
        let recorded = match latest.filter(|latest| !latest.state.is_ended()) {
            Some(latest) => {
                self.ledger.remove_cancel(&latest.state.id).await?;
                Recorded { own_access, runs: latest.runs.min(1), ..latest }
            }
            None => Recorded { state: self.new_state(&request)?, own_access, runs: 0, lease: None },
        };
        self.begin(Start { recorded, request, room }).await
    }

    async fn resumption(&self, id: BuildId) -> Result<Decided, Error> {
        let Some(mut recorded) = self.ledger.state(&id).await? else { return Err(unknown()) };
        if recorded.state.is_ended() || self.ledger.is_held_elsewhere(&recorded) {
            return Ok(self::recorded(&recorded.state));
        }
        let interrupted = |reason: &str| BuildStatus::Interrupted { reason: reason.to_owned() };
        let request = self.ledger.request(&id).await;
        let status = if self.ledger.is_cancelled(&id).await? {
            BuildStatus::Failed { reason: CANCELLED.to_owned() }
        } else if recorded.own_access {
            interrupted(
                "the service stopped, and the credentials that it was asked for with aren't kept; submit it again",
            )
        } else if recorded.runs >= MAX_RUNS {
            interrupted("the service stopped each time that it was built; submit it again")
        } else {
            match request {
                Ok(Some(request)) if request.context.digest() == recorded.state.context => {
                    let room = self.room()?;
                    return self.begin(Start { recorded, request, room }).await;
                }
                Err(error) if error.kind() != ErrorKind::Internal => return Err(error),
                _ => interrupted("the service stopped, and the request isn't kept any more; submit it again"),
            }
        };
        recorded.state.status = status;
        recorded.state.ended = Some(self.ledger.now());
        self.ledger.put_state(&mut recorded, false).await?;
        Ok(self::recorded(&recorded.state))
    }

    /// Makes it this process's build.
    async fn begin(&self, mut start: Start) -> Result<Decided, Error> {
        let (recorded, request) = (&mut start.recorded, &start.request);
        let is_new = recorded.runs == 0;
        recorded.state.status = BuildStatus::Waiting;
        recorded.state.started = None;
        recorded.runs = recorded.runs.saturating_add(1);
        let id = recorded.state.id.clone();
        self.ledger.put_request(&id, request).await?;
        self.ledger.put_state(recorded, true).await?;
        self.ledger.put_latest(&request.target, &id).await?;
        if self.ledger.is_shared() {
            // Records have no compare-and-swap. All who want it write, wait longer than a write takes, and read: the
            // last one has it.
            tokio::time::sleep(SETTLE).await;
            if let Some(winner) = self.winner(&id, request).await? {
                if is_new && winner != id {
                    self.ledger.remove(&id).await?;
                }
                return Ok(Decided::Recorded(Submitted { id: winner, cached: false, digest: None }));
            }
        }
        Ok(Decided::Start(Box::new(start)))
    }

    /// The build that another process made of the target meanwhile, or took from us.
    async fn winner(&self, id: &BuildId, request: &BuildRequest) -> Result<Option<BuildId>, Error> {
        let latest = self.ledger.latest(&request.target).await?;
        if let Some(latest) = latest.filter(|latest| latest != id) {
            return Ok(Some(latest));
        }
        let recorded = self.ledger.state(id).await?;
        Ok(recorded.filter(|recorded| !self.ledger.is_held_here(recorded)).map(|recorded| recorded.state.id))
    }

    /// The image is there: that is recorded as a build that is over.
    async fn cached(
        &self,
        latest: Option<Recorded>,
        request: &BuildRequest,
        digest: Digest,
    ) -> Result<Decided, Error> {
        let now = self.ledger.now();
        let status = BuildStatus::Succeeded { digest };
        // The build that made it tells more, as long as it isn't soon forgotten.
        let kept = |state: &BuildState| {
            let known = state.ended.and_then(|ended| now.duration_since(ended).ok()).unwrap_or_default();
            state.status == status && known < self.settings.retention / 2
        };
        let mut recorded = match latest {
            Some(latest) if kept(&latest.state) => {
                let id = latest.state.id;
                return Ok(Decided::Recorded(Submitted { id, cached: true, digest: Some(digest) }));
            }
            // Its process went after the push.
            Some(latest) if !latest.state.is_ended() => latest,
            _ => Recorded { state: self.new_state(request)?, own_access: false, runs: 0, lease: None },
        };
        recorded.state.status = status;
        recorded.state.cached = true;
        recorded.state.ended = Some(now);
        let id = recorded.state.id.clone();
        self.ledger.put_request(&id, request).await?;
        self.ledger.put_state(&mut recorded, false).await?;
        self.ledger.put_latest(&request.target, &id).await?;
        Ok(Decided::Recorded(Submitted { id, cached: true, digest: Some(digest) }))
    }

    /// The last build of the target. A damaged record stands in nobody's way.
    async fn latest(&self, request: &BuildRequest) -> Result<Option<Recorded>, Error> {
        let latest = match self.ledger.latest(&request.target).await {
            Ok(Some(id)) => self.ledger.state(&id).await,
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        match latest {
            Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Invalid) => {
                tracing::warn!(target_image = %request.target, %error, "a build is forgotten");
                Ok(None)
            }
            latest => latest,
        }
    }

    fn new_state(&self, request: &BuildRequest) -> Result<BuildState, Error> {
        Ok(BuildState {
            id: BuildId::generate()?,
            target: request.target.clone(),
            platforms: request.platforms.clone(),
            context: request.context.digest(),
            status: BuildStatus::Waiting,
            cached: false,
            created: self.ledger.now(),
            started: None,
            ended: None,
        })
    }

    /// A place among those that run or wait.
    fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let (running, waiting) = (self.settings.max_running, self.settings.max_waiting);
            let message =
                format!("{running} builds run and {waiting} wait, which is as many as may; try again later");
            Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, message)
                .with_retry_after(RetryAfter::Delay(COME_BACK))
        })
    }
}

/// The answer for an id that nothing is known of.
pub(super) fn unknown() -> Error {
    Error::manifest_unknown("no such build is known: its id is mistyped, or it was long ago")
}

fn recorded(state: &BuildState) -> Decided {
    Decided::Recorded(Submitted { id: state.id.clone(), cached: false, digest: None })
}

/// The reason of a build that somebody ended.
pub(super) const CANCELLED: &str = "it was cancelled";

/// How often a build begins by itself: one that brings the process down each time isn't to do so for ever.
const MAX_RUNS: u32 = 3;
const SETTLE: Duration = Duration::from_millis(250);
const COME_BACK: Duration = Duration::from_secs(30);
