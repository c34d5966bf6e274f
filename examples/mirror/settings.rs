use std::net::SocketAddr;
use std::path::{Path, PathBuf};
#[cfg(feature = "redb")]
use std::sync::Arc;
use std::time::Duration;

use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::credential::CredentialLayer;
use tower_oci::layer::route::Routes;
use tower_oci::rt::Tasks;
use tower_oci::spec::name::{DOCKER_HUB, Host};
#[cfg(feature = "redb")]
use tower_oci::store::IndexRecords;
use tower_oci::store::blobs::{DiskBlobs, MemoryBlobs};
#[cfg(feature = "redb")]
use tower_oci::store::index::RedbIndex;

use super::Failure;
use super::units::{self, Size};

/// How much is kept where nobody says how much.
const ON_DISK: Size = Size::gib(20);
const IN_MEMORY: Size = Size::gib(1);

const EXAMPLES: &str = "\
Examples:
  Docker Hub, kept on disk:
    mirror --cache /var/cache/mirror --max-size 50G
  Several registries, whose tags move seldom:
    mirror --cache /var/cache/mirror --upstream docker.io --upstream quay.io --upstream ghcr.io --fresh-for 1h
  A registry without TLS, for other machines too:
    mirror --cache /var/cache/mirror --insecure registry.lan:5000 --listen 0.0.0.0:5001";

/// A mirror of registries: images are fetched once, kept, and served again, also while their registry is away.
#[derive(Debug, clap::Parser)]
#[command(name = "mirror", version, after_help = EXAMPLES)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one. Whoever reaches it may pull.
    #[arg(long, env = "MIRROR_LISTEN", default_value = "127.0.0.1:5001", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// A registry that is mirrored, and whose address may be private. Repeatable. Where none is named, here or by
    /// --insecure, it is docker.io.
    #[arg(long = "upstream", env = "MIRROR_UPSTREAM", value_delimiter = ',', value_name = "HOST")]
    upstreams: Vec<Host>,

    /// A registry that is spoken to over plain http, at whatever address. Repeatable.
    #[arg(long = "insecure", env = "MIRROR_INSECURE", value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub(crate) insecure: Vec<Host>,

    /// Credentials for upstream registries, used for everybody who pulls: a docker `config.json` or podman `auth.json`.
    #[cfg(feature = "docker-config")]
    #[arg(long, env = "MIRROR_DOCKER_CONFIG", value_name = "FILE")]
    docker_config: Option<PathBuf>,

    /// A directory to keep images in; it is made if need be. Without it they are kept in memory, and end with the
    /// process.
    #[arg(long, env = "MIRROR_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,

    /// How much is kept: bytes, or K, M, G, T for powers of 1024. What nobody wanted for longest goes first [default:
    /// 20G in a directory, 1G in memory].
    #[arg(long, env = "MIRROR_MAX_SIZE", value_name = "SIZE")]
    max_size: Option<Size>,

    /// How long a tag is served without asking its registry whether it still means the same: a number of s, m, h or d.
    #[arg(long, env = "MIRROR_FRESH_FOR", default_value = "60s", value_name = "TIME", value_parser = units::time)]
    fresh_for: Duration,

    /// What to log: a level, or directives such as `tower_oci=debug`.
    #[arg(long, env = "MIRROR_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Settings {
    /// The registries that are mirrored over https.
    pub(crate) fn secure(&self) -> Vec<Host> {
        if self.upstreams.is_empty() && self.insecure.is_empty() {
            return vec![Host::docker_hub()];
        }
        self.upstreams.iter().filter(|host| !self.insecure.contains(host)).cloned().collect()
    }

    /// All registries that are mirrored.
    pub(crate) fn mirrored(&self) -> Vec<Host> {
        [self.secure(), self.insecure.clone()].concat()
    }

    /// Which registry a name means: by its first component, by `ns`, and else Docker Hub, since that is what docker
    /// takes a mirror for.
    pub(crate) fn routes(&self) -> Result<Routes, Failure> {
        self.mirrored().into_iter().try_fold(Routes::new(), |routes, host| {
            let routes = routes.alias(&component(&host), host.clone())?;
            Ok(if host.as_str() == DOCKER_HUB { routes.default_host(host) } else { routes.host(host) })
        })
    }

    /// With whose credentials registries are asked.
    pub(crate) fn credentials(&self) -> Result<CredentialLayer, Failure> {
        #[cfg(feature = "docker-config")]
        if let Some(file) = &self.docker_config {
            return Ok(CredentialLayer::new(tower_oci::client::credentials::DockerConfig::load_from(file)?));
        }
        Ok(CredentialLayer::new(tower_oci::operation::Anonymous::new()))
    }

    /// The cache, in the directory or in memory.
    pub(crate) async fn cache(&self, tasks: &Tasks) -> Result<CacheLayer, Failure> {
        let size = self.max_size();
        let layer = match &self.cache {
            Some(directory) => {
                let blobs = DiskBlobs::open(directory).await.map_err(|error| {
                    // The system's own words, where there are some; the directory is named here.
                    let reason =
                        std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                    format!("can't keep images in {}: {reason}", directory.display())
                })?;
                with_records(CacheLayer::new(blobs), directory).await?
            }
            None => CacheLayer::new(MemoryBlobs::with_capacity(size.bytes())),
        };
        Ok(layer.max_size(size.bytes()).fresh_for(self.fresh_for).tasks(tasks.clone()))
    }

    /// Where how much is kept, for a person.
    pub(crate) fn kept(&self) -> String {
        let size = self.max_size();
        match &self.cache {
            Some(directory) => format!("in {}, {size} at most", directory.display()),
            None => {
                format!("in memory, {size} at most, until the mirror ends (--cache DIR keeps them on disk)")
            }
        }
    }

    fn max_size(&self) -> Size {
        self.max_size.unwrap_or(if self.cache.is_some() { ON_DISK } else { IN_MEMORY })
    }
}

/// The cache, with what it knows in a file of the directory: one mirror has that open at a time.
#[cfg(feature = "redb")]
async fn with_records(layer: CacheLayer, directory: &Path) -> Result<CacheLayer, Failure> {
    let file = directory.join("records.redb");
    // Nobody waits for what the cache writes down. So it may take the time that makes it outlive a loss of power.
    let index = RedbIndex::builder(&file).sync(true);
    let index = tokio::task::spawn_blocking(|| index.open()).await??;
    let records = IndexRecords::new(index);
    records.sweep().await?;
    Ok(layer.records(Arc::new(records)))
}

#[cfg(not(feature = "redb"))]
async fn with_records(layer: CacheLayer, _: &Path) -> Result<CacheLayer, Failure> {
    Ok(layer)
}

/// What a registry is called at the front of a name. Docker's grammar of names has no colon there, and no host has the
/// underscore that stands for it.
pub(crate) fn component(host: &Host) -> String {
    host.as_str().replace(':', "_")
}
