//! What a container-token request asks for, validated.

use std::borrow::Cow;

use http::Uri;
use jiff::Timestamp;

use super::layers;
use super::limits::Limits;
#[cfg(feature = "platform")]
use super::platform::PlatformAccess;
use super::request::{ContainerRequest, Packages, invalid};
use super::settings::Settings;
use crate::error::Error;
use crate::layer::rewrite::InjectedLayer;
use crate::secret::Secret;
use crate::spec::name::{Host, ImageName, shortened};
use crate::spec::platform::Platform;

/// A request for an image with more in it.
#[derive(Debug)]
#[cfg_attr(not(feature = "build"), expect(dead_code, reason = "nothing is built without the feature"))]
pub(super) struct Submission {
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) layers: Vec<InjectedLayer>,
    /// The platforms that are served or built; all that there are when empty.
    pub(super) platforms: Vec<Platform>,
    /// Whether the result is put into `build_repository` for good.
    pub(super) freeze: bool,
    pub(super) build_repository: Option<ImageName>,
    pub(super) cache_repository: Option<ImageName>,
    pub(super) platform: Option<PlatformSession>,
    pub(super) timestamp: Option<String>,
    pub(super) fingerprint: Option<String>,
}

/// What an image is made of.
#[derive(Debug)]
#[cfg_attr(not(feature = "build"), expect(dead_code, reason = "nothing is built without the feature"))]
pub(super) enum Source {
    /// Another image.
    Image(ImageName),
    /// A recipe, which has to be built.
    Recipe(RecipeText),
}

/// The files of a recipe, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RecipeText {
    pub(super) container_file: Option<String>,
    pub(super) conda_file: Option<String>,
    pub(super) spack_file: Option<String>,
    pub(super) packages: Option<Packages>,
}

/// How the image is to be run. Empty values leave it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: Option<String>,
}

/// Whose credentials a platform is asked for.
#[derive(Debug)]
#[cfg_attr(not(feature = "platform"), expect(dead_code, reason = "platforms are a feature"))]
pub(super) struct PlatformSession {
    pub(super) endpoint: Option<String>,
    pub(super) access_token: Secret,
    pub(super) refresh_token: Option<Secret>,
    pub(super) workspace: Option<u64>,
}

#[cfg(feature = "platform")]
impl PlatformSession {
    pub(super) fn access(&self) -> PlatformAccess {
        let mut access = PlatformAccess::new(self.access_token.clone());
        if let Some(endpoint) = &self.endpoint {
            access = access.endpoint(endpoint);
        }
        if let Some(token) = &self.refresh_token {
            access = access.refresh_token(token.clone());
        }
        if let Some(workspace) = self.workspace {
            access = access.workspace(workspace);
        }
        access
    }
}

impl Submission {
    /// Reads and checks a request, its layers in full.
    pub(super) fn read(body: &[u8], settings: &Settings) -> Result<Self, Error> {
        let limits = &settings.limits;
        let request = ContainerRequest::parse(body, limits.max_layers)?;
        check_lengths(&request, limits)?;
        let source = source(&request)?;
        let build_repository = repository("buildRepository", request.build_repository.as_deref())?;
        let cache_repository = repository("cacheRepository", request.cache_repository.as_deref())?;
        if request.freeze && build_repository.is_none() {
            return Err(invalid("`freeze` needs a `buildRepository` to put the image into"));
        }
        let platforms = match &request.container_platform {
            Some(list) => Platform::parse_list(list)
                .map_err(|error| invalid(format!("`containerPlatform`: {error}")))?,
            None => settings.platforms.clone(),
        };
        check_texts(&request, limits)?;
        if let Source::Image(image) = &source
            && (*image.registry() == settings.authority && !settings.is_kept_here(image)
                || settings.is_somebodys(image))
        {
            let message = format!("`containerImage` names an image of this service itself: `{image}`");
            return Err(invalid(message));
        }
        let layers = request.config.layers.iter().enumerate();
        let layers = layers
            .map(|(index, layer)| layers::check(index, layer, limits, settings.http_layers))
            .collect::<Result<_, _>>()?;
        let platform = request.tower_access_token.map(|access_token| PlatformSession {
            endpoint: request.tower_endpoint.map(Cow::into_owned),
            access_token,
            refresh_token: request.tower_refresh_token,
            workspace: request.tower_workspace_id,
        });
        Ok(Self {
            source,
            config: Config {
                entrypoint: request.config.entrypoint,
                cmd: request.config.cmd,
                env: request.config.env,
                working_dir: request.config.working_dir.map(Cow::into_owned),
            },
            layers,
            platforms,
            freeze: request.freeze,
            build_repository,
            cache_repository,
            platform,
            timestamp: request.timestamp.map(Cow::into_owned),
            fingerprint: request.fingerprint.map(Cow::into_owned),
        })
    }
}

/// The image that is asked for, or what one is to be built of.
fn source(request: &ContainerRequest<'_>) -> Result<Source, Error> {
    let recipe = RecipeText {
        container_file: file("containerFile", request.container_file.as_deref())?,
        conda_file: file("condaFile", request.conda_file.as_deref())?,
        spack_file: file("spackFile", request.spack_file.as_deref())?,
        packages: request.packages.clone(),
    };
    let given = [
        ("containerFile", recipe.container_file.is_some()),
        ("condaFile", recipe.conda_file.is_some()),
        ("spackFile", recipe.spack_file.is_some()),
        ("packages", recipe.packages.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
    let both =
        |one, other| Err(invalid(format!("`{one}` and `{other}` are both given: only one of them can be")));
    match (&request.container_image, given.next()) {
        (None, None) => Err(invalid("neither `containerImage` nor `containerFile` is given")),
        (Some(_), Some(file)) => both("containerImage", file),
        (Some(image), None) => {
            let image = image.parse().map(|image: ImageName| Source::Image(image.or_latest()));
            image.map_err(|error| invalid(format!("`containerImage`: {error}")))
        }
        (None, Some(_)) if recipe.conda_file.is_some() && recipe.spack_file.is_some() => {
            both("condaFile", "spackFile")
        }
        // What `packages` says becomes a file of its own.
        (None, Some(file)) if recipe.packages.is_some() && file != "packages" => both(file, "packages"),
        (None, Some(_)) => Ok(Source::Recipe(recipe)),
    }
}

/// A file that comes in base64.
fn file(name: &str, encoded: Option<&str>) -> Result<Option<String>, Error> {
    encoded.map(|encoded| layers::base64_text(name, encoded)).transpose()
}

fn check_lengths(request: &ContainerRequest<'_>, limits: &Limits) -> Result<(), Error> {
    for (name, text, max) in [
        ("containerFile", &request.container_file, limits.max_container_file),
        ("condaFile", &request.conda_file, limits.max_conda_file),
        ("spackFile", &request.spack_file, limits.max_conda_file),
    ] {
        let characters = text.as_ref().map_or(0, |text| text.chars().count());
        if characters > max {
            return Err(invalid(format!("`{name}` has {characters} characters, more than {max}")));
        }
    }
    Ok(())
}

/// A repository to push to: with a path, without a protocol, a tag and a digest.
fn repository(name: &str, text: Option<&str>) -> Result<Option<ImageName>, Error> {
    let Some(text) = text else { return Ok(None) };
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
        Ok(image) => Ok(Some(image)),
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
