use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::workspace::Workspace;
use crate::rt::Tasks;

/// How an engine's program is run: where it is, what it is told beside, and where its files go.
///
/// A program sees no environment but `PATH`, a private `HOME`, `TMPDIR` and `XDG_RUNTIME_DIR`, `LC_ALL`, and what is set
/// here.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    global_args: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    grace: Duration,
    tasks: Tasks,
}

impl Program {
    /// How long a program may take to end by itself when its build is given up.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// The program at `path`, or of that name in [`Program::SEARCHED`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            global_args: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            directory: None,
            grace: Self::DEFAULT_GRACE,
            tasks: Tasks::new(),
        }
    }

    /// Where programs are looked for, and their `PATH`.
    pub const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// An argument in front of every subcommand.
    #[must_use]
    pub fn global_arg(mut self, arg: impl Into<OsString>) -> Self {
        self.global_args.push(arg.into());
        self
    }

    /// An argument of the subcommand that builds. It may be read in the machine's list of processes: no secrets here.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of its environment, in the place of a default too. No secrets here either.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Where each build gets its private directory: the system's temporary directory by default. What is in the making
    /// lies there too, so it may need space.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long it may take to end by itself, after SIGTERM, when its build is given up; then it is killed.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What counts the builds that run, and ends them at shutdown.
    #[must_use]
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks = tasks;
        self
    }

    /// The full path, if there is such a program.
    #[must_use]
    pub fn find(&self) -> Option<PathBuf> {
        if self.path.components().count() > 1 {
            return Some(self.path.clone()).filter(|path| is_program(path));
        }
        let directories = Self::SEARCHED.split(':').map(Path::new);
        directories.map(|directory| directory.join(&self.path)).find(|path| is_program(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn args(&self) -> &[OsString] {
        &self.args
    }

    pub(super) fn private_directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    pub(super) fn grace_period(&self) -> Duration {
        self.grace
    }

    pub(super) fn background(&self) -> &Tasks {
        &self.tasks
    }

    /// A command with nothing but what a workspace and the settings say.
    pub(super) fn command(&self, workspace: &Workspace, engine_env: &[(&str, PathBuf)]) -> Command {
        let mut command = Command::new(self.find().unwrap_or_else(|| self.path.clone()));
        command
            .env_clear()
            .env("PATH", Self::SEARCHED)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", workspace.home())
            .env("TMPDIR", workspace.tmp())
            .env("XDG_RUNTIME_DIR", workspace.run())
            .current_dir(workspace.home());
        for (name, value) in engine_env {
            command.env(name, value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.args(&self.global_args);
        command
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsStr> = self.env.iter().map(|(name, _)| name.as_os_str()).collect();
        f.debug_struct("Program")
            .field("path", &self.path)
            .field("args", &self.args)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
