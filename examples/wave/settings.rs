use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "build")]
use tower_oci::build::recipe::Templates;
use tower_oci::client::Upstreams;
#[cfg(feature = "docker-config")]
use tower_oci::client::credentials::DockerConfig;
#[cfg(feature = "platform")]
use tower_oci::client::transport::Guard;
use tower_oci::client::transport::Transport;
use tower_oci::operation::Credentials;
use tower_oci::spec::name::Host;
#[cfg(feature = "build")]
use tower_oci::spec::name::ImageName;
#[cfg(feature = "platform")]
use tower_oci::store::Records;
#[cfg(feature = "platform")]
use tower_oci::wave::platform::Platforms;

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

    /// What builds images of recipes: `buildah`, `docker`, a path of one of them, the addresses of BuildKit daemons with commas between them
    /// (`tcp://10.0.0.1:1234`), `none`, or `auto` for what is installed. buildah and docker see of the environment
    /// CONTAINERS_CONF, CONTAINERS_STORAGE_CONF, BUILDAH_ISOLATION and DOCKER_HOST.
    #[cfg(feature = "build")]
    #[arg(long, env = "WAVE_ENGINE", default_value = "auto", value_name = "ENGINE")]
    engine: String,

    /// An argument for the engine's build command. Repeatable.
    #[cfg(feature = "build")]
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    engine_arg: Vec<String>,

    /// Where builds go whose request names no `buildRepository`: a registry of this process by default.
    #[cfg(feature = "build")]
    #[arg(long, env = "WAVE_BUILD_REPOSITORY", value_name = "NAME")]
    build_repository: Option<ImageName>,

    /// The address of the registry of builds, for the engine and for who pulls frozen images. The port behind that of
    /// --listen by default.
    #[cfg(feature = "build")]
    #[arg(long, env = "WAVE_BUILDS_LISTEN", value_name = "ADDR")]
    builds_listen: Option<SocketAddr>,

    /// The image that installs Conda packages: `micromamba` with its prefix in `/opt/conda`.
    #[cfg(feature = "build")]
    #[arg(long, value_name = "IMAGE")]
    conda_image: Option<String>,

    /// The image that Conda packages are put on.
    #[cfg(feature = "build")]
    #[arg(long, value_name = "IMAGE")]
    conda_base_image: Option<String>,

    /// The image that installs Spack environments.
    #[cfg(feature = "build")]
    #[arg(long, value_name = "IMAGE")]
    spack_image: Option<String>,

    /// The image that a Spack environment is put on.
    #[cfg(feature = "build")]
    #[arg(long, value_name = "IMAGE")]
    spack_base_image: Option<String>,

    /// The directory that tokens, builds, their logs and their images are kept in. In memory without it.
    #[cfg(feature = "redb")]
    #[arg(long, env = "WAVE_DATA", value_name = "DIR")]
    data: Option<std::path::PathBuf>,

    /// A Seqera Platform whose users' credentials are used, and which may pair with this service. Repeatable.
    #[cfg(feature = "platform")]
    #[arg(long = "platform", env = "WAVE_PLATFORM", value_delimiter = ',', value_name = "URL")]
    platforms: Vec<String>,

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
        // What is frozen is written by this service itself; the stack lets no client write.
        let upstreams = upstreams::named(transport, &self.upstreams, &self.insecure, true).any_host(true);
        let upstreams = match self.credentials()? {
            Some(credentials) => upstreams.credentials(credentials),
            None => upstreams,
        };
        Ok(upstreams.build()?)
    }

    /// What registries are read and written with.
    pub(crate) fn credentials(&self) -> Result<Option<Arc<dyn Credentials>>, Failure> {
        #[cfg(feature = "docker-config")]
        if let Some(file) = &self.docker_config {
            return Ok(Some(Arc::new(DockerConfig::load_from(file)?)));
        }
        Ok(None)
    }

    pub(crate) fn data(&self) -> Option<&std::path::Path> {
        #[cfg(feature = "redb")]
        return self.data.as_deref();
        #[cfg(not(feature = "redb"))]
        None
    }

    /// The platforms that are trusted; over plain http where their URLs say so.
    #[cfg(feature = "platform")]
    pub(crate) fn trusted_platforms(
        &self,
        transport: &Transport,
        records: Arc<dyn Records>,
    ) -> Result<Option<Platforms>, Failure> {
        if self.platforms.is_empty() {
            return Ok(None);
        }
        let mut guard = Guard::public_only();
        for url in &self.platforms {
            let url: http::Uri = url.parse().map_err(|error| format!("--platform: `{url}`: {error}"))?;
            let authority = url.authority().ok_or_else(|| format!("--platform: `{url}` is no URL"))?;
            // It is named, and may be at a private address.
            guard = guard.allow_host(&authority.as_str().parse()?);
        }
        let plain = self.platforms.iter().any(|url| url.starts_with("http://"));
        let platforms = Platforms::builder(transport.connect(guard)).records(records).plain_http(plain);
        let platforms = self.platforms.iter().fold(platforms, |platforms, url| platforms.endpoint(url));
        Ok(Some(platforms.build()?))
    }
}

#[cfg(feature = "build")]
impl Settings {
    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    pub(crate) fn engine_args(&self) -> impl Iterator<Item = &String> {
        self.engine_arg.iter()
    }

    /// What an engine needs to know of this machine.
    pub(crate) fn engine_environment(&self) -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
        #[expect(clippy::disallowed_methods, reason = "a program's own environment is its settings")]
        ENGINE_VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
    }

    pub(crate) fn build_repository(&self) -> Result<Option<ImageName>, Failure> {
        match &self.build_repository {
            Some(name) if name.tag().is_some() || name.digest().is_some() => {
                Err(format!("--build-repository: `{name}` is an image: leave the tag out").into())
            }
            name => Ok(name.clone()),
        }
    }

    pub(crate) fn builds_listen(&self, service: SocketAddr) -> SocketAddr {
        // A name that changes with every start would mean other images; port 0 was asked for, though.
        let port = if self.listen.port() == 0 { 0 } else { service.port().saturating_add(1) };
        self.builds_listen.unwrap_or_else(|| SocketAddr::new(service.ip(), port))
    }

    /// The container files of recipes, with the images that were named.
    pub(crate) fn templates(&self) -> Result<Templates, Failure> {
        let mut templates = Templates::builder();
        if let Some(image) = &self.conda_image {
            templates = templates.micromamba_image(image);
        }
        if let Some(image) = &self.conda_base_image {
            templates = templates.base_image(image);
        }
        if let Some(image) = &self.spack_image {
            templates = templates.spack_builder_image(image);
        }
        if let Some(image) = &self.spack_base_image {
            templates = templates.spack_runner_image(image);
        }
        Ok(templates.build()?)
    }

    pub(crate) fn insecure(&self) -> impl Iterator<Item = &Host> {
        self.insecure.iter()
    }
}

/// The variables that are handed on to engines.
#[cfg(feature = "build")]
const ENGINE_VARIABLES: [&str; 4] =
    ["CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "BUILDAH_ISOLATION", "DOCKER_HOST"];
