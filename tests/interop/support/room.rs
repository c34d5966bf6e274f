//! A temporary directory, where nothing stays mounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::need;

/// A directory for one test. Declare it before the daemons that work in it, so that they end first.
#[derive(Debug)]
pub(crate) struct Room {
    directory: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        // A short prefix: the paths of sockets may have 107 bytes at most.
        Self { directory: tempfile::Builder::new().prefix("oci-").tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A new directory in the directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file, and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A program that sees nothing of the machine's settings, credentials and proxies.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(need::program(program));
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory("home"))
            .env("TMPDIR", self.directory("tmp"))
            .env("XDG_RUNTIME_DIR", self.directory("run"))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.path());
        command
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for point in mounts_below(self.path()) {
            let _ = Command::new("umount").arg("--lazy").arg(point).status();
        }
    }
}

/// Mount points below a directory, the deepest first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(directory))
        .collect();
    points.reverse();
    points
}
