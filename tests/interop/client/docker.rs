//! A private Docker engine on a private containerd, and `docker` to speak to it.

use std::net::SocketAddr;
use std::process::Command;

use crate::client::containerd::Containerd;
use crate::support::process::{Daemon, outcome, run};
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Docker {
    _daemon: Daemon,
    _containerd: Containerd,
    room: Room,
}

impl Docker {
    pub(crate) fn start() -> Self {
        let containerd = Containerd::start();
        let room = Room::new();
        // No bridge and no firewall rules: neither is allowed everywhere, and neither is needed.
        let mut daemon = Daemon::start(
            "dockerd",
            room.path(),
            room.command("dockerd")
                .args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"])
                .args(["--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs"])
                .args(["--default-ulimit", "nofile=20000:20000"])
                .arg("--config-file")
                .arg(room.write("daemon.json", "{}"))
                .arg("--containerd")
                .arg(containerd.socket())
                .arg("--host")
                .arg(format!("unix://{}", room.join("docker.sock").display()))
                .arg("--data-root")
                .arg(room.directory("data"))
                .arg("--exec-root")
                .arg(room.directory("exec"))
                .arg("--pidfile")
                .arg(room.join("docker.pid")),
        );
        daemon.ready(|log| log.contains("API listen on").then_some(()));
        Self { _daemon: daemon, _containerd: containerd, room }
    }

    /// Pulls an image; loopback counts as insecure by itself.
    pub(crate) fn pull(&self, image: &str) {
        run(self.docker().args(["pull", "--quiet", image]));
    }

    /// A pull that is refused.
    pub(crate) fn refused_pull(&self, image: &str) -> String {
        refused(self.docker().args(["pull", "--quiet", image]))
    }

    /// Logs in, and keeps what it takes for later pulls and pushes.
    pub(crate) fn login(&self, registry: SocketAddr, credentials: (&str, &str)) {
        run(&mut self.logging_in(registry, credentials));
    }

    /// The same where it is refused.
    pub(crate) fn refused_login(&self, registry: SocketAddr, credentials: (&str, &str)) -> String {
        refused(&mut self.logging_in(registry, credentials))
    }

    pub(crate) fn logout(&self, registry: SocketAddr) {
        run(self.docker().args(["logout", &registry.to_string()]));
    }

    /// What the client keeps of logins.
    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.room.join("docker-config/config.json")).unwrap()
    }

    pub(crate) fn tag(&self, image: &str, name: &str) {
        run(self.docker().args(["tag", image, name]));
    }

    pub(crate) fn push(&self, image: &str) {
        run(self.docker().args(["push", "--quiet", image]));
    }

    /// The same where it is refused.
    pub(crate) fn refused_push(&self, image: &str) -> String {
        refused(self.docker().args(["push", "--quiet", image]))
    }

    /// Forgets an image.
    pub(crate) fn remove(&self, image: &str) {
        run(self.docker().args(["rmi", "--force", image]));
    }

    fn logging_in(&self, registry: SocketAddr, (user, password): (&str, &str)) -> Command {
        let mut command = self.docker();
        command.args(["login", "--username", user, "--password", password]).arg(registry.to_string());
        command
    }

    /// Runs a script in a new container of an image that was pulled, and gives what it prints.
    pub(crate) fn run(&self, image: &str, script: &str) -> String {
        let options = ["run", "--rm", "--network", "host"];
        run(self.docker().args(options).args([image, "/bin/sh", "-c", script]))
    }

    /// Builds an image `FROM` another with the engine's BuildKit, which pulls by itself; the script runs
    /// in a step of the build, and what it prints is the answer.
    pub(crate) fn build_from(&self, image: &str, script: &str) -> String {
        let context = self.room.directory("context");
        self.room.write("context/Dockerfile", format!("FROM {image}\nRUN ({script}) >/told\n"));
        let options = ["build", "--quiet", "--network", "host"];
        let built = run(self.docker().env("DOCKER_BUILDKIT", "1").args(options).arg(context));
        self.run(built.trim(), "cat /told")
    }

    /// Where the engine listens, as `--host` takes it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.room.join("docker.sock").display())
    }

    fn docker(&self) -> Command {
        let mut command = self.room.command("docker");
        command.arg("--host").arg(self.host()).env("DOCKER_CONFIG", self.room.directory("docker-config"));
        command
    }
}

fn refused(command: &mut Command) -> String {
    let outcome = outcome(command);
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    outcome.stderr
}

impl Drop for Docker {
    fn drop(&mut self) {
        // A container that failed half way would keep its shim.
        let containers = outcome(self.docker().args(["ps", "--all", "--quiet"])).stdout;
        for container in String::from_utf8_lossy(&containers).lines() {
            outcome(self.docker().args(["rm", "--force", container]));
        }
    }
}
