//! `docker-registry` on a free port, with nothing but what a test pushes.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::image::{Image, all};
use crate::support::process::Daemon;
use crate::support::push;
use crate::support::room::Room;
use crate::support::token::TokenService;

pub(crate) const USER: &str = "puller";
pub(crate) const PASSWORD: &str = "open sesame";
/// [`USER`] and [`PASSWORD`] as `htpasswd -nbB` renders them.
const HTPASSWD: &str = "puller:$2y$04$unUCi4ro9CegH2NtbwoVfOYEfVg4QLrwlMQgUiF0MJZd5spJJ8/xq\n";

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    /// What a push has to send.
    authorization: Option<String>,
    daemon: Daemon,
    _room: Room,
}

impl Registry {
    /// Anybody may do anything.
    pub(crate) fn open() -> Self {
        Self::start(Room::new(), "", None)
    }

    /// Basic authentication for [`USER`] and [`PASSWORD`].
    pub(crate) fn basic() -> Self {
        let room = Room::new();
        let file = room.write("htpasswd", HTPASSWD);
        let auth = format!("auth:\n  htpasswd:\n    realm: the back room\n    path: {}\n", file.display());
        Self::start(room, &auth, Some(basic(USER, PASSWORD)))
    }

    /// Bearer tokens of this service.
    pub(crate) fn bearer(service: &TokenService) -> Self {
        let room = Room::new();
        let roots = room.write("roots.pem", service.certificate());
        let auth = format!(
            "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
            service.realm(),
            TokenService::SERVICE,
            TokenService::ISSUER,
            roots.display(),
        );
        let token = service.token("test", &TokenService::everything());
        Self::start(room, &auth, Some(format!("Bearer {token}")))
    }

    /// A registry that holds an image of each kind.
    pub(crate) fn with_all_kinds() -> Self {
        let registry = Self::open();
        for image in all() {
            registry.push(image);
        }
        registry
    }

    pub(crate) fn push(&self, image: &Image) {
        push::push(image, self.address, self.authorization.as_deref());
    }

    /// The full name of an image here.
    pub(crate) fn name(&self, image: &Image) -> String {
        format!("{}/{}", self.address, image.name())
    }

    /// The access log so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    fn start(room: Room, auth: &str, authorization: Option<String>) -> Self {
        let storage = room.directory("storage");
        let config = room.write(
            "config.yml",
            format!(
                "version: 0.1\n\
                 log:\n  level: info\n  accesslog:\n    disabled: true\n\
                 storage:\n  filesystem:\n    rootdirectory: {}\n  cache:\n    blobdescriptor: inmemory\n  delete:\n    enabled: true\n\
                 http:\n  addr: 127.0.0.1:0\n{auth}",
                storage.display()
            ),
        );
        let mut daemon = Daemon::start(
            "docker-registry",
            room.path(),
            room.command("docker-registry").args(["serve".as_ref(), config.as_os_str()]),
        );
        let address = daemon.ready(|log| {
            let (_, rest) = log.split_once("listening on ")?;
            rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next()?.parse().ok()
        });
        Self { address, authorization, daemon, _room: room }
    }
}

/// The value of an `Authorization` header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
