use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::log::{DirectoryLogs, Logs, MemoryLogs};
use super::{Access, Builds, Inner};
use crate::build::builds::ledger::Ledger;
use crate::build::{BoxBuilder, BuildRequest, RegistryAccess};
use crate::error::Error;
use crate::rt::{Clock, Tasks};
use crate::store::{MemoryRecords, Records};

/// Settings of [`Builds`].
#[must_use]
pub struct BuildsBuilder {
    engine: BoxBuilder,
    records: Option<Arc<dyn Records>>,
    logs: Option<Arc<dyn Logs>>,
    access: Option<Access>,
    tasks: Tasks,
    clock: Clock,
    exclusive: Option<bool>,
    settings: Settings,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) max_running: usize,
    pub(super) max_waiting: usize,
    pub(super) timeout: Duration,
    pub(super) max_log: u64,
    pub(super) retention: Duration,
}

impl BuildsBuilder {
    pub(super) fn new(engine: BoxBuilder) -> Self {
        let settings = Settings {
            max_running: 2,
            max_waiting: 100,
            timeout: Duration::from_secs(15 * 60),
            max_log: 8 * 1024 * 1024,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        };
        Self {
            engine,
            records: None,
            logs: None,
            access: None,
            tasks: Tasks::new(),
            clock: Clock::system(),
            exclusive: None,
            settings,
        }
    }

    /// Where states and requests are kept (default: up to 10,000 records in memory, which end with the process).
    ///
    /// A build has three records: its state, its request, and the name of the last build of its target. Processes that
    /// share records share builds.
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(records);
        self
    }

    /// Where logs are kept (default: [`MemoryLogs`]).
    pub fn logs(mut self, logs: Arc<dyn Logs>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Keeps logs in `directory`: see [`DirectoryLogs`].
    pub fn log_directory(self, directory: impl Into<PathBuf>) -> Self {
        self.logs(Arc::new(DirectoryLogs::new(directory)))
    }

    /// The service's own credentials for a build, asked for right before the engine begins and never recorded.
    ///
    /// They are added to what the request has in `access`, which counts as the caller's own and comes first for the same
    /// place. A build that was asked for without any of the caller's own can begin again after a restart.
    pub fn access<F, R>(mut self, access: F) -> Self
    where
        F: Fn(&BuildRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<RegistryAccess>, Error>> + Send + 'static,
    {
        self.access = Some(Arc::new(move |request| Box::pin(access(request))));
        self
    }

    /// How many builds run at once (default: 2; at least 1).
    pub fn max_running(mut self, max: usize) -> Self {
        self.settings.max_running = max.clamp(1, MAX_COUNT);
        self
    }

    /// How many more may wait for their turn (default: 100); the next one is refused with 429.
    pub fn max_waiting(mut self, max: usize) -> Self {
        self.settings.max_waiting = max.min(MAX_COUNT);
        self
    }

    /// How long an engine may take for a build, the time in the queue not counted (default: 15 minutes).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How many bytes of what an engine prints are kept (default: 8 MiB); a line says so where a log is cut.
    pub fn max_log(mut self, bytes: u64) -> Self {
        self.settings.max_log = bytes;
        self
    }

    /// How long a build is known after it ended (default: 7 days; 100 years at most).
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention.min(CENTURY);
        self
    }

    /// What builds are counted among.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// Another clock: for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Whether no other process has the same records (default: no, unless they are the default ones).
    ///
    /// Then a build that is recorded as going on and isn't this process's own was interrupted; else it is
    /// another's as long as that one says so every 10 seconds, and counts as interrupted 30 seconds after it fell silent.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = Some(exclusive);
        self
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub fn build(self) -> Result<Builds, Error> {
        let Settings { max_running, max_waiting, retention, .. } = self.settings;
        let exclusive = self.exclusive.unwrap_or(self.records.is_none());
        let clock = &self.clock;
        let records = self
            .records
            .unwrap_or_else(|| Arc::new(MemoryRecords::with_capacity(MEMORY_RECORDS).clock(clock.clone())));
        let logs = self.logs.unwrap_or_else(|| Arc::new(MemoryLogs::default().clock(clock.clone())));
        Ok(Builds(Arc::new(Inner {
            engine: self.engine,
            ledger: Ledger::new(records, self.clock, exclusive, retention)?,
            logs,
            access: self.access,
            tasks: self.tasks,
            active: Arc::default(),
            turns: Semaphore::new(max_running),
            room: Arc::new(Semaphore::new(max_running.saturating_add(max_waiting))),
            swept: std::sync::Mutex::new(None),
            settings: self.settings,
        })))
    }
}

impl std::fmt::Debug for BuildsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildsBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

const MEMORY_RECORDS: usize = 10_000;
/// More than anybody wants, and less than a semaphore takes.
const MAX_COUNT: usize = 1_000_000;
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
