//! One build, from its place in the queue to its end.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, FutureExt as _, join, select};
use futures_util::stream::StreamExt as _;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::Inner;
use super::decide::{CANCELLED, Decided, Job, Start};
use super::ledger::RENEWAL;
use super::live::{Live, Running, Stage, Why};
use super::record::Recorded;
use super::state::{BuildState, BuildStatus};
use crate::build::{BuildRequest, Event, RegistryAccess};
use crate::error::Error;
use crate::spec::digest::Digest;

/// Does what is to be done for a target.
pub(super) async fn go(inner: Arc<Inner>, running: Running, job: Job) {
    let deciding = AssertUnwindSafe(inner.decide(job)).catch_unwind();
    let decided = match select(pin!(running.live().ends()), pin!(deciding)).await {
        Either::Left(_) => return,
        Either::Right((decided, _)) => decided,
    };
    let panicked = || Error::internal("what looks for an image, or keeps builds, panicked");
    match decided.unwrap_or_else(|_| Err(panicked())) {
        Ok(Decided::Start(start)) => {
            work(&inner, running, *start).await;
            inner.sweep().await;
        }
        Ok(Decided::Recorded(submitted)) => running.end(Stage::Recorded(submitted)),
        Err(error) => running.end(Stage::Refused(Arc::new(error))),
    }
}

async fn work(inner: &Inner, running: Running, start: Start) {
    let Start { recorded, request, room } = start;
    running.begin(&recorded.state);
    let work =
        Work { inner, running: &running, recorded: Mutex::new(recorded), incomplete: AtomicBool::new(false) };
    let (stop, stopped) = oneshot::channel();
    let building = async {
        let end = work.build(request).await;
        drop(stop);
        end
    };
    // A renewal is not broken off: it might come after the last word.
    let (end, ()) = join(building, work.keep(stopped)).await;
    let ended = work.finish(end).await;
    drop(room);
    if let Some(state) = ended {
        running.end(Stage::Here(Arc::new(state)));
    }
}

struct Work<'a> {
    inner: &'a Inner,
    running: &'a Running,
    recorded: Mutex<Recorded>,
    /// Whether a part of the log couldn't be kept; that is told once.
    incomplete: AtomicBool,
}

enum End {
    Built(Digest),
    Failed(String),
    Early(Why),
}

impl Work<'_> {
    /// When this returns, the engine's stream is gone, however it ended.
    async fn build(&self, request: BuildRequest) -> End {
        let building = AssertUnwindSafe(self.in_turn(request)).catch_unwind();
        match select(pin!(self.live().ends()), pin!(building)).await {
            Either::Left((why, _)) => End::Early(why),
            Either::Right((Ok(end), _)) => end,
            Either::Right((Err(_), _)) => End::Failed("the engine panicked".to_owned()),
        }
    }

    async fn in_turn(&self, request: BuildRequest) -> End {
        let Ok(_turn) = self.inner.turns.acquire().await else { return End::Early(Why::Stopped) };
        self.start().await;
        let limit = self.inner.settings.timeout;
        match timeout(limit, self.drive(request)).await {
            Ok(Ok(digest)) => End::Built(digest),
            Ok(Err(error)) => End::Failed(error.message().to_owned()),
            Err(_) => End::Failed(format!("it took longer than {limit:?}")),
        }
    }

    async fn start(&self) {
        let mut recorded = self.recorded.lock().await;
        recorded.state.status = BuildStatus::Running;
        recorded.state.started = Some(self.inner.ledger.now());
        // It is built all the same; a record that says "waiting" is as good after a crash.
        if let Err(error) = self.inner.ledger.put_state(&mut recorded, true).await {
            tracing::warn!(image = %recorded.state.target, %error, "the beginning of a build can't be recorded");
        }
        self.running.set(&recorded.state);
        tracing::info!(image = %recorded.state.target, "a build begins");
        let again = if recorded.runs > 1 { INTERRUPTED } else { "" };
        drop(recorded);
        self.append(Bytes::from_static(again.as_bytes())).await;
    }

    async fn drive(&self, mut request: BuildRequest) -> Result<Digest, Error> {
        if let Some(access) = &self.inner.access {
            let service = access(&request).await?;
            add(&mut request.access, service);
        }
        let mut build = self.inner.engine.clone().oneshot(request).await?;
        while let Some(event) = build.next().await {
            match event? {
                Event::Log(bytes) => self.log(bytes).await,
                Event::Finished(built) => return Ok(built.digest),
            }
        }
        Err(Error::internal("the engine stopped without saying what came of it"))
    }

    /// Up to the limit; then a line that says so, and nothing more.
    async fn log(&self, mut bytes: Bytes) {
        let (max, length) = (self.inner.settings.max_log, self.live().log_length());
        if length >= max {
            return;
        }
        let left = usize::try_from(max - length).unwrap_or(usize::MAX);
        if bytes.len() <= left {
            self.append(bytes).await;
            return;
        }
        bytes.truncate(left);
        let cut = format!("\n[what follows is not kept: a log has {max} bytes at most]\n");
        self.append([&bytes[..], cut.as_bytes()].concat().into()).await;
    }

    /// A log that can't be written is no reason to end a build.
    async fn append(&self, bytes: Bytes) {
        let id = &self.recorded.lock().await.state.id.clone();
        match self.inner.logs.append(id, bytes).await {
            Ok(length) => self.live().logged(length),
            Err(error) if !self.incomplete.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the log of a build is incomplete");
            }
            Err(_) => {}
        }
    }

    /// Says that the build is this process's, until `stopped`.
    async fn keep(&self, mut stopped: oneshot::Receiver<()>) {
        loop {
            match select(&mut stopped, pin!(sleep(RENEWAL))).await {
                Either::Left(_) => return,
                Either::Right(_) if !self.inner.ledger.is_shared() => {}
                Either::Right(_) => {
                    if let Err(error) = self.renew().await {
                        tracing::warn!(%error, "it can't be recorded that a build goes on");
                    }
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let mut recorded = self.recorded.lock().await;
        let (ledger, id) = (&self.inner.ledger, recorded.state.id.clone());
        if ledger.is_cancelled(&id).await? {
            self.live().end(Why::Cancelled);
        }
        match ledger.state(&id).await? {
            Some(other) if !ledger.is_held_here(&other) => self.live().end(Why::Lost),
            _ => ledger.put_state(&mut recorded, true).await?,
        }
        Ok(())
    }

    /// Records the end. Answers nothing when it is none: then somebody else begins it again.
    async fn finish(&self, end: End) -> Option<BuildState> {
        let mut recorded = self.recorded.lock().await.clone();
        let status = match end {
            End::Built(digest) => BuildStatus::Succeeded { digest },
            End::Failed(reason) => BuildStatus::Failed { reason: shortened(&reason) },
            End::Early(Why::Cancelled) => BuildStatus::Failed { reason: CANCELLED.to_owned() },
            End::Early(Why::Stopped) => {
                self.put(&mut recorded).await;
                return None;
            }
            End::Early(Why::Lost) => return None,
        };
        if let BuildStatus::Failed { reason } = &status {
            tracing::info!(image = %recorded.state.target, reason, "a build failed");
            self.append(format!("\n[the build failed: {reason}]\n").into()).await;
        }
        recorded.state.status = status;
        recorded.state.ended = Some(self.inner.ledger.now());
        self.put(&mut recorded).await;
        Some(recorded.state)
    }

    /// A store that is out of order for a moment isn't to cost a build.
    async fn put(&self, recorded: &mut Recorded) {
        for attempt in 1.. {
            let Err(error) = self.inner.ledger.put_state(recorded, false).await else { return };
            if attempt == PUTS {
                tracing::error!(image = %recorded.state.target, %error, "the end of a build can't be recorded");
                return;
            }
            sleep(PAUSE).await;
        }
    }

    fn live(&self) -> &Live {
        self.running.live()
    }
}

/// The caller's own come before the service's for the same place.
fn add(access: &mut Vec<RegistryAccess>, service: Vec<RegistryAccess>) {
    let is_own = |entry: &RegistryAccess| {
        access.iter().any(|own| own.registry == entry.registry && own.repository == entry.repository)
    };
    let added: Vec<_> = service.into_iter().filter(|entry| !is_own(entry)).collect();
    access.extend(added);
}

fn shortened(reason: &str) -> String {
    // Whoever is told a reason is told that a build failed as well.
    let reason = reason.strip_prefix("the build failed: ").unwrap_or(reason);
    match reason.get(..reason.floor_char_boundary(MAX_REASON)) {
        Some(start) if start.len() < reason.len() => format!("{start}.."),
        _ => reason.to_owned(),
    }
}

const INTERRUPTED: &str = "\n[the service stopped; the build begins again]\n";
/// Bytes of a reason that are kept.
const MAX_REASON: usize = 4096;
const PUTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
