use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A program with all the processes that it starts. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    /// Starts `command` in a process group of its own. What it prints comes out of one pipe, in the order of printing.
    pub(super) fn start(mut command: Command) -> io::Result<(Self, Receiver)> {
        let (reader, writer) = io::pipe()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        // The command holds the pipe's other end.
        drop(command);
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok((Self { child, pid }, Receiver::from_owned_fd(reader.into())?))
    }

    /// Waits for the program's end.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.kill();
        Ok(status)
    }

    /// Asks all of it to end, and kills what is left after `grace`.
    pub(super) async fn end(&mut self, grace: Duration) {
        if let Some(pid) = self.pid {
            let _ = kill_process_group(pid, Signal::TERM);
        }
        if timeout(grace, self.child.wait()).await.is_err() {
            self.kill();
            let _ = self.child.wait().await;
        }
        self.kill();
    }

    /// Kills what is left: the group, and those that left it but not the family.
    fn kill(&mut self) {
        let Some(pid) = self.pid else { return };
        // While the child is there to be asked for its children; a dead one's number may be another's.
        if self.child.id().is_some() {
            for descendant in descendants(pid) {
                let _ = kill_process(descendant, Signal::KILL);
            }
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

/// The processes that `root` started, and those that they started: a container's processes have groups of their own.
/// None where there is no `/proc`.
fn descendants(root: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(i32, i32)> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in brackets may hold anything.
            let (_, rest) = stat.rsplit_once(") ")?;
            Some((pid, rest.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}
