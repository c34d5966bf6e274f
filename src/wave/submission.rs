//! What a container-token request asks for, validated.

use std::borrow::Cow;

use http::Uri;
use jiff::Timestamp;

use super::layers;
use super::limits::Limits;
use super::request::{ContainerRequest, invalid};
use super::settings::Settings;
use crate::error::Error;
use crate::layer::rewrite::InjectedLayer;
use crate::spec::name::{Host, ImageName, shortened};
use crate::spec::platform::Platform;

/// A request for an image with more in it.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) image: ImageName,
    pub(super) config: Config,
    pub(super) layers: Vec<InjectedLayer>,
    /// The platforms that are served; all when empty.
    pub(super) platforms: Vec<Platform>,
    pub(super) timestamp: Option<String>,
    pub(super) fingerprint: Option<String>,
    /// Whether it brought credentials of the platform, which aren't used.
    pub(super) has_platform_credentials: bool,
}

/// How the image is to be run. Empty values leave it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: Option<String>,
}

impl Submission {
    /// Reads and checks a request, its layers in full.
    pub(super) fn read(body: &[u8], settings: &Settings) -> Result<Self, Error> {
        let limits = &settings.limits;
        let request = ContainerRequest::parse(body, limits.max_layers)?;
        check_encoded(&request, limits)?;
        let name = image(&request)?;
        check_repository("buildRepository", request.build_repository.as_deref())?;
        check_repository("cacheRepository", request.cache_repository.as_deref())?;
        if request.freeze && request.build_repository.is_none() {
            return Err(invalid("`freeze` needs a `buildRepository` to put the image into"));
        }
        let platforms = match &request.container_platform {
            Some(list) => Platform::parse_list(list)
                .map_err(|error| invalid(format!("`containerPlatform`: {error}")))?,
            None => settings.platforms.clone(),
        };
        check_texts(&request, limits)?;
        let Some(image) = name else {
            return Err(not_yet("this service doesn't build images yet: it takes a `containerImage` only"));
        };
        if request.freeze {
            return Err(not_yet("this service doesn't freeze images yet: leave `freeze` out"));
        }
        if *image.registry() == settings.authority {
            let message = format!("`containerImage` names an image of this service itself: `{image}`");
            return Err(invalid(message));
        }
        let layers = request.config.layers.iter().enumerate();
        let layers = layers
            .map(|(index, layer)| layers::check(index, layer, limits, settings.http_layers))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            image,
            config: Config {
                entrypoint: request.config.entrypoint,
                cmd: request.config.cmd,
                env: request.config.env,
                working_dir: request.config.working_dir.map(Cow::into_owned),
            },
            layers,
            platforms,
            timestamp: request.timestamp.map(Cow::into_owned),
            fingerprint: request.fingerprint.map(Cow::into_owned),
            has_platform_credentials: request.tower_access_token.is_some(),
        })
    }
}

/// The image that is asked for; none when one is to be built.
fn image(request: &ContainerRequest<'_>) -> Result<Option<ImageName>, Error> {
    let files = [
        ("containerFile", &request.container_file),
        ("condaFile", &request.conda_file),
        ("spackFile", &request.spack_file),
    ];
    let file = files.into_iter().find(|(_, file)| file.is_some()).map(|(name, _)| name);
    match (&request.container_image, file) {
        (None, None) => Err(invalid("neither `containerImage` nor `containerFile` is given")),
        (Some(_), Some(file)) => {
            Err(invalid(format!("`containerImage` and `{file}` are both given: only one of them can be")))
        }
        (Some(image), None) => {
            let image = image.parse().map(|image: ImageName| Some(image.or_latest()));
            image.map_err(|error| invalid(format!("`containerImage`: {error}")))
        }
        (None, Some(_)) => Ok(None),
    }
}

/// The files that come in base64.
fn check_encoded(request: &ContainerRequest<'_>, limits: &Limits) -> Result<(), Error> {
    for (name, text, max) in [
        ("containerFile", &request.container_file, limits.max_container_file),
        ("condaFile", &request.conda_file, limits.max_conda_file),
        ("spackFile", &request.spack_file, limits.max_conda_file),
    ] {
        let Some(text) = text else { continue };
        let characters = text.chars().count();
        if characters > max {
            return Err(invalid(format!("`{name}` has {characters} characters, more than {max}")));
        }
        layers::base64(name, text)?;
    }
    Ok(())
}

/// A repository to push to: with a path, without a protocol, a tag and a digest.
fn check_repository(name: &str, text: Option<&str>) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    let refuse =
        |reason| Err(invalid(format!("`{name}`: invalid repository `{}`: {reason}", shortened(text))));
    if text.contains("://") {
        return refuse("it starts with a protocol");
    }
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    // `name:tag` has no slash either, but no port behind its colon.
    if path.is_empty() && Host::is_meant_by(host) && host.parse::<Host>().is_ok() {
        return refuse("it is a host without a path");
    }
    match text.parse::<ImageName>() {
        Ok(image) if image.tag().is_some() => refuse("it has a tag"),
        Ok(image) if image.digest().is_some() => refuse("it has a digest"),
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!("`{name}`: {error}"))),
    }
}

/// Texts that are kept, or that only have to make sense.
fn check_texts(request: &ContainerRequest<'_>, limits: &Limits) -> Result<(), Error> {
    let (timestamp, fingerprint) = (request.timestamp.as_deref(), request.fingerprint.as_deref());
    let endpoint = request.tower_endpoint.as_deref();
    for (name, text) in [("timestamp", timestamp), ("fingerprint", fingerprint), ("towerEndpoint", endpoint)]
    {
        let length = text.map_or(0, str::len);
        if length > limits.max_text {
            return Err(invalid(format!("`{name}` has {length} bytes, more than {}", limits.max_text)));
        }
    }
    if let Some(text) = timestamp
        && text.parse::<Timestamp>().is_err()
    {
        let text = shortened(text);
        return Err(invalid(format!("`timestamp` is no ISO-8601 time with an offset: `{text}`")));
    }
    if let Some(text) = endpoint {
        let uri = text.parse::<Uri>().ok();
        let is_http = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        if !is_http {
            return Err(invalid(format!("`towerEndpoint` is no http address: `{}`", shortened(text))));
        }
    }
    Ok(())
}

fn not_yet(message: &'static str) -> Error {
    Error::unsupported(message).with_status(http::StatusCode::NOT_IMPLEMENTED)
}
