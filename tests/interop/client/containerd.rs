//! A private containerd, and `ctr` to speak to it.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::process::{Daemon, outcome, run};
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Containerd {
    _daemon: Daemon,
    room: Room,
}

impl Containerd {
    pub(crate) fn start() -> Self {
        let room = Room::new();
        let base = room.path().display();
        let config = room.write(
            "containerd.toml",
            format!(
                "version = 2\n\
                 root = \"{base}/root\"\n\
                 state = \"{base}/state\"\n\
                 disabled_plugins = [\n\
                 \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\",\n\
                 \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.aufs\",\n\
                 \"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = \"{base}/containerd.sock\"\n\
                 [ttrpc]\naddress = \"{base}/containerd.sock.ttrpc\"\n"
            ),
        );
        let mut daemon = Daemon::start(
            "containerd",
            room.path(),
            room.command("containerd").args(["--config".as_ref(), config.as_os_str()]),
        );
        let socket = room.join("containerd.sock");
        daemon.ready(|_| UnixStream::connect(&socket).ok());
        Self { _daemon: daemon, room }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.room.join("containerd.sock")
    }

    /// Pulls from a registry that speaks plain HTTP.
    pub(crate) fn pull_plain(&self, image: &str) {
        run(self.ctr().args(["images", "pull", "--plain-http", image]));
    }

    /// The same as a user.
    pub(crate) fn pull_as(&self, image: &str, credentials: (&str, &str)) {
        run(&mut self.pulling_as(image, credentials));
    }

    /// The same where it is refused.
    pub(crate) fn refused_pull(&self, image: &str, credentials: (&str, &str)) -> String {
        let outcome = outcome(&mut self.pulling_as(image, credentials));
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
        outcome.stderr
    }

    fn pulling_as(&self, image: &str, (user, password): (&str, &str)) -> Command {
        let mut command = self.ctr();
        command.args(["images", "pull", "--plain-http", "--user", &format!("{user}:{password}"), image]);
        command
    }

    /// Pushes an image that was pulled, as it came, for this platform.
    pub(crate) fn push_plain(&self, image: &str, to: &str) {
        run(self.ctr().args(["images", "push", "--plain-http", to, image]));
    }

    /// Pulls an image of any host from a mirror, which is told that host as `?ns=`.
    pub(crate) fn pull_mirrored(&self, image: &str, mirror: SocketAddr) {
        let hosts_toml = format!(
            "server = \"http://{mirror}\"\n\
             [host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        self.pull_by(image, &hosts_toml);
    }

    /// Pulls an image from where the `hosts.toml` of its host says, and gives the digest that its name stands for.
    pub(crate) fn pull_by(&self, image: &str, hosts_toml: &str) -> String {
        let (host, _) = image.split_once('/').unwrap();
        self.room.write(&format!("hosts/{host}/hosts.toml"), hosts_toml);
        let hosts = self.room.join("hosts");
        run(self.ctr().args(["images", "pull", "--hosts-dir"]).arg(hosts).arg(image));
        let listed = run(self.ctr().args(["images", "ls", &format!("name=={image}")]));
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no digest in {listed}")).to_owned()
    }

    /// Runs a script in a new container of an image that was pulled, and gives what it prints.
    pub(crate) fn run(&self, image: &str, name: &str, script: &str) -> String {
        // All of the machine's containerds share one directory of runtime states.
        let room = self.room.path().file_name().unwrap().to_str().unwrap();
        let name = format!("{room}-{name}");
        run(self.ctr().args(["run", "--rm", "--net-host", image, &name, "/bin/sh", "-c", script]))
    }

    fn ctr(&self) -> Command {
        let mut command = self.room.command("ctr");
        command.arg("--address").arg(self.socket());
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // A container that failed half way keeps its shim, which survives the daemon.
        let tasks = outcome(self.ctr().args(["tasks", "ls", "--quiet"])).stdout;
        for task in String::from_utf8_lossy(&tasks).lines() {
            outcome(self.ctr().args(["tasks", "rm", "--force", task]));
        }
    }
}
