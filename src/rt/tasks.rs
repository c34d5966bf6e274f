use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::{Notify, watch};

/// Detached work: counted, capped, and ended at shutdown.
///
/// Clones share one count. Dropping the last clone ends nothing; [`Tasks::shutdown`] does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use tower_oci::rt::Tasks;
///
/// let tasks = Tasks::new();
/// assert!(tasks.spawn(async {}));
/// assert!(tasks.shutdown(Duration::from_secs(1)).await);
/// assert!(!tasks.spawn(async {})); // closed
/// # }
/// ```
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    running: AtomicUsize,
    serving: AtomicUsize,
    cap: usize,
    idle: Notify,
    end: watch::Sender<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closed,
    Abort,
}

impl Tasks {
    /// How many may run at once by default.
    pub const DEFAULT_CAP: usize = 4096;

    /// No task yet, [`Tasks::DEFAULT_CAP`] at most.
    #[must_use]
    pub fn new() -> Self {
        Self::with_cap(Self::DEFAULT_CAP)
    }

    /// No task yet, `cap` at most at any time.
    #[must_use]
    pub fn with_cap(cap: usize) -> Self {
        let inner = Inner {
            running: AtomicUsize::new(0),
            serving: AtomicUsize::new(0),
            cap,
            idle: Notify::new(),
            end: watch::Sender::new(Phase::Open),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts `work` on the current tokio runtime. Answers false, and drops `work`, when as many tasks run as may or
    /// when shutdown has begun.
    pub fn spawn<F>(&self, work: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(work, Running::enter(&self.inner, Count::Work))
    }

    /// Like [`Tasks::spawn`], for what only serves other work, as the driver of a connection does: a shutdown doesn't
    /// wait for it, still starts it while it waits for the rest, and ends it last. It has a count of its own, with the
    /// same cap.
    #[cfg(feature = "client")]
    pub(crate) fn spawn_serving<F>(&self, work: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(work, Running::enter(&self.inner, Count::Serving))
    }

    fn start<F>(&self, work: F, running: Option<Running>) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(running) = running else { return false };
        let mut end = self.inner.end.subscribe();
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        tokio::spawn(async move {
            let _running = running;
            let (work, abort) = (pin!(work), pin!(end.wait_for(|phase| *phase == Phase::Abort)));
            select(work, abort).await;
        });
        true
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.running.load(Ordering::Acquire)
    }

    /// Takes no new work, waits up to `deadline` for what runs, then ends it. Answers whether all of it ended by
    /// itself.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        // What was told to end already is to end still.
        self.inner.end.send_if_modified(|phase| {
            let is_open = *phase == Phase::Open;
            if is_open {
                *phase = Phase::Closed;
            }
            is_open
        });
        let by_itself = tokio::time::timeout(deadline, self.wait_idle(&[Count::Work])).await.is_ok();
        self.inner.end.send_replace(Phase::Abort);
        self.wait_idle(&[Count::Work, Count::Serving]).await;
        by_itself
    }

    /// Takes no new work and ends what runs, without waiting for it: for a `Drop`, which can't wait.
    pub fn abort(&self) {
        self.inner.end.send_replace(Phase::Abort);
    }

    async fn wait_idle(&self, counts: &[Count]) {
        loop {
            let idle = self.inner.idle.notified();
            if counts.iter().all(|count| count.of(&self.inner).load(Ordering::Acquire) == 0) {
                return;
            }
            idle.await;
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running()).field("cap", &self.inner.cap).finish()
    }
}

#[derive(Clone, Copy)]
enum Count {
    Work,
    Serving,
}

impl Count {
    fn of(self, inner: &Inner) -> &AtomicUsize {
        match self {
            Self::Work => &inner.running,
            Self::Serving => &inner.serving,
        }
    }

    fn starts_in(self, phase: Phase) -> bool {
        match self {
            Self::Work => phase == Phase::Open,
            Self::Serving => phase != Phase::Abort,
        }
    }
}

/// One unit of a count, given back on drop, so that a task that panics is counted out too.
struct Running(Arc<Inner>, Count);

impl Running {
    fn enter(inner: &Arc<Inner>, count: Count) -> Option<Self> {
        count
            .of(inner)
            .try_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < inner.cap).then_some(running + 1)
            })
            .ok()?;
        let running = Self(Arc::clone(inner), count);
        // Checked after counting in: a shutdown that began in between waits for us, or we see it.
        count.starts_in(*inner.end.borrow()).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.1.of(&self.0).fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_what_does_not_end() {
        let tasks = Tasks::with_cap(1);
        assert!(tasks.spawn(std::future::pending()));
        assert!(!tasks.spawn(async {}), "the cap holds");
        assert_eq!(tasks.running(), 1);
        assert!(!tasks.shutdown(Duration::from_secs(5)).await);
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_ends_what_runs_and_takes_no_more() {
        let tasks = Tasks::new();
        assert!(tasks.spawn(std::future::pending()));
        tasks.abort();
        assert!(!tasks.spawn(async {}));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_takes_no_abort_back() {
        let tasks = Tasks::new();
        assert!(tasks.spawn(std::future::pending()));
        tasks.abort();
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_what_ends() {
        let tasks = Tasks::new();
        assert!(tasks.spawn(tokio::time::sleep(Duration::from_secs(2))));
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
        assert!(!tasks.spawn(async {}));
    }
    #[cfg(feature = "client")]
    #[tokio::test(start_paused = true)]
    async fn shutdown_does_not_wait_for_what_serves_but_ends_it_last() {
        let tasks = Tasks::new();
        let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
        assert!(tasks.spawn_serving(async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        }));
        let others = tasks.clone();
        assert!(tasks.spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(others.spawn_serving(std::future::pending()), "work that goes on may still be served");
        }));
        let start = tokio::time::Instant::now();
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert!(
            end.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Closed)
        );
        assert!(!tasks.spawn_serving(async {}));
    }
}
