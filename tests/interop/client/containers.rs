//! What podman and buildah share: settings, and a store of images.

use std::process::Command;

use crate::support::room::Room;

/// Settings and storage for one client.
#[derive(Debug)]
pub(crate) struct Containers {
    room: Room,
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
        Self { room }
    }

    /// With settings that say which registry has a mirror where.
    pub(crate) fn behind(registries: &str) -> Self {
        let containers = Self::new();
        containers.room.write("registries.conf", registries);
        containers
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
