use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Account;
use crate::error::Error;
use crate::store::recent::lock;

/// How many blobs are listed at once.
const PAGE: usize = 1024;

/// How long it is waited for the first survey. After that blobs pass through until it is done.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a survey is good for: other processes come and go in the same store.
const GOOD_FOR: Duration = Duration::from_secs(10 * 60);

/// How long after one that has failed the next is begun.
const PAUSE: Duration = Duration::from_secs(10);

/// What is known of the store as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Whether its list was gone through once.
    is_known: bool,
    is_running: bool,
    /// When the list is to be gone through again; at once, if never before.
    due: Option<Instant>,
}

impl Account {
    /// Goes through the store's list in a task, if that was never done.
    pub(super) fn begin_survey(self: &Arc<Self>) {
        if !self.survey.borrow().is_known {
            self.survey();
        }
    }

    /// Whether it is known what is in the store. Waits for it a little.
    pub(super) async fn is_surveyed(self: &Arc<Self>) -> bool {
        self.survey();
        let mut survey = self.survey.subscribe();
        let known = survey.wait_for(|state| state.is_known || !state.is_running);
        matches!(tokio::time::timeout(PATIENCE, known).await, Ok(Ok(state)) if state.is_known)
    }

    /// Goes through the store's list in a task, where that is due.
    fn survey(self: &Arc<Self>) {
        let now = Instant::now();
        let is_due = |state: &State| !state.is_running && state.due.is_none_or(|due| due <= now);
        if !is_due(&self.survey.borrow()) {
            return;
        }
        let begins = self.survey.send_if_modified(|state| {
            let begins = is_due(state);
            state.is_running |= begins;
            begins
        });
        if begins {
            // Dropped by a task that is ended, or was never begun.
            let mut running = Running { account: Arc::clone(self), has_succeeded: false };
            self.tasks.spawn(async move {
                match running.account.go_through().await {
                    Ok(()) => running.has_succeeded = true,
                    Err(error) => tracing::warn!(%error, "the blobs that are kept can't be listed"),
                }
                let account = Arc::clone(&running.account);
                drop(running);
                // There may be more than there may be now.
                account.make_room(0).await;
            });
        }
    }

    async fn go_through(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let asked = lock(&self.index).page();
            let page = self.store.list(after, PAGE).await?;
            let last = page.last().filter(|_| page.len() >= PAGE).map(|blob| blob.digest);
            lock(&self.index).merge(asked, after, last, &page, self.clock.now());
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }
}

struct Running {
    account: Arc<Account>,
    has_succeeded: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.account.index).no_page();
        let next = if self.has_succeeded { GOOD_FOR } else { PAUSE };
        self.account.survey.send_modify(|state| {
            state.is_running = false;
            state.is_known |= self.has_succeeded;
            state.due = Some(Instant::now() + next);
        });
    }
}
