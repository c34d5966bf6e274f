//! `docker-registry` on a free port, with nothing but what a test pushes.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::http::send;
use crate::support::image::{Image, all};
use crate::support::process::Daemon;
use crate::support::push;
use crate::support::room::Room;
use crate::support::token::TokenService;

pub(crate) const USER: &str = "puller";
pub(crate) const PASSWORD: &str = "open sesame";
/// [`USER`] and [`PASSWORD`] as `htpasswd -nbB` renders them.
pub(crate) const HTPASSWD: &str = "puller:$2y$04$unUCi4ro9CegH2NtbwoVfOYEfVg4QLrwlMQgUiF0MJZd5spJJ8/xq\n";

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    /// What a push has to send.
    authorization: Option<String>,
    /// How often the log was waited for.
    settled: usize,
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

    /// All reads so far but pings, as `GET <path>`, sorted.
    ///
    /// # Panics
    ///
    /// When it wasn't this crate that asked.
    pub(crate) fn reads(&mut self) -> Vec<String> {
        // A line is written after its answer went out: that of one more request comes after the others'.
        self.settled += 1;
        let settled = format!("/v2/?settled={}", self.settled);
        send(self.address, "GET", &settled, &[], &[]);
        let log = self.daemon.ready(|log| log.contains(&settled).then(|| log.to_owned()));
        let mut reads: Vec<String> = log.lines().filter_map(read).collect();
        reads.sort();
        reads
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
        Self { address, authorization, settled: 0, daemon, _room: room }
    }
}

/// The read that a line of the log tells of.
fn read(line: &str) -> Option<String> {
    let (method, path) = (field(line, "http.request.method")?, field(line, "http.request.uri")?);
    if !line.contains("msg=\"response completed")
        || !["GET", "HEAD"].contains(&method)
        || path.starts_with("/v2/?")
    {
        return None;
    }
    let agent = field(line, "http.request.useragent");
    assert!(agent.is_some_and(|agent| agent.starts_with("tower-oci/")), "a client asked by itself: {line}");
    (path != "/v2/").then(|| format!("{method} {path}"))
}

/// The value of `name=value` or `name="value"` in a line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

/// The value of an `Authorization` header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
