use std::net::SocketAddr;

use tower_oci::client::Upstreams;
#[cfg(feature = "docker-config")]
use tower_oci::client::credentials::DockerConfig;
use tower_oci::client::transport::Transport;
use tower_oci::spec::name::Host;

use super::{Failure, upstreams};

/// A Wave-like service: asks for images with layers and configuration injected, and serves them.
#[derive(Debug, clap::Parser)]
#[command(name = "wave", version)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, env = "WAVE_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// The URL under which clients reach this service: it is where image names get their host from. Derived from
    /// --listen when absent.
    #[arg(long, env = "WAVE_SERVER_URL", value_name = "URL")]
    pub(crate) server_url: Option<String>,

    /// A registry whose images may also be pulled by plain names (`<this service>/<HOST>/<image>`), and whose address
    /// may be private. Repeatable. Images under a token may come from any public registry without this.
    #[arg(long = "upstream", env = "WAVE_UPSTREAM", value_delimiter = ',', value_name = "HOST")]
    upstreams: Vec<Host>,

    /// A registry that is spoken to over plain http, at whatever address. Repeatable.
    #[arg(long = "insecure", env = "WAVE_INSECURE", value_delimiter = ',', value_name = "HOST[:PORT]")]
    insecure: Vec<Host>,

    /// Credentials for upstream registries: a docker `config.json` or podman `auth.json`.
    #[cfg(feature = "docker-config")]
    #[arg(long, env = "WAVE_DOCKER_CONFIG", value_name = "FILE")]
    docker_config: Option<std::path::PathBuf>,

    /// How long a token lives.
    #[arg(long, env = "WAVE_TOKEN_HOURS", default_value_t = 36, value_name = "HOURS",
        value_parser = clap::value_parser!(u32).range(1..=87_600))]
    pub(crate) token_hours: u32,

    /// What to log: a level, or directives such as `tower_oci=debug`.
    #[arg(long, env = "WAVE_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Settings {
    /// The registries that are named on the command line.
    pub(crate) fn named_upstreams(&self) -> impl Iterator<Item = &Host> {
        self.upstreams.iter().chain(&self.insecure)
    }

    /// The leaf for all registries: named ones as told, all others over https at public addresses.
    pub(crate) fn upstreams(&self, transport: &Transport) -> Result<Upstreams, Failure> {
        let upstreams = upstreams::named(transport, &self.upstreams, &self.insecure).any_host(true);
        #[cfg(feature = "docker-config")]
        let upstreams = match &self.docker_config {
            Some(file) => upstreams.credentials(std::sync::Arc::new(DockerConfig::load_from(file)?)),
            None => upstreams,
        };
        Ok(upstreams.build()?)
    }
}
