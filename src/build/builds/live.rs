//! The builds that this process has to do with now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::id::BuildId;
use super::state::{BuildState, Submitted};
use crate::error::Error;
use crate::spec::name::ImageName;

/// One for each target.
#[derive(Default)]
pub(super) struct Active {
    maps: Mutex<Maps>,
    alive: watch::Sender<usize>,
}

#[derive(Default)]
struct Maps {
    closed: bool,
    targets: HashMap<ImageName, Arc<Live>>,
    ids: HashMap<BuildId, Arc<Live>>,
}

/// A target of which is being found out what to do, or that is being built.
pub(super) struct Live {
    target: ImageName,
    stage: watch::Sender<Stage>,
    /// How many bytes its log has.
    log: watch::Sender<u64>,
    end: watch::Sender<Option<Why>>,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Not known yet what is to be done.
    Deciding,
    /// Nothing is done.
    Refused(Arc<Error>),
    /// Nothing is done here: what there is to know is recorded.
    Recorded(Submitted),
    /// A build of this process, and how far it is.
    Here(Arc<BuildState>),
    /// Given up without an end: what becomes of it is to be seen in the records.
    Gone,
}

/// Why a build ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Cancelled,
    /// This process stops.
    Stopped,
    /// Another process has it now.
    Lost,
}

pub(super) enum Entered {
    First(Running),
    Joined(Arc<Live>),
}

impl Active {
    /// The one place for a target: taken by the first who comes, shared by the others.
    pub(super) fn enter(self: &Arc<Self>, target: &ImageName) -> Result<Entered, Error> {
        let mut maps = self.lock();
        if let Some(live) = maps.targets.get(target) {
            return Ok(Entered::Joined(Arc::clone(live)));
        }
        if maps.closed {
            return Err(stopping());
        }
        let live = Arc::new(Live {
            target: target.clone(),
            stage: watch::Sender::new(Stage::Deciding),
            log: watch::Sender::new(0),
            end: watch::Sender::new(None),
        });
        maps.targets.insert(target.clone(), Arc::clone(&live));
        self.alive.send_modify(|alive| *alive += 1);
        Ok(Entered::First(Running { active: Arc::clone(self), live }))
    }

    pub(super) fn find(&self, id: &BuildId) -> Option<Arc<Live>> {
        self.lock().ids.get(id).cloned()
    }

    /// Takes no new ones.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Ends what there is.
    pub(super) fn stop(&self) {
        for live in self.lock().targets.values() {
            live.end(Why::Stopped);
        }
    }

    pub(super) async fn wait_empty(&self) {
        // It can't be closed: the sender is ours.
        let _ = self.alive.subscribe().wait_for(|alive| *alive == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// What was decided.
    pub(super) async fn decided(&self) -> Stage {
        self.wait(|stage| !matches!(stage, Stage::Deciding)).await
    }

    /// The stage after which nothing comes.
    pub(super) async fn over(&self) -> Stage {
        self.wait(Stage::is_over).await
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// Ends the build, if it isn't ending already.
    pub(super) fn end(&self, why: Why) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(why);
            first
        });
    }

    /// Waits until it is to end.
    pub(super) async fn ends(&self) -> Why {
        let mut end = self.end.subscribe();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or(Why::Stopped)
    }

    pub(super) fn log_length(&self) -> u64 {
        *self.log.borrow()
    }

    pub(super) fn logged(&self, length: u64) {
        self.log.send_replace(length);
    }

    /// What tells that the log has grown, or that the stage is another.
    pub(super) fn changes(&self) -> (watch::Receiver<u64>, watch::Receiver<Stage>) {
        (self.log.subscribe(), self.stage.subscribe())
    }

    async fn wait(&self, until: impl Fn(&Stage) -> bool) -> Stage {
        let mut stage = self.stage.subscribe();
        stage.wait_for(|stage| until(stage)).await.map_or(Stage::Gone, |stage| stage.clone())
    }
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Deciding => false,
            Self::Here(state) => state.is_ended(),
            Self::Refused(_) | Self::Recorded(_) | Self::Gone => true,
        }
    }
}

/// The place of a target, given back on drop, so that a task that is aborted gives it back too.
pub(super) struct Running {
    active: Arc<Active>,
    live: Arc<Live>,
}

impl Running {
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// From now on it is known by its id.
    pub(super) fn begin(&self, state: &BuildState) {
        self.active.lock().ids.insert(state.id.clone(), Arc::clone(&self.live));
        self.set(state);
    }

    pub(super) fn set(&self, state: &BuildState) {
        self.live.stage.send_replace(Stage::Here(Arc::new(state.clone())));
    }

    /// The place is free before anybody learns of the end: who then asks again begins anew.
    pub(super) fn end(self, stage: Stage) {
        self.leave();
        self.live.stage.send_replace(stage);
    }

    fn leave(&self) {
        let mut maps = self.active.lock();
        // By now, the place may be somebody else's.
        let is_ours = |live: &Arc<Live>| Arc::ptr_eq(live, &self.live);
        if maps.targets.get(&self.live.target).is_some_and(is_ours) {
            maps.targets.remove(&self.live.target);
        }
        if let Stage::Here(state) = &*self.live.stage.borrow()
            && maps.ids.get(&state.id).is_some_and(is_ours)
        {
            maps.ids.remove(&state.id);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leave();
        self.live.stage.send_if_modified(|stage| {
            let unfinished = !stage.is_over();
            if unfinished {
                *stage = Stage::Gone;
            }
            unfinished
        });
        self.active.alive.send_modify(|alive| *alive = alive.saturating_sub(1));
    }
}

/// What is told to those who come when no build begins any more.
pub(super) fn stopping() -> Error {
    Error::unavailable("the service is stopping, or has too much to do; no build begins now. Try again later")
}
