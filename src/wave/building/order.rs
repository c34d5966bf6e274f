//! From a submission to a build.

use std::sync::Arc;

use http::Extensions;

use super::freeze::{self, Subject};
use super::settings::Made;
use crate::build::builds::Submitted;
use crate::build::recipe::{CondaPackages, Recipe};
use crate::build::{BuildContext, BuildRequest};
use crate::error::Error;
use crate::layer::rewrite::Plan;
use crate::operation::Credentials;
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::{ImageName, Repository, Tag};
use crate::spec::platform::Platform;
use crate::wave::request::{Packages, invalid, not_here};
use crate::wave::submission::{RecipeText, Source, Submission};

/// What is asked for, and by whom.
pub(in crate::wave) struct Order<'a> {
    pub(in crate::wave) submission: &'a Submission,
    pub(in crate::wave) plan: &'a Plan,
    /// The digest of the image that is frozen.
    pub(in crate::wave) source: Option<Digest>,
    /// A caller's own credentials, and a name for the caller.
    pub(in crate::wave) caller: Option<(Arc<dyn Credentials>, Digest)>,
    /// The facts of the HTTP request.
    pub(in crate::wave) facts: Extensions,
}

/// A build that goes on, or is done.
pub(in crate::wave) struct Ordered {
    pub(in crate::wave) submitted: Submitted,
    /// Where the image is when it is done.
    pub(in crate::wave) image: ImageName,
}

impl Order<'_> {
    /// Asks for the build.
    pub(in crate::wave) async fn submit(self, made: &Made) -> Result<Ordered, Error> {
        self.check_writes(made)?;
        let mut request = self.request(made)?;
        let caller = self.caller.as_ref().map(|(credentials, _)| credentials);
        if caller.is_some() {
            request.access = made.access.of(&request, caller).await?;
        }
        let image = request.target.clone();
        let credential = freeze::credential(&request.access, image.registry(), image.repository());
        let (images, wanted, facts) = (made.images.clone(), image.clone(), self.facts);
        let exists = move || async move { freeze::exists(&images, &wanted, credential, facts).await };
        let submitted = made.builds.submit(request, exists).await?;
        Ok(Ordered { submitted, image })
    }

    /// What is written is written with what the service may, unless the caller brings something.
    fn check_writes(&self, made: &Made) -> Result<(), Error> {
        let asked = [
            ("buildRepository", &self.submission.build_repository),
            ("cacheRepository", &self.submission.cache_repository),
        ];
        for (name, repository) in asked {
            if let Some(repository) = repository
                && self.caller.is_none()
                && !made.may_write(&self.facts, repository)
            {
                let message = format!("`{name}`: this service doesn't write to `{repository}` for you");
                return Err(Error::denied(message));
            }
        }
        Ok(())
    }

    fn request(&self, made: &Made) -> Result<BuildRequest, Error> {
        let submission = self.submission;
        let repository = self.repository(made)?;
        let (context, tag) = match (&submission.source, self.source) {
            (Source::Image(image), Some(digest)) => {
                let subject = Subject::Image(image, digest);
                let context = freeze::context(BuildContext::new(String::new()), &subject, self.plan)?;
                let tag = tag(&context, &[], &repository)?;
                (context, tag)
            }
            (Source::Image(_), None) => {
                return Err(Error::internal("nobody looked for the image to be frozen"));
            }
            (Source::Recipe(_), _) if !made.has_engine => {
                return Err(not_here(
                    "this service has no engine to build images with (buildah, docker, or BuildKit): it takes a \
                     `containerImage` only",
                ));
            }
            (Source::Recipe(text), _) => {
                let context = recipe(text).context(&made.templates)?;
                let built = tag(&context, &submission.platforms, &repository)?;
                if submission.freeze && !self.plan.is_empty() {
                    let context = freeze::context(context, &Subject::Built(&built), self.plan)?;
                    let tag = tag(&context, &submission.platforms, &repository)?;
                    (context, tag)
                } else {
                    (context, built)
                }
            }
        };
        let (registry, path) = (repository.registry().clone(), repository.repository().clone());
        let mut request = BuildRequest::new(context, ImageName::new(registry, path, Some(tag), None));
        request.platforms.clone_from(&submission.platforms);
        request.cache = submission.cache_repository.clone().or_else(|| made.cache.clone());
        request.insecure.clone_from(&made.insecure);
        Ok(request)
    }

    /// The repository that the image goes to. What callers have built with credentials of their own is kept apart in the
    /// service's repository: one's private base image is nothing that another gets by sending the same recipe.
    fn repository(&self, made: &Made) -> Result<ImageName, Error> {
        if let Some(repository) = &self.submission.build_repository {
            return Ok(repository.clone());
        }
        let own = made.repository.as_ref().ok_or_else(|| {
            invalid("`buildRepository` is missing, and this service has no repository of its own for builds")
        })?;
        let Some((_, name)) = &self.caller else { return Ok(own.clone()) };
        let name: String = name.hex().chars().take(OWNER_DIGITS).collect();
        let path: Repository = format!("{}/{name}", own.repository()).parse()?;
        Ok(ImageName::new(own.registry().clone(), path, None, None))
    }
}

fn recipe(text: &RecipeText) -> Recipe {
    let mut recipe = match (&text.container_file, &text.packages) {
        (Some(file), _) => Recipe::container_file(file),
        (None, Some(packages)) => Recipe::packages(conda(packages)),
        (None, None) => Recipe::default(),
    };
    if let Some(file) = &text.conda_file {
        recipe = recipe.with_conda_file(file);
    }
    if let Some(file) = &text.spack_file {
        recipe = recipe.with_spack_file(file);
    }
    recipe
}

fn conda(packages: &Packages) -> CondaPackages {
    let mut conda = match &packages.environment {
        Some(environment) => CondaPackages::file(with_channels(environment, &packages.channels)),
        None => CondaPackages::new(&packages.entries, &packages.channels),
    };
    let options = packages.options.clone();
    conda.micromamba_image = options.mamba_image;
    conda.base_image = options.base_image;
    conda.base_packages = options.base_packages;
    conda.commands = options.commands;
    conda
}

/// An environment file that names no channels gets those that the request names: it is YAML, of which JSON is a part.
fn with_channels(environment: &str, channels: &[String]) -> String {
    let names_its_own = environment.lines().any(|line| line.starts_with("channels"));
    match serde_json::to_string(channels) {
        Ok(list) if !channels.is_empty() && !names_its_own => {
            format!("{}\nchannels: {list}\n", environment.trim_end())
        }
        _ => environment.to_owned(),
    }
}

/// A digest of what the image is made of, for whom and where: equal requests mean one image.
fn tag(context: &BuildContext, platforms: &[Platform], repository: &ImageName) -> Result<Tag, Error> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    };
    add(&context.digest().to_string());
    add(&repository.to_string());
    for platform in platforms {
        add(&platform.to_string());
    }
    Ok(hasher.finish().hex().get(..TAG_DIGITS).unwrap_or_default().parse()?)
}

/// 128 bits: nobody finds two recipes with one tag.
const TAG_DIGITS: usize = 32;

/// 80 bits of a caller's name.
const OWNER_DIGITS: usize = 20;
