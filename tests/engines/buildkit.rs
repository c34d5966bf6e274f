//! A real BuildKit daemon, wherever one is installed.

use std::os::unix::net::UnixStream;

use tower_oci::build::engine::{BuildKit, Program};
use tower_oci::rt::Tasks;

use crate::builds::{Site, check_builds, check_cache, check_cancelling, check_failure};
use crate::support::need;
use crate::support::process::Daemon;
use crate::support::room::Room;

struct Buildkitd {
    _daemon: Daemon,
    room: Room,
}

impl Buildkitd {
    fn start() -> Self {
        let room = Room::new();
        let socket = room.join("buildkitd.sock");
        let mut daemon = Daemon::start(
            "buildkitd",
            room.path(),
            room.command("buildkitd")
                .arg("--addr")
                .arg(format!("unix://{}", socket.display()))
                .arg("--root")
                .arg(room.directory("root"))
                .args(["--oci-worker-net=host", "--containerd-worker=false"]),
        );
        daemon.ready(|_| UnixStream::connect(&socket).ok());
        Self { _daemon: daemon, room }
    }
}

fn engine(site: &Site, daemon: &Buildkitd, tasks: &Tasks) -> BuildKit {
    let program = Program::new(need::program("buildctl")).directory(site.private.path()).tasks(tasks.clone());
    BuildKit::new(program, [format!("unix://{}", daemon.room.join("buildkitd.sock").display())])
}

/// Debian has no BuildKit: missing it is a skip even where every client is required.
fn is_installed() -> bool {
    let has = |name: &str| Program::new(name).find().is_some();
    let installed = has("buildctl") && has("buildkitd");
    if !installed {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: buildctl and buildkitd are not installed");
    }
    installed
}

#[tokio::test]
async fn buildkit_builds_and_pushes() {
    if !is_installed() {
        return;
    }
    need!("docker-registry", "busybox", "buildah", "runc");
    let (site, daemon, tasks) = (Site::new(), Buildkitd::start(), Tasks::new());
    let engine = engine(&site, &daemon, &tasks);
    check_builds(&site, &engine).await;
    check_failure(&site, &engine).await;
    let other = Buildkitd::start();
    check_cache(&site, &engine, &self::engine(&site, &other, &tasks)).await;
    check_cancelling(&site, &engine, &tasks).await;
}
