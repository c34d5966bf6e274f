//! The example `wave` with an engine: it builds images and keeps them.

use std::net::SocketAddr;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::client::containers::Containers;
use crate::support::http::{Answer, send};
use crate::support::process::Daemon;
use crate::support::registry::Registry;
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) address: SocketAddr,
    daemon: Daemon,
    _room: Room,
}

/// What the service answered to a request for an image.
#[derive(Debug)]
pub(crate) struct Made {
    /// What to pull.
    pub(crate) image: String,
    pub(crate) build: String,
    pub(crate) answer: Value,
}

impl Maker {
    /// With buildah, whose storage is that of `containers`. What it keeps goes into `data`.
    pub(crate) fn with_buildah(
        registry: &Registry,
        containers: &Containers,
        data: &Path,
        more: &[&str],
    ) -> Self {
        let room = Room::new();
        let mut command = room.command("examples/wave");
        command
            .env("CONTAINERS_CONF", containers.room().join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", containers.room().join("storage.conf"))
            .args(["--engine", "buildah", "--engine-arg=--runtime=runc", "--engine-arg=--isolation=oci"])
            .arg("--data")
            .arg(data)
            .args(more);
        Self::start(room, command, registry)
    }

    /// With the Docker engine behind a socket.
    pub(crate) fn with_docker(registry: &Registry, host: &str) -> Self {
        let room = Room::new();
        let mut command = room.command("examples/wave");
        // A newer client without its plug-in may lie about; the one of the distribution comes with the engine.
        command.env("DOCKER_HOST", host).args(["--engine", "/usr/bin/docker", "--engine-arg=--network=host"]);
        Self::start(room, command, registry)
    }

    fn start(room: Room, mut command: std::process::Command, registry: &Registry) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--insecure"]).arg(registry.address.to_string());
        command.args(["--log", "wave=trace,tower_oci=trace,tower_http=trace"]);
        let mut daemon = Daemon::start("wave", room.path(), &mut command);
        let address = daemon.ready(|log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once('\n')?.0.parse().ok()
        });
        Self { address, daemon, _room: room }
    }

    /// Asks for an image.
    pub(crate) fn make(&self, request: &Value) -> Made {
        let answer = self.post("/v1alpha2/container", request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |member: &str| answer[member].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Made { image: text("targetImage"), build: text("buildId"), answer }
    }

    pub(crate) fn post(&self, path: &str, request: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        send(self.address, "POST", path, &headers, request.to_string().as_bytes())
    }

    /// What is under a path of a build, read to its end while the build goes on.
    pub(crate) fn of(&self, made: &Made, what: &str) -> Answer {
        send(self.address, "GET", &format!("/v1alpha1/builds/{}{what}", made.build), &[], b"")
    }

    /// Waits for the end of a build, and gives its log.
    pub(crate) fn log_of(&self, made: &Made) -> String {
        self.of(made, "/logs?follow=true").text()
    }

    /// What the service has printed.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        self.daemon.signal("KILL");
    }
}

/// A file of a request.
pub(crate) fn file(text: &str) -> String {
    file_of(text.as_bytes())
}

/// The same, of any bytes.
pub(crate) fn file_of(content: &[u8]) -> String {
    STANDARD.encode(content)
}

/// A request for what a container file makes, with a file beside it.
pub(crate) fn recipe(container_file: &str, beside: &str) -> Value {
    json!({ "containerFile": file(container_file), "condaFile": file(beside) })
}
