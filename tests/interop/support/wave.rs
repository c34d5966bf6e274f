//! The example `wave`: the whole service, as a person would start it.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::http::{Answer, send};
use crate::support::image::VARIABLE;
use crate::support::layer::Layer;
use crate::support::process::Daemon;
use crate::support::registry::{PASSWORD, Registry};
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Wave {
    pub(crate) address: SocketAddr,
    daemon: Daemon,
    _room: Room,
}

/// What the service answered to a request for an image.
#[derive(Debug)]
pub(crate) struct Token {
    /// The token itself, a secret.
    pub(crate) token: String,
    /// What to pull.
    pub(crate) image: String,
    /// Digest of the root that is pulled.
    pub(crate) digest: String,
}

impl Wave {
    /// In front of a registry that anybody may read.
    pub(crate) fn before(registry: &Registry) -> Self {
        Self::start(registry, None)
    }

    /// In front of a registry that wants credentials: the content of docker's `config.json`.
    #[cfg(feature = "docker-config")]
    pub(crate) fn with_credentials(registry: &Registry, config: &Value) -> Self {
        Self::start(registry, Some(config))
    }

    fn start(registry: &Registry, credentials: Option<&Value>) -> Self {
        let room = Room::new();
        let mut command = room.command("examples/wave");
        command.args(["--listen", "127.0.0.1:0", "--insecure"]).arg(registry.address.to_string());
        // Everything that the crate and what it is mounted in have to say, for `check_log`.
        command.args(["--log", "wave=trace,tower_oci=trace,tower_http=trace,axum=trace"]);
        if let Some(credentials) = credentials {
            command.arg("--docker-config").arg(room.write("config.json", credentials.to_string()));
        }
        let mut daemon = Daemon::start("wave", room.path(), &mut command);
        let address = daemon.ready(|log| {
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once('\n')?.0.parse().ok()
        });
        Self { address, daemon, _room: room }
    }

    /// Ends the test if the log shows no pull at all, an error, a token or the password.
    pub(crate) fn check_log<'a>(&self, tokens: impl IntoIterator<Item = &'a Token>) {
        let log = self.daemon.log();
        assert!(log.contains("uri=/v2/wt/_/"), "no request in the log:\n{log}");
        assert!(!log.contains(PASSWORD), "the password in the log:\n{log}");
        assert!(!log.contains("ERROR"), "an error that no client saw:\n{log}");
        for token in tokens {
            assert!(!log.contains(&token.token), "a token in the log:\n{log}");
        }
    }
}

impl Token {
    /// Asks the service at an address for an image with the injected layer and [`VARIABLE`].
    pub(crate) fn of(service: SocketAddr, image: &str, platforms: &str, layer: &Layer) -> Self {
        let answer = ask(service, image, platforms, layer);
        assert_eq!(answer.status, 200, "{image}: {}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |member: &str| {
            body[member].as_str().unwrap_or_else(|| panic!("no {member} in {body}")).to_owned()
        };
        let token =
            Self { token: text("containerToken"), image: text("targetImage"), digest: text("targetDigest") };
        assert!(token.image.starts_with(&format!("{service}/wt/{}/", token.token)), "{}", token.image);
        token
    }
}

/// The same, whatever the answer is.
pub(crate) fn ask(service: SocketAddr, image: &str, platforms: &str, layer: &Layer) -> Answer {
    let request = json!({
        "containerImage": image,
        "containerPlatform": platforms,
        "containerConfig": {
            "env": [format!("{}={}", VARIABLE.0, VARIABLE.1)],
            "layers": [{
                "location": format!("data:{}", STANDARD.encode(&layer.compressed)),
                "gzipDigest": layer.digest,
                "gzipSize": layer.compressed.len(),
                "tarDigest": layer.diff_id,
            }],
        },
    });
    let headers = [("Content-Type", "application/json")];
    send(service, "POST", "/container-token", &headers, request.to_string().as_bytes())
}
