use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tower_oci::hosted::{Hosted, Memory};
use tower_oci::operation::BoxRegistry;
use tower_oci::rt::Tasks;

use super::Failure;
use super::units::{self, Size};

/// How much is kept at most where there is no directory.
const IN_MEMORY: Size = Size::gib(4);

const EXAMPLES: &str = "\
Examples:
  On this machine, in memory, for a test:
    registry
  Kept on disk, for users with passwords, and for everybody who only pulls:
    htpasswd -cB /etc/registry/users ann
    registry --data /var/lib/registry --htpasswd /etc/registry/users --anonymous-pull \\
      --tls-cert /etc/registry/cert.pem --tls-key /etc/registry/key.pem \\
      --listen 0.0.0.0:5000 --url https://registry.example:5000
  How much nobody needs any more, and then without it; the registry is stopped meanwhile:
    registry --data /var/lib/registry --gc --dry-run
    registry --data /var/lib/registry --gc";

/// A registry of one's own: keeps what is pushed, in a directory or in memory, and serves it again.
#[derive(Debug, clap::Parser)]
#[command(name = "registry", version, after_help = EXAMPLES)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one. Without --htpasswd, whoever reaches it may pull, push and
    /// delete.
    #[arg(long, env = "REGISTRY_LISTEN", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// The URL under which clients reach this registry: scheme, host and port. Derived from --listen when absent.
    #[arg(long, env = "REGISTRY_URL", value_name = "URL", value_parser = origin)]
    url: Option<String>,

    /// A directory to keep everything in; it is made if need be. Without it what is pushed is kept in memory, and ends
    /// with the process.
    #[arg(long, env = "REGISTRY_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// The largest blob that is taken: bytes, or K, M, G, T for powers of 1024.
    #[arg(long, env = "REGISTRY_MAX_BLOB", default_value = "64G", value_name = "SIZE")]
    max_blob: Size,

    /// Users and their passwords, as `htpasswd -B` writes them: they may pull, push and delete, and nobody else may do
    /// anything. The file is read again when it changes.
    #[arg(long, env = "REGISTRY_HTPASSWD", value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,

    /// Lets everybody pull, and the users of --htpasswd push and delete.
    #[arg(long, env = "REGISTRY_ANONYMOUS_PULL", requires = "htpasswd")]
    pub(crate) anonymous_pull: bool,

    /// A certificate in PEM, followed by those that lead from it to its authority; serves https in place of http.
    #[arg(long, env = "REGISTRY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(long, env = "REGISTRY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Refuses everything that would change what is kept.
    #[arg(long, env = "REGISTRY_READ_ONLY")]
    pub(crate) read_only: bool,

    /// Answers with the list of all repositories (`/v2/_catalog`) to whoever may pull.
    #[arg(long, env = "REGISTRY_CATALOG")]
    pub(crate) catalog: bool,

    /// Removes from --data what nobody needs, says how much that was, and ends: blobs that no manifest needs, and
    /// uploads that were given up.
    #[arg(long, requires = "data")]
    pub(crate) gc: bool,

    /// With --gc: removes nothing, and says how much it would.
    #[arg(long, requires = "gc")]
    pub(crate) dry_run: bool,

    /// With --gc: removes manifests as well that no tag leads to, be it by way of an index or as a referrer.
    #[arg(long, requires = "gc")]
    pub(crate) untagged: bool,

    /// With --gc: leaves what came in so short a time ago, for pushes that go on when the registry is back: a number of
    /// s, m, h or d.
    #[arg(long, requires = "gc", default_value = "0s", value_name = "TIME", value_parser = units::time)]
    pub(crate) grace: Duration,

    /// What to log: a level, or directives such as `tower_oci=debug`.
    #[arg(long, env = "REGISTRY_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Settings {
    /// The URL that clients reach it at; where nobody said, those of this machine.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let host = match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => address.ip(),
        };
        let derived = || format!("{}://{}", self.scheme(), SocketAddr::new(host, address.port()));
        self.url.clone().unwrap_or_else(derived)
    }

    /// Whether it answers other machines, and nobody said how they reach it.
    pub(crate) fn lacks_url(&self, address: SocketAddr) -> bool {
        self.url.is_none() && address.ip().is_unspecified()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    /// Where what is pushed is kept, for a person.
    pub(crate) fn kept(&self) -> String {
        match &self.data {
            Some(directory) => format!("in {}", directory.display()),
            None => {
                format!(
                    "in memory, {IN_MEMORY} at most, until the registry ends (--data DIR keeps it on disk)"
                )
            }
        }
    }

    /// The registry, in the directory or in memory.
    pub(crate) async fn open(&self, tasks: &Tasks) -> Result<BoxRegistry, Failure> {
        Ok(match &self.data {
            Some(_) => BoxRegistry::new(self.open_directory(tasks).await?),
            None => {
                let memory = Memory::builder().max_bytes(IN_MEMORY.bytes()).max_blob(self.max_blob.bytes());
                BoxRegistry::new(memory.catalog(self.catalog).build())
            }
        })
    }

    /// The registry in the directory.
    pub(crate) async fn open_directory(&self, tasks: &Tasks) -> Result<Hosted, Failure> {
        let directory = self.data.clone().ok_or("--data says which directory")?;
        let opened = Hosted::builder(&directory)
            .max_blob(self.max_blob.bytes())
            .catalog(self.catalog)
            .tasks(tasks.clone())
            .open()
            .await;
        opened
            .map_err(|error| format!("can't open {}: {}", directory.display(), super::reasons(&error)).into())
    }
}

/// A URL without path, as it stands in front of `/v2/`.
fn origin(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let parts = url.parse::<Uri>().ok().map(Uri::into_parts);
    let is_origin = parts.is_some_and(|parts| {
        let scheme = parts.scheme.is_some_and(|scheme| matches!(scheme.as_str(), "http" | "https"));
        let authority = parts.authority.is_some_and(|authority| !authority.as_str().contains('@'));
        scheme && authority && parts.path_and_query.is_none_or(|path| path == "/")
    });
    match is_origin {
        true => Ok(url.to_owned()),
        false => Err("a URL is scheme, host and port, as in https://registry.example:5000".to_owned()),
    }
}
