//! Where a build is, by its id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::decide::Job;
use super::id::BuildId;
use super::live::{Entered, Live, Stage, stopping};
use super::record::Recorded;
use super::work::go;
use crate::error::Error;
use crate::spec::name::ImageName;

pub(super) enum Found {
    /// This process has it.
    Here(Arc<Live>),
    /// It has ended, or another process has it.
    Recorded(Recorded),
    /// No process has it, and none can begin it now.
    Left(Recorded, Error),
}

impl Inner {
    /// Finds a build. One that was left by its process begins again, or is marked as interrupted.
    pub(super) async fn find(self: &Arc<Self>, id: &BuildId) -> Result<Option<Found>, Error> {
        let mut tries = 0;
        loop {
            if let Some(live) = self.active.find(id) {
                return Ok(Some(Found::Here(live)));
            }
            let Some(recorded) = self.ledger.state(id).await? else { return Ok(None) };
            if recorded.state.is_ended() || self.ledger.is_held_elsewhere(&recorded) {
                return Ok(Some(Found::Recorded(recorded)));
            }
            tries += 1;
            let begun = match tries {
                TRIES => Err(stopping()),
                _ => self.enter(&recorded.state.target, Job::Resumption(id.clone())).await,
            };
            if let Err(error) = begun {
                return Ok(Some(Found::Left(recorded, error)));
            }
        }
    }

    /// Does the job, unless something is done for the target already; waits until it is decided what.
    pub(super) async fn enter(self: &Arc<Self>, target: &ImageName, job: Job) -> Result<Stage, Error> {
        let live = match self.active.enter(target)? {
            Entered::Joined(live) => live,
            Entered::First(running) => {
                let live = Arc::clone(running.live());
                // When it isn't taken, the stage says so.
                self.tasks.spawn(go(Arc::clone(self), running, job));
                live
            }
        };
        match live.decided().await {
            Stage::Refused(error) => Err(share(&error)),
            Stage::Gone => Err(stopping()),
            stage => Ok(stage),
        }
    }

    /// What a log has from `offset` on; nothing when it ends there. With `follow`, that is only when the build has ended.
    pub(super) async fn read_log(
        self: &Arc<Self>,
        id: &BuildId,
        offset: u64,
        follow: bool,
    ) -> Result<Option<Bytes>, Error> {
        loop {
            // Looked at before the log is read, so that nothing comes in between.
            let found = if follow { self.find(id).await? } else { None };
            let (changes, goes_on) = match &found {
                Some(Found::Here(live)) => (Some(live.changes()), !live.stage().is_over()),
                Some(Found::Recorded(recorded)) => (None, !recorded.state.is_ended()),
                Some(Found::Left(..)) | None => (None, false),
            };
            let read = self.logs.read(id, offset, CHUNK).await?;
            if let Some(bytes) = read.filter(|bytes| !bytes.is_empty()) {
                return Ok(Some(bytes));
            }
            match changes {
                _ if !goes_on => return Ok(None),
                Some((mut log, mut stage)) => {
                    let (log, stage) = (std::pin::pin!(log.changed()), std::pin::pin!(stage.changed()));
                    futures_util::future::select(log, stage).await;
                }
                None => pause().await,
            }
        }
    }
}

/// Between two looks at the record of a build of another process: not all at the same moment.
pub(super) async fn pause() {
    let jitter = getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX));
    tokio::time::sleep(POLL.mul_f64(0.75 + jitter / 2.0)).await;
}

/// The same error for one of several who wait.
fn share(error: &Error) -> Error {
    let shared = Error::new(error.kind(), error.code(), error.message()).with_status(error.status());
    match error.retry_after() {
        Some(retry_after) => shared.with_retry_after(retry_after),
        None => shared,
    }
}

/// A build that is ended by others each time that it begins isn't waited for.
const TRIES: u32 = 4;
const POLL: Duration = Duration::from_secs(1);
/// Bytes of a log that are held for one reader.
const CHUNK: usize = 64 * 1024;
