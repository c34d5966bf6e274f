use std::fmt;

use http::Extensions;

use crate::error::Error;
use crate::operation::{
    BoxRegistry, Call, Credential, GetManifest, Manifest, Origin, Registry, Request, UpstreamId,
};
use crate::spec::digest::Digest;
use crate::spec::name::{Host, Reference, Repository};

/// One end of a [`Transfer`](super::Transfer): a repository of a registry, and the facts that every request to it
/// carries.
///
/// The facts say what a client's request would say: which upstream is meant, on whose behalf, and what is to be made of
/// the image. A source with a [`Rewrite`](crate::layer::rewrite::Rewrite) above a
/// [`RewriteLayer`](crate::layer::rewrite::RewriteLayer) reads as the derived image.
///
/// ```
/// use tower_oci::hosted::Memory;
/// use tower_oci::operation::Credential;
/// use tower_oci::transfer::Place;
///
/// let place = Place::new(Memory::new(), "library/busybox".parse()?)
///     .origin("docker.io".parse()?)
///     .credential(Credential::basic("user", "password"));
/// assert_eq!(place.to_string(), "docker.io/library/busybox");
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Place {
    registry: BoxRegistry,
    repository: Repository,
    facts: Extensions,
}

impl Place {
    /// The repository `repository` of `registry`, by the name that it has there.
    pub fn new(registry: impl Registry, repository: Repository) -> Self {
        Self { registry: BoxRegistry::new(registry), repository, facts: Extensions::new() }
    }

    /// The registry is the one at `host`: the fact [`Origin`], for a stack with a router.
    pub fn origin(self, host: Host) -> Self {
        self.with(Origin::new(host))
    }

    /// Asked with this credential, whatever the upstream's own settings say.
    pub fn credential(self, credential: Credential) -> Self {
        self.with(credential)
    }

    /// With one more fact; one of the same type is replaced.
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, fact: T) -> Self {
        self.facts.insert(fact);
        self
    }

    /// The repository, by the name that it has in its registry.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn request<O>(&self, operation: O) -> Request<O> {
        Request::from_parts(operation, self.facts.clone())
    }

    pub(super) async fn send<O: Call>(&self, operation: O) -> Result<O::Reply, Error> {
        self.send_request(self.request(operation)).await
    }

    pub(super) async fn send_request<O: Call>(&self, request: Request<O>) -> Result<O::Reply, Error> {
        Ok(self.registry.send(request).await?.into_reply())
    }

    /// What a `HEAD` tells of a manifest.
    pub(super) async fn head(&self, reference: &Reference) -> Result<Manifest, Error> {
        let head = GetManifest::head(self.repository.clone(), reference.clone());
        checked(reference, self.send(head).await?.full()?)
    }

    /// A manifest with the digest that it says to have, and that it was asked for by.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        let get = GetManifest::new(self.repository.clone(), reference.clone());
        let manifest = checked(reference, self.send(get).await?.full()?)?;
        if !manifest.digest.matches(manifest.content()?) {
            let digest = manifest.digest;
            return Err(Error::corrupt(format!("the content of the manifest {digest} is something else")));
        }
        Ok(manifest)
    }

    /// Says that it is the source that something could not be read from.
    pub(super) fn reading<'a>(&'a self, what: What<'a>) -> impl Fn(Error) -> Error + 'a {
        move |error| error.context(format_args!("reading {what} from the source `{self}`"))
    }

    /// Says that it is the destination that something could not be written to.
    pub(super) fn writing<'a>(&'a self, what: What<'a>) -> impl Fn(Error) -> Error + 'a {
        move |error| error.context(format_args!("writing {what} to the destination `{self}`"))
    }
}

/// The registry that the facts name, if they do, and the repository.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.facts.get::<Origin>().map(|origin| &origin.0);
        match origin.or_else(|| self.facts.get::<UpstreamId>().map(UpstreamId::host)) {
            Some(host) => write!(f, "{host}/{}", self.repository),
            None => self.repository.fmt(f),
        }
    }
}

/// Without the facts: there may be secrets among them.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// What was read or written, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Image(&'a Reference),
    Manifest(Digest),
    Blob(Digest),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference) => write!(f, "the image `{reference}`"),
            Self::Manifest(digest) => write!(f, "the manifest {digest}"),
            Self::Blob(digest) => write!(f, "the blob {digest}"),
        }
    }
}

fn checked(reference: &Reference, manifest: Manifest) -> Result<Manifest, Error> {
    match reference.digest() {
        Some(digest) if *digest != manifest.digest => {
            Err(Error::corrupt(format!("the manifest {digest} was answered with {}", manifest.digest)))
        }
        _ => Ok(manifest),
    }
}
