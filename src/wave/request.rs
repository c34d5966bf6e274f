//! The JSON of a container-token request, field by field.
//!
//! Each member is read by itself, so that an error names it. Unknown members are ignored, `null` and an empty text
//! count as absent.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorCode};
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
    pub(super) tower_endpoint: Option<Cow<'a, str>>,
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
            tower_endpoint: text("towerEndpoint", members.tower_endpoint)?,
        };
        secret("towerRefreshToken", members.tower_refresh_token)?;
        member::<u64>("towerWorkspaceId", members.tower_workspace_id)?;
        Ok(request)
    }
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

/// A size: documented as a text, sent as a number.
fn size(name: &str, raw: Option<&RawValue>) -> Result<Option<u64>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let written = raw.get();
    if written == r#""""# {
        return Ok(None);
    }
    let digits = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written);
    match digits.parse() {
        Ok(size) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(size)),
        _ => Err(invalid(format!("`{name}` is no size in bytes: {}", cut(written)))),
    }
}

fn text<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let text = member::<Text<'a>>(name, raw)?;
    Ok(text.map(|Text(text)| text).filter(|text| !text.is_empty()))
}

/// A member whose value isn't shown, whatever it is.
fn secret(name: &str, raw: Option<&RawValue>) -> Result<Option<Secret>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let secret: Secret =
        serde_json::from_str(raw.get()).map_err(|_| invalid(format!("`{name}` is no text")))?;
    Ok(Some(secret).filter(|secret| !secret.is_empty()))
}

/// A list of at most [`MAX_ENTRIES`] values: many short ones take more memory than their text.
fn list<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<Vec<T>, Error> {
    Ok(member::<List<T>>(name, raw)?.map(|List(values)| values).unwrap_or_default())
}

struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            if values.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format_args!("more than {MAX_ENTRIES} entries")));
            }
            values.push(value);
        }
        Ok(List(values))
    }
}

fn object<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<T>, Error> {
    if raw.is_some_and(|raw| !raw.get().starts_with('{')) {
        return Err(invalid(format!("`{name}` is no object")));
    }
    member(name, raw)
}

fn member<'a, T: Deserialize<'a>>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<T>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let value = serde_json::from_str(raw.get());
    value.map(Some).map_err(|error| invalid(format!("`{name}`: {}", told(&error))))
}

/// What serde says, without the place, which counts from the start of the member, and not all of a long value.
fn told(error: &serde_json::Error) -> String {
    let error = error.to_string();
    cut(error.rsplit_once(" at line ").map_or(error.as_str(), |(told, _)| told))
}

fn cut(text: &str) -> String {
    const MAX: usize = 160;
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    if text.chars().nth(MAX).is_some() {
        short.push('…');
    }
    short
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(ErrorCode::ManifestInvalid, message)
}

/// The most entries of one list of a request.
const MAX_ENTRIES: usize = 4096;
