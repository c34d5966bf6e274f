//! The example `mirror`, as a person would start it, and the lines that it prints to be pasted.

use std::net::SocketAddr;

use crate::support::http::{Answer, send};
use crate::support::image::Image;
use crate::support::process::Daemon;
use crate::support::registry::{PASSWORD, Registry};
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) address: SocketAddr,
    daemon: Daemon,
    room: Room,
    options: Vec<String>,
}

impl Mirror {
    /// Of a registry, with a cache on disk.
    pub(crate) fn of(registry: &Registry, options: &[&str]) -> Self {
        let room = Room::new();
        let cache = room.join("cache").display().to_string();
        let upstream = registry.address.to_string();
        Self::start(room, &[&["--insecure", &upstream, "--cache", &cache], options].concat())
    }

    /// With the credentials of a docker `config.json`.
    #[cfg(feature = "docker-config")]
    pub(crate) fn with_credentials(registry: &Registry, config: &serde_json::Value) -> Self {
        let room = Room::new();
        let config = room.write("config.json", config.to_string()).display().to_string();
        let upstream = registry.address.to_string();
        Self::start(room, &["--insecure", &upstream, "--docker-config", &config])
    }

    /// On a free port, with these options.
    pub(crate) fn start(room: Room, options: &[&str]) -> Self {
        let mut command = room.command("examples/mirror");
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        // Everything that the crate and what it is mounted in have to say, for `check_log`.
        command.args(["--log", "mirror=trace,tower_oci=trace,tower_http=trace,axum=trace"]);
        let mut daemon = Daemon::start("mirror", room.path(), &mut command);
        let address = daemon.ready(|log| {
            log.contains("Stop with ^C.").then_some(())?;
            log.split_once("listening on http://")?.1.split_once('\n')?.0.parse().ok()
        });
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { address, daemon, room, options }
    }

    /// The same once more, with what it left on disk.
    pub(crate) fn restarted(self) -> Self {
        let Self { daemon, room, options, .. } = self;
        drop(daemon);
        Self::start(room, &options.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What it said at its start.
    pub(crate) fn welcome(&self) -> String {
        let log = self.daemon.log();
        let end = "Stop with ^C.\n";
        log.find(end).map(|at| log[..at + end.len()].to_owned()).unwrap()
    }

    /// The lines that it printed for a file, without their indentation.
    pub(crate) fn lines_for(&self, file: &str) -> String {
        let welcome = self.welcome();
        let (_, rest) =
            welcome.split_once(&format!("{file}\n")).unwrap_or_else(|| panic!("no {file}: {welcome}"));
        let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("  "));
        lines.map(|line| format!("{}\n", line.trim_start())).collect()
    }

    /// The name by which an image of a registry is pulled with no settings.
    pub(crate) fn name(&self, registry: SocketAddr, image: &Image) -> String {
        format!("{}/{}_{}/{}", self.address, registry.ip(), registry.port(), image.name())
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        send(self.address, "GET", target, &[], &[])
    }

    /// The line of figures that it prints when it is asked.
    pub(crate) fn figures(&mut self) -> String {
        let lines = |log: &str| log.lines().filter(|line| line.contains(" blobs kept, ")).count();
        let before = lines(&self.daemon.log());
        self.daemon.signal("USR1");
        self.daemon.ready(|log| {
            let whole = log.rsplit_once('\n')?.0;
            let last = whole.lines().filter(|line| line.contains(" blobs kept, ")).nth(before)?;
            Some(last.to_owned())
        })
    }

    /// Ends the test if the log shows no pull at all, an error or the password.
    pub(crate) fn check_log(&self) {
        let log = self.daemon.log();
        assert!(log.contains("uri=/v2/"), "no request in the log:\n{log}");
        assert!(!log.contains(PASSWORD), "the password in the log:\n{log}");
        assert!(!log.contains("ERROR"), "an error that no client saw:\n{log}");
    }
}
