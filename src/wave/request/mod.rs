//! The JSON of a container-token request, field by field.
//!
//! Each member is read by itself, so that an error names it. Unknown members are ignored, `null` and an empty text
//! count as absent.

mod member;
mod packages;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::member::invalid;
use self::member::{list, member, object, secret, size, text, told};
pub(super) use self::packages::Packages;
use crate::error::Error;
use crate::secret::Secret;
use crate::spec::json;

/// A container-token request as it came.
#[derive(Debug)]
pub(super) struct ContainerRequest<'a> {
    pub(super) container_image: Option<Cow<'a, str>>,
    pub(super) container_file: Option<Cow<'a, str>>,
    pub(super) conda_file: Option<Cow<'a, str>>,
    pub(super) spack_file: Option<Cow<'a, str>>,
    pub(super) config: ContainerConfig<'a>,
    pub(super) container_platform: Option<Cow<'a, str>>,
    pub(super) build_repository: Option<Cow<'a, str>>,
    pub(super) cache_repository: Option<Cow<'a, str>>,
    pub(super) timestamp: Option<Cow<'a, str>>,
    pub(super) fingerprint: Option<Cow<'a, str>>,
    pub(super) freeze: bool,
    pub(super) tower_access_token: Option<Secret>,
    pub(super) tower_refresh_token: Option<Secret>,
    pub(super) tower_endpoint: Option<Cow<'a, str>>,
    pub(super) tower_workspace_id: Option<u64>,
    /// Of `/v1alpha2/container`.
    pub(super) packages: Option<Packages>,
}

/// `containerConfig`.
#[derive(Debug, Default)]
pub(super) struct ContainerConfig<'a> {
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: Option<Cow<'a, str>>,
    pub(super) layers: Vec<ContainerLayer<'a>>,
}

/// One of `containerConfig.layers`.
#[derive(Debug)]
pub(super) struct ContainerLayer<'a> {
    pub(super) location: Option<Cow<'a, str>>,
    pub(super) gzip_digest: Option<Cow<'a, str>>,
    pub(super) gzip_size: Option<u64>,
    pub(super) tar_digest: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow, default)]
    container_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    container_file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    container_config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    conda_file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    spack_file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    container_platform: Option<&'a RawValue>,
    #[serde(borrow, default)]
    build_repository: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_repository: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fingerprint: Option<&'a RawValue>,
    #[serde(borrow, default)]
    freeze: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tower_access_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tower_refresh_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tower_endpoint: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tower_workspace_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    packages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mirror: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scan_mode: Option<&'a RawValue>,
    #[serde(borrow, default)]
    format: Option<&'a RawValue>,
    #[serde(borrow, default)]
    build_context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    container_includes: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dry_run: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMembers<'a> {
    #[serde(borrow, default)]
    entrypoint: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cmd: Option<&'a RawValue>,
    #[serde(borrow, default)]
    env: Option<&'a RawValue>,
    #[serde(borrow, default)]
    working_dir: Option<&'a RawValue>,
    #[serde(borrow, default)]
    layers: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerMembers<'a> {
    #[serde(borrow, default)]
    location: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gzip_digest: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gzip_size: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tar_digest: Option<&'a RawValue>,
}

impl<'a> ContainerRequest<'a> {
    /// Reads the body of a request with at most `max_layers` layers.
    pub(super) fn parse(body: &'a [u8], max_layers: usize) -> Result<Self, Error> {
        json::check(body).map_err(|error| invalid(format!("the request is no valid JSON: {error}")))?;
        // A struct could be read from an array as well.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(invalid("the request is no JSON object"));
        }
        let members: Members<'a> = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request can't be read: {}", told(&error))))?;
        let request = Self {
            container_image: text("containerImage", members.container_image)?,
            container_file: text("containerFile", members.container_file)?,
            conda_file: text("condaFile", members.conda_file)?,
            spack_file: text("spackFile", members.spack_file)?,
            config: config(members.container_config, max_layers)?,
            container_platform: text("containerPlatform", members.container_platform)?,
            build_repository: text("buildRepository", members.build_repository)?,
            cache_repository: text("cacheRepository", members.cache_repository)?,
            timestamp: text("timestamp", members.timestamp)?,
            fingerprint: text("fingerprint", members.fingerprint)?,
            freeze: member("freeze", members.freeze)?.unwrap_or_default(),
            tower_access_token: secret("towerAccessToken", members.tower_access_token)?,
            tower_refresh_token: secret("towerRefreshToken", members.tower_refresh_token)?,
            tower_endpoint: text("towerEndpoint", members.tower_endpoint)?,
            tower_workspace_id: member("towerWorkspaceId", members.tower_workspace_id)?,
            packages: packages::read(members.packages)?,
        };
        members.refuse_others()?;
        Ok(request)
    }
}

impl Members<'_> {
    /// What would change the image or what is done with it, and isn't there: left out, the answer would be another
    /// image than the one that was asked for.
    fn refuse_others(&self) -> Result<(), Error> {
        let asks = |name, raw| member::<bool>(name, raw).map(Option::unwrap_or_default);
        let mode = text("scanMode", self.scan_mode)?;
        let format = text("format", self.format)?;
        let includes: Vec<&RawValue> = list("containerIncludes", self.container_includes)?;
        for (name, asked) in [
            ("mirror", asks("mirror", self.mirror)?),
            ("scanMode", mode.is_some_and(|mode| mode != "none")),
            ("format", format.is_some_and(|format| format != "docker")),
            ("buildContext", self.build_context.is_some_and(|raw| raw.get() != "null")),
            ("containerIncludes", !includes.is_empty()),
            ("dryRun", asks("dryRun", self.dry_run)?),
        ] {
            if asked {
                return Err(not_here(format!(
                    "this service doesn't do what `{name}` asks for: leave it out"
                )));
            }
        }
        Ok(())
    }
}

/// A `501`: for what the API has and this service doesn't.
pub(super) fn not_here(message: impl Into<String>) -> Error {
    Error::unsupported(message).with_status(http::StatusCode::NOT_IMPLEMENTED)
}

fn config<'a>(raw: Option<&'a RawValue>, max_layers: usize) -> Result<ContainerConfig<'a>, Error> {
    let Some(members) = object::<ConfigMembers<'a>>("containerConfig", raw)? else {
        return Ok(ContainerConfig::default());
    };
    let layers: Vec<Option<&RawValue>> = list("containerConfig.layers", members.layers)?;
    if layers.len() > max_layers {
        let message = format!("`containerConfig.layers` has {} layers, more than {max_layers}", layers.len());
        return Err(invalid(message));
    }
    Ok(ContainerConfig {
        entrypoint: list("containerConfig.entrypoint", members.entrypoint)?,
        cmd: list("containerConfig.cmd", members.cmd)?,
        env: list("containerConfig.env", members.env)?,
        working_dir: text("containerConfig.workingDir", members.working_dir)?,
        layers: layers
            .into_iter()
            .enumerate()
            .map(|(index, raw)| layer(index, raw))
            .collect::<Result<_, _>>()?,
    })
}

fn layer<'a>(index: usize, raw: Option<&'a RawValue>) -> Result<ContainerLayer<'a>, Error> {
    let name = layer_field(index, "");
    let members: LayerMembers<'a> =
        object(&name, raw)?.ok_or_else(|| invalid(format!("`{name}` is no object")))?;
    Ok(ContainerLayer {
        location: text(&layer_field(index, ".location"), members.location)?,
        gzip_digest: text(&layer_field(index, ".gzipDigest"), members.gzip_digest)?,
        gzip_size: size(&layer_field(index, ".gzipSize"), members.gzip_size)?,
        tar_digest: text(&layer_field(index, ".tarDigest"), members.tar_digest)?,
    })
}

/// The name of a layer's field in messages.
pub(super) fn layer_field(index: usize, field: &str) -> String {
    format!("containerConfig.layers[{index}]{field}")
}
