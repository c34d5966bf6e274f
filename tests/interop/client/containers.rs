//! What podman and buildah share: settings, and a store of images.

use std::process::Command;

use crate::support::room::Room;

/// Settings and storage for one client.
#[derive(Debug)]
pub(crate) struct Containers {
    room: Room,
    /// The one registry that has TLS.
    secure: Option<String>,
}

impl Containers {
    pub(crate) fn new() -> Self {
        let room = Room::new();
        let base = room.path().display().to_string();
        // What a container would raise (limits) or make (a network) isn't allowed everywhere; locks in a
        // file, because those in shared memory belong to all of the machine.
        room.write(
            "containers.conf",
            format!(
                "[containers]\n\
                 default_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
                 netns = \"host\"\n\
                 cgroups = \"enabled\"\n\
                 [engine]\n\
                 cgroup_manager = \"cgroupfs\"\n\
                 events_logger = \"file\"\n\
                 runtime = \"runc\"\n\
                 lock_type = \"file\"\n\
                 tmp_dir = \"{base}/engine\"\n\
                 volume_path = \"{base}/volumes\"\n"
            ),
        );
        room.write(
            "storage.conf",
            format!(
                "[storage]\n\
                 driver = \"overlay\"\n\
                 graphroot = \"{base}/graph\"\n\
                 runroot = \"{base}/state\"\n"
            ),
        );
        room.write("registries.conf", "unqualified-search-registries = []\n");
        room.write("auth.json", "{}");
        Self { room, secure: None }
    }

    /// With settings that say which registry has a mirror where.
    pub(crate) fn behind(registries: &str) -> Self {
        let containers = Self::new();
        containers.room.write("registries.conf", registries);
        containers
    }

    /// With the authority that vouches for one registry; all others are spoken to over plain HTTP.
    pub(crate) fn trusting(registry: &str, authority: &str) -> Self {
        let mut containers = Self::new();
        containers.room.write("certificates/ca.crt", authority);
        containers.secure = Some(registry.to_owned());
        containers
    }

    /// The option that says how to reach the registry that `name` begins with; `side` is `src-`, `dest-` or nothing.
    pub(crate) fn tls(&self, side: &str, name: &str) -> String {
        match &self.secure {
            Some(registry) if name.starts_with(registry.as_str()) => {
                format!("--{side}cert-dir={}", self.room.join("certificates").display())
            }
            _ => format!("--{side}tls-verify=false"),
        }
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.room.command(program);
        command
            .env("CONTAINERS_CONF", self.room.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.room.join("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.room.join("registries.conf"))
            .env("REGISTRY_AUTH_FILE", self.room.join("auth.json"));
        command
    }
}
