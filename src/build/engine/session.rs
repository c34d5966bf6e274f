use std::ffi::OsStr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use futures_util::stream;
use http::StatusCode;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::group::Group;
use super::program::Program;
use super::tail::Tail;
use super::workspace::{Variables, Workspace};
use crate::build::builder::{Build, Built, Event};
use crate::error::{Error, ErrorCode};
use crate::rt::blocking;

/// One build while it runs: a private directory, a program, and who listens.
pub(super) struct Session {
    pub(super) workspace: Workspace,
    program: Program,
    /// Variables that the engine wants beside the program's own.
    env: Variables,
    events: mpsc::Sender<Result<Event, Error>>,
    tail: Tail,
}

/// Starts the steps of a build. They go on in a task, so that the engine can be ended in order when nobody listens any
/// more.
pub(super) fn start<F>(
    program: &Program,
    workspace: Workspace,
    env: Variables,
    steps: impl FnOnce(Session) -> F,
) -> Result<Build, Error>
where
    F: Future<Output = (Session, Result<Built, Error>)> + Send + 'static,
{
    let (events, mut received) = mpsc::channel(MAX_WAITING);
    let session = Session { workspace, program: program.clone(), env, events, tail: Tail::default() };
    let work = steps(session);
    let started = program.background().spawn(async move {
        let (session, outcome) = work.await;
        let Session { workspace, events, .. } = session;
        // What is told is over: the directory is gone before anybody hears of the end.
        let _ = blocking(move || drop(workspace)).await;
        let _ = events.send(outcome.map(Event::Finished)).await;
    });
    if !started {
        return Err(Error::unavailable(
            "no build is started any more: too many run, or this service is about to end",
        ));
    }
    let mut has_ended = false;
    Ok(Build::new(stream::poll_fn(move |cx| {
        received.poll_recv(cx).map(|event| match event {
            _ if has_ended => None,
            Some(event) => {
                has_ended = !matches!(event, Ok(Event::Log(_)));
                Some(event)
            }
            None => {
                has_ended = true;
                Some(Err(Error::unavailable("the build was broken off: this service is about to end")))
            }
        })
    })))
}

impl Session {
    /// The program with a subcommand.
    pub(super) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program.command(&self.workspace, &self.env);
        command.args(args);
        command
    }

    /// The arguments of the embedder's for the subcommand that builds.
    pub(super) fn extra_args(&self) -> impl Iterator<Item = &OsStr> {
        self.program.args().iter().map(|arg| arg.as_os_str())
    }

    /// Tells who listens.
    pub(super) async fn say(&mut self, line: &str) {
        let _ = self.events.send(Ok(Event::Log(Bytes::from(format!("{line}\n"))))).await;
    }

    /// Runs a step and passes on what it prints. `doing` says what it is for, in the message of a failure.
    pub(super) async fn run(&mut self, doing: &str, command: Command) -> Result<(), Error> {
        let (mut group, output) = self.spawn(command)?;
        self.tail = Tail::default();
        let exited = AtomicBool::new(false);
        let status = {
            let events = &self.events;
            let mut printed = pin!(pass_on(output, &mut self.tail, events, &exited));
            let ended = {
                let mut waiting = pin!(group.wait());
                match select(&mut waiting, &mut printed).await {
                    Either::Left((status, printed)) => {
                        exited.store(true, Ordering::Release);
                        printed.await;
                        Some(status)
                    }
                    // It closed its output, or nobody listens.
                    Either::Right(((), waiting)) => match select(waiting, pin!(events.closed())).await {
                        Either::Left((status, _)) => Some(status),
                        Either::Right(_) => None,
                    },
                }
            };
            match ended {
                Some(status) if !self.events.is_closed() => status,
                _ => {
                    group.end(self.program.grace_period()).await;
                    return Err(Error::unavailable("the build was given up"));
                }
            }
        };
        let status =
            status.map_err(|error| Error::internal("an engine's end can't be seen").with_source(error))?;
        if status.success() {
            return Ok(());
        }
        let said = self.tail.message();
        let said = if said.is_empty() { status.to_string() } else { said };
        Err(Error::invalid(ErrorCode::ManifestInvalid, format!("{doing} failed: {said}")))
    }

    /// Runs something short and gives what it prints, [`MAX_CAPTURED`] bytes at most; nothing when it fails.
    pub(super) async fn capture(&mut self, command: Command) -> Option<Vec<u8>> {
        let (mut group, output) = self.spawn(command).ok()?;
        let mut printed = Vec::new();
        let work = async {
            output.take(MAX_CAPTURED).read_to_end(&mut printed).await?;
            group.wait().await
        };
        let status = timeout(SHORT, work).await;
        if !matches!(&status, Ok(Ok(status)) if status.success()) {
            group.end(SHORT).await;
            return None;
        }
        Some(printed)
    }

    fn spawn(&self, command: Command) -> Result<(Group, Receiver), Error> {
        Group::start(command).map_err(|error| {
            let path = self.program.path().display();
            let message = format!("the build engine `{path}` can't be run: install it, or name another");
            Error::unsupported(message).with_status(StatusCode::NOT_IMPLEMENTED).with_source(error)
        })
    }
}

/// Passes on what comes until nothing can come any more, or nobody listens.
async fn pass_on(
    mut output: Receiver,
    tail: &mut Tail,
    events: &mpsc::Sender<Result<Event, Error>>,
    exited: &AtomicBool,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let read = {
            let reading = pin!(timeout(PATIENCE, output.read_buf(&mut buffer)));
            match select(reading, pin!(events.closed())).await {
                Either::Left((read, _)) => read,
                Either::Right(_) => return,
            }
        };
        match read {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {
                let bytes = buffer.split().freeze();
                tail.add(&bytes);
                if events.send(Ok(Event::Log(bytes))).await.is_err() {
                    return;
                }
            }
            // Something that outlives the program may hold the pipe open.
            Err(_) if exited.load(Ordering::Acquire) => return,
            Err(_) => {}
        }
    }
}

/// Events that wait for a slow listener: then the engine waits too.
const MAX_WAITING: usize = 16;
/// Bytes of a log's event.
const CHUNK: usize = 8 * 1024;
const MAX_CAPTURED: u64 = 64 * 1024;
/// For what takes no time.
const SHORT: Duration = Duration::from_secs(30);
/// How long a silent pipe is listened to when the program has ended.
const PATIENCE: Duration = Duration::from_millis(500);
