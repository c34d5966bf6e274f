//! Programs that are run to their end, and programs that stay for the length of a test.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// More than the slowest client needs on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(120);
const READY_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(15);
/// Lines, and characters in each, that a failed test shows of a log.
const TAIL: (usize, usize) = (30, 300);
const POLL: Duration = Duration::from_millis(20);

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs a program to its end and gives its standard output.
///
/// # Panics
///
/// With all it said, when it fails or takes too long.
pub(crate) fn run(command: &mut Command) -> String {
    String::from_utf8(run_bytes(command)).expect("output in UTF-8")
}

/// As [`run`], for output that isn't text.
pub(crate) fn run_bytes(command: &mut Command) -> Vec<u8> {
    let outcome = outcome(command);
    assert!(
        outcome.status.success(),
        "{command:?}\nended with {}\nstdout: {}\nstderr: {}",
        outcome.status,
        String::from_utf8_lossy(&outcome.stdout),
        outcome.stderr,
    );
    outcome.stdout
}

/// Runs a program to its end, whichever that is.
pub(crate) fn outcome(command: &mut Command) -> Outcome {
    // Files rather than pipes: a monitor process that outlives the client would hold a pipe open.
    let mut stdout = tempfile::tempfile().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = wait(&mut child, RUN_LIMIT);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (content(&mut stdout), content(&mut stderr));
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    let status = status.unwrap_or_else(|| {
        let stdout = String::from_utf8_lossy(&stdout);
        panic!("{command:?}\nstill ran after {RUN_LIMIT:?}\nstdout: {stdout}\nstderr: {stderr}")
    });
    Outcome { status, stdout, stderr }
}

/// A program that runs until it is dropped; its output is kept and shown when the test fails.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the program; its output goes to a file in `directory`.
    pub(crate) fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Waits until `probe` finds what it looks for in the output so far (or elsewhere).
    pub(crate) fn ready<T>(&mut self, probe: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Some(found) = probe(&self.log()) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended early: {ended:?}", self.name);
            assert!(Instant::now() < deadline, "{} was not ready within {READY_LIMIT:?}", self.name);
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to the program, if it still runs.
    pub(crate) fn signal(&mut self, name: &str) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = self.child.id().to_string();
            let _ = Command::new("sh").args(["-c", "kill -s \"$1\" \"$0\"", &pid, name]).status();
        }
    }

    /// Waits until the program has ended, and gives how.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait(&mut self.child, END_LIMIT).unwrap_or_else(|| panic!("{} still ran", self.name))
    }

    /// All output so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked first, so that the container daemons can unmount and end what they started.
        self.signal("TERM");
        if wait(&mut self.child, END_LIMIT).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- last output of {}:\n{}", self.name, tail(&self.log()));
        }
    }
}

/// The last lines, none of them endless.
fn tail(log: &str) -> String {
    let lines: Vec<String> = log.lines().map(|line| line.chars().take(TAIL.1).collect()).collect();
    lines[lines.len().saturating_sub(TAIL.0)..].join("\n")
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if Instant::now() >= deadline => return None,
            None => std::thread::sleep(POLL),
        }
    }
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
