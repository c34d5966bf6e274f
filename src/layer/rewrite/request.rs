use std::sync::Arc;

use super::plan::Plan;
use crate::spec::digest::Digest;
use crate::spec::name::Tag;

/// In a request: what is to be made of the image that it is about. Cheap to clone.
///
/// There are three kinds:
///
/// - [`new`](Self::new): a tag means the derived image. A digest means what it always means: a derived document if it
///   is one's digest, else the source's own, unchanged, since a client that names content by its digest takes nothing
///   else.
/// - [`pinned`](Self::pinned): the repository consists of one derived image. Its tag, its documents and what they
///   refer to are served, and nothing else.
/// - [`resolving`](Self::resolving): for code of ours that wants to know the derived digest of an image. A digest
///   names the source, as a tag does, and is answered with the *derived* manifest. Nothing is noted for later requests
///   by derived digest: those come under a pin.
///
/// ```
/// use tower_oci::layer::rewrite::{Pin, Plan, Rewrite};
/// use tower_oci::spec::digest::Digest;
///
/// let plan = Plan::builder().env("A=1").build()?;
/// let rewrite = Rewrite::new(plan).pinned(Pin::new(Some("latest".parse()?), Digest::sha256(b"manifest")));
/// assert!(rewrite.pin().is_some());
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rewrite {
    plan: Arc<Plan>,
    pin: Option<Pin>,
    resolving: bool,
}

impl Rewrite {
    /// Makes of every image what `plan` says.
    #[must_use]
    pub fn new(plan: impl Into<Arc<Plan>>) -> Self {
        Self { plan: plan.into(), pin: None, resolving: false }
    }

    /// The same for one image alone.
    #[must_use]
    pub fn pinned(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The same, and a manifest asked for by digest is the source. The answer's digest is then another than the one
    /// that was asked for: not for requests of clients.
    #[must_use]
    pub fn resolving(mut self) -> Self {
        self.resolving = true;
        self
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The image that the repository consists of, if it is one alone.
    #[must_use]
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// Whether a digest names the source.
    #[must_use]
    pub fn is_resolving(&self) -> bool {
        self.resolving
    }
}

/// The one image that a repository consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// The tag that it has; none when it was named by digest.
    pub tag: Option<Tag>,
    /// The digest of the source's manifest or index.
    pub source: Digest,
}

impl Pin {
    /// The image made of `source`, under this tag.
    #[must_use]
    pub fn new(tag: Option<Tag>, source: Digest) -> Self {
        Self { tag, source }
    }
}

/// In a response with a manifest: the rewrite layer answered it, and this is the manifest or index of the source that
/// it was derived from. When the plan changes nothing about it, that is the manifest's own digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DerivedFrom {
    /// The digest of the source's document.
    pub source: Digest,
}

impl DerivedFrom {
    /// Derived from `source`.
    #[must_use]
    pub fn new(source: Digest) -> Self {
        Self { source }
    }
}
