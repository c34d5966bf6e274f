use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;

use super::freeze::{self, Freezing};
use crate::build::builds::{Builds, BuildsBuilder};
use crate::build::recipe::Templates;
use crate::build::{BoxBuilder, BuildRequest, Builder, RegistryAccess};
use crate::error::Error;
use crate::operation::{Anonymous, BoxRegistry, Credential, Credentials, Registry, UserAgent};
use crate::rt::Clock;
use crate::spec::name::{Host, ImageName};
use crate::store::Records;

/// How a service makes images: builds them of recipes, and freezes them.
///
/// Without an [engine](Self::engine) it only freezes: what an image with a configuration would be under a token is
/// written into a repository for good, and nothing is built for that.
///
/// ```
/// use tower_oci::hosted::Memory;
/// use tower_oci::wave::{Building, Wave};
///
/// // In place of this registry: the stack that images are read from and written to.
/// let images = Memory::new();
/// let building = Building::new(images).repository("registry.example/builds".parse()?);
/// let wave = Wave::builder("https://wave.example.com").building(building).build()?;
/// assert!(wave.builds().is_some());
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[must_use]
pub struct Building {
    images: BoxRegistry,
    engine: Option<BoxBuilder>,
    adjust: Vec<Adjust>,
    templates: Templates,
    repository: Option<ImageName>,
    cache: Option<ImageName>,
    credentials: Arc<dyn Credentials>,
    insecure: Vec<Host>,
    writes: Writes,
    wait: Duration,
    wait_briefly: Duration,
}

/// Whether somebody, known by the facts of the HTTP request, may have an image put somewhere.
type Writes = Arc<dyn Fn(&Extensions, &ImageName) -> bool + Send + Sync>;

type Adjust = Box<dyn FnOnce(BuildsBuilder) -> BuildsBuilder + Send + Sync>;

impl Building {
    /// How long a pull waits for its image unless [`wait`](Self::wait) says otherwise: 15 minutes.
    pub const WAIT: Duration = Duration::from_secs(15 * 60);

    /// How long a pull of a client waits that gives up after 30 seconds, as containerd does: 25 seconds.
    pub const BRIEF_WAIT: Duration = Duration::from_secs(25);

    /// Freezes what is read from `images` by writing to it: a stack with a
    /// [rewrite layer](crate::layer::rewrite) that is told by extension, whose registries take writes. It needs no
    /// [`Wave::images`](crate::wave::Wave::images).
    pub fn new(images: impl Registry) -> Self {
        Self {
            images: images.boxed_registry(),
            engine: None,
            adjust: Vec::new(),
            templates: Templates::default(),
            repository: None,
            cache: None,
            credentials: Arc::new(Anonymous::new()),
            insecure: Vec::new(),
            writes: Arc::new(|_, _| false),
            wait: Self::WAIT,
            wait_briefly: Self::BRIEF_WAIT,
        }
    }

    /// What builds images of recipes. Requests for such get a 501 without one.
    pub fn engine(mut self, engine: impl Builder) -> Self {
        self.engine = Some(engine.boxed_builder());
        self
    }

    /// Settings of the builds: how many at once, for how long, where states and logs are kept. States are with the
    /// tokens, in [`WaveBuilder::records`](crate::wave::WaveBuilder::records), unless they are told to be elsewhere.
    ///
    /// ```
    /// # use tower_oci::hosted::Memory;
    /// # use tower_oci::wave::Building;
    /// let building = Building::new(Memory::new()).builds(|builds| builds.max_running(4));
    /// # drop(building);
    /// ```
    pub fn builds(
        mut self,
        adjust: impl FnOnce(BuildsBuilder) -> BuildsBuilder + Send + Sync + 'static,
    ) -> Self {
        self.adjust.push(Box::new(adjust));
        self
    }

    /// The container files that are written for recipes.
    pub fn templates(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    /// Where builds go whose request names no `buildRepository`. Its registry may be one of this process, under the name
    /// that the engine reaches it by.
    pub fn repository(mut self, repository: ImageName) -> Self {
        self.repository = Some(repository);
        self
    }

    /// Where build steps are kept when the request names no `cacheRepository`.
    pub fn cache_repository(mut self, repository: ImageName) -> Self {
        self.cache = Some(repository);
        self
    }

    /// What the engine reads base images and writes results with, where a caller brings nothing of its own. None by
    /// default.
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Where a caller who brings no credentials may have images put, beside the service's own
    /// [repository](Self::repository): `may_write` is asked with the extensions of the HTTP request and the
    /// `buildRepository` or `cacheRepository` of its body. Nowhere by default, since it happens with what the service may
    /// do, not with what the caller may.
    ///
    /// Who comes with a platform's credentials writes with these, and so wherever they allow.
    pub fn writes(
        mut self,
        may_write: impl Fn(&Extensions, &ImageName) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.writes = Arc::new(may_write);
        self
    }

    /// A registry that the engine speaks to over plain http. Repeatable.
    pub fn insecure(mut self, registry: Host) -> Self {
        self.insecure.push(registry);
        self
    }

    /// How long a pull waits for its image to be built. [`Building::WAIT`] by default.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// The same for clients that give up early: those whose `User-Agent` names containerd.
    /// [`Building::BRIEF_WAIT`] by default.
    pub fn brief_wait(mut self, limit: Duration) -> Self {
        self.wait_briefly = limit;
        self
    }

    pub(in crate::wave) fn build(self, clock: &Clock, records: &Arc<dyn Records>) -> Result<Made, Error> {
        let access = Access { credentials: self.credentials, repository: self.repository.clone() };
        let (has_engine, own) = (self.engine.is_some(), access.clone());
        let freezing = Freezing::new(self.engine, self.images.clone());
        // A token of a build is of no use longer than what is known of the build.
        let builds = Builds::builder(freezing).records(Arc::clone(records)).clock(clock.clone());
        let builds = builds.access(move |request| {
            let (access, request) = (own.clone(), request.clone());
            async move {
                // A caller's own is all that there is for a caller's build.
                if request.access.is_empty() { access.of(&request, None).await } else { Ok(Vec::new()) }
            }
        });
        let builds = self.adjust.into_iter().fold(builds, |builds, adjust| adjust(builds));
        Ok(Made {
            images: self.images,
            builds: builds.build()?,
            has_engine,
            templates: self.templates,
            repository: self.repository,
            cache: self.cache,
            access,
            insecure: self.insecure,
            writes: self.writes,
            wait: self.wait,
            wait_briefly: self.wait_briefly,
        })
    }
}

impl fmt::Debug for Building {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Building")
            .field("engine", &self.engine.is_some())
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

/// What a [`Wave`](crate::wave::Wave) makes images with.
pub(in crate::wave) struct Made {
    pub(super) images: BoxRegistry,
    pub(in crate::wave) builds: Builds,
    pub(super) has_engine: bool,
    pub(super) templates: Templates,
    /// Where builds go by default.
    pub(in crate::wave) repository: Option<ImageName>,
    pub(super) cache: Option<ImageName>,
    pub(super) access: Access,
    pub(super) insecure: Vec<Host>,
    writes: Writes,
    wait: Duration,
    wait_briefly: Duration,
}

impl Made {
    /// How long a client's pull waits for a build.
    pub(in crate::wave) fn patience(&self, agent: Option<&UserAgent>) -> Duration {
        match agent {
            Some(agent) if agent.names("containerd") => self.wait_briefly.min(self.wait),
            _ => self.wait,
        }
    }

    /// Whether a caller without credentials of its own may have something put into a repository.
    pub(super) fn may_write(&self, facts: &Extensions, repository: &ImageName) -> bool {
        let is_somebodys = self.is_somebodys(repository);
        !is_somebodys && (self.is_own(repository) || (self.writes)(facts, repository))
    }

    /// Whether an image is what the service keeps apart for one of its callers: below its own repository.
    pub(in crate::wave) fn is_somebodys(&self, image: &ImageName) -> bool {
        let own = self.repository.as_ref().map(ImageName::repository);
        self.is_own(image) && own != Some(image.repository())
    }

    /// Whether an image is in the repository that is the service's own, or below it.
    pub(in crate::wave) fn is_own(&self, image: &ImageName) -> bool {
        self.access.is_own(image)
    }
}

/// What an engine may read and write with.
#[derive(Clone)]
pub(super) struct Access {
    credentials: Arc<dyn Credentials>,
    repository: Option<ImageName>,
}

impl Access {
    /// The credentials for all that `request` names: a caller's, where it brings its own, but for what is the service's.
    ///
    /// With a caller's, each has an entry, be it that there is no credential: nothing of the service's is used then.
    pub(super) async fn of(
        &self,
        request: &BuildRequest,
        caller: Option<&Arc<dyn Credentials>>,
    ) -> Result<Vec<RegistryAccess>, Error> {
        let (bases, frozen) = (request.context.base_images(), freeze::source(&request.context)?);
        let images = [&request.target].into_iter().chain(&request.cache).chain(&bases).chain(&frozen);
        let mut all: Vec<RegistryAccess> = Vec::new();
        for image in images {
            let (registry, repository) = (image.registry(), image.repository());
            let known = |access: &RegistryAccess| {
                access.registry == *registry && access.repository.as_ref() == Some(repository)
            };
            if all.iter().any(known) {
                continue;
            }
            let caller = caller.filter(|_| !self.is_own(image));
            let from = caller.unwrap_or(&self.credentials);
            let credential = from.credential(registry, Some(repository)).await?;
            if caller.is_some() || credential != Credential::Anonymous {
                all.push(RegistryAccess::new(registry.clone(), Some(repository.clone()), credential));
            }
        }
        Ok(all)
    }

    fn is_own(&self, image: &ImageName) -> bool {
        self.repository.as_ref().is_some_and(|own| {
            own.registry() == image.registry() && image.repository().is_under(own.repository().as_str())
        })
    }
}
