//! `umoci unpack`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::process::run;
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Umoci {
    room: Room,
}

/// A runtime bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) rootfs: PathBuf,
    /// `config.json`.
    pub(crate) config: Value,
}

impl Umoci {
    pub(crate) fn new() -> Self {
        Self { room: Room::new() }
    }

    /// Unpacks what `skopeo copy` has put into an OCI layout.
    pub(crate) fn unpack(&self, layout: &Path, name: &str) -> Bundle {
        let bundle = self.room.join(name);
        let image = format!("{}:pulled", layout.display());
        run(self.room.command("umoci").args(["unpack", "--image", &image]).arg(&bundle));
        let config = std::fs::read(bundle.join("config.json")).unwrap();
        Bundle { rootfs: bundle.join("rootfs"), config: serde_json::from_slice(&config).unwrap() }
    }
}
