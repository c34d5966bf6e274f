//! The example `registry`, as a person would start it.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::http::{Answer, send};
use crate::support::image::Image;
use crate::support::process::{Daemon, Outcome, outcome};
use crate::support::registry::{HTPASSWD, PASSWORD};
use crate::support::room::Room;

#[derive(Debug)]
pub(crate) struct Standalone {
    pub(crate) address: SocketAddr,
    pub(crate) daemon: Daemon,
    room: Room,
}

impl Standalone {
    /// On a free port, with what is kept in this room.
    pub(crate) fn on_disk(room: Room, options: &[&str]) -> Self {
        let data = room.join("data").display().to_string();
        Self::start(room, &[&["--data", &data], options].concat())
    }

    /// On a free port, with these options.
    pub(crate) fn start(room: Room, options: &[&str]) -> Self {
        let mut command = room.command("examples/registry");
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        // Everything that the crate and what it is mounted in have to say, for `check_log`.
        command.args(["--log", "registry=trace,tower_oci=trace,tower_http=trace,axum=trace"]);
        let mut daemon = Daemon::start("registry", room.path(), &mut command);
        let address = daemon.ready(|log| {
            log.contains("Stop with ^C.").then_some(())?;
            log.split_once("listening on http")?.1.split_once("://")?.1.split_once('\n')?.0.parse().ok()
        });
        Self { address, daemon, room }
    }

    /// Stops it as a person would, and gives the room with what it kept.
    ///
    /// # Panics
    ///
    /// When it doesn't end well.
    pub(crate) fn stop(self) -> Room {
        let Self { mut daemon, room, .. } = self;
        daemon.signal("TERM");
        let status = daemon.ended();
        assert!(status.success(), "{status}: {}", daemon.log());
        room
    }

    /// What it said at its start.
    pub(crate) fn welcome(&self) -> String {
        let log = self.daemon.log();
        let end = "Stop with ^C.\n";
        log.find(end).map(|at| log[..at + end.len()].to_owned()).unwrap()
    }

    /// Where it keeps things.
    pub(crate) fn data(&self) -> String {
        self.room.join("data").display().to_string()
    }

    /// The full name of an image here.
    pub(crate) fn name(&self, image: &Image) -> String {
        format!("{}/{}", self.address, image.name())
    }

    pub(crate) fn send(&self, method: &str, target: &str) -> Answer {
        send(self.address, method, target, &[], &[])
    }

    /// Ends the test if the log shows no request at all, an error or the password.
    pub(crate) fn check_log(&self) {
        let log = self.daemon.log();
        assert!(log.contains("/v2/"), "no request in the log:\n{log}");
        assert!(!log.contains(PASSWORD), "the password in the log:\n{log}");
        assert!(!log.contains("ERROR"), "an error that no client saw:\n{log}");
    }
}

/// Collects in a room where a registry was, and gives what was said.
pub(crate) fn collect(room: &Room, options: &[&str]) -> Outcome {
    let data = room.join("data").display().to_string();
    outcome(room.command("examples/registry").args(["--gc", "--data", &data]).args(options))
}

/// A file with the one user that there is.
pub(crate) fn users(room: &Room) -> String {
    room.write("users", HTPASSWD).display().to_string()
}

/// An authority, and files with a certificate of its for 127.0.0.1 and the key.
pub(crate) struct Certified {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn certified(room: &Room) -> Certified {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority of the test's own");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Certified {
        authority: authority.pem(),
        certificate: room.write("certificate.pem", certificate.pem()).display().to_string(),
        key: room.write("key.pem", key.serialize_pem()).display().to_string(),
    }
}
