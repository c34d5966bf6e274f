use std::collections::BTreeMap;
use std::fmt;

use super::injected::InjectedLayer;
use crate::error::{Error, ErrorCode};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::shortened;
use crate::spec::platform::Platform;

/// What is to be changed about an image: what a container configuration says, validated.
///
/// A plan is a value: two plans that mean the same have the same [`digest`](Self::digest), in every process. What it
/// doesn't name stays as the image has it.
///
/// ```
/// use tower_oci::layer::rewrite::Plan;
///
/// let plan = Plan::builder().env("GREETING=hello").entrypoint(["/opt/start"]).build()?;
/// assert_eq!(plan.entrypoint(), ["/opt/start"]);
/// assert_eq!(
///     Plan::builder().env("=hello").build().unwrap_err().to_string(),
///     "the environment entry `=hello` is not of the form `NAME=value`"
/// );
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    parts: Parts,
    digest: Digest,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    layers: Vec<InjectedLayer>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    platforms: Vec<Platform>,
    entry_chain: Option<String>,
    base_annotations: bool,
    base_name: Option<String>,
}

impl Plan {
    /// The most layers of one plan. Runtimes stack about 127 in all.
    pub const MAX_LAYERS: usize = 64;

    /// The most bytes of all texts of one plan together, so that a derived config stays far below
    /// [`MAX_DOCUMENT`](crate::spec::json::MAX_DOCUMENT).
    pub const MAX_TEXT: usize = 1024 * 1024;

    /// A plan that changes nothing yet.
    pub fn builder() -> PlanBuilder {
        PlanBuilder::default()
    }

    /// The name of the plan: a hash of all that it says, in a fixed order. Layers count by kind, digest, diff_id,
    /// size and platforms, not by where their bytes come from.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether it changes nothing, so that every image keeps its bytes. The entry chain and the base annotations add
    /// to what else a plan changes, and change nothing by themselves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.platforms().is_empty() && !self.changes_images()
    }

    /// Whether it changes images, and not only which of them are served.
    pub(super) fn changes_images(&self) -> bool {
        !self.layers().is_empty() || !self.annotations().is_empty() || self.changes_execution()
    }

    /// Whether it changes how an image is run.
    pub(super) fn changes_execution(&self) -> bool {
        let parts = &self.parts;
        !(parts.entrypoint.is_empty()
            && parts.cmd.is_empty()
            && parts.env.is_empty()
            && parts.labels.is_empty()
            && parts.working_dir.is_none()
            && parts.user.is_none())
    }

    /// The layers that are put on top of images, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[InjectedLayer] {
        &self.parts.layers
    }

    /// The layers that are put on top of an image for `platform`.
    pub fn layers_for<'a>(&'a self, platform: &'a Platform) -> impl Iterator<Item = &'a InjectedLayer> {
        self.parts.layers.iter().filter(|layer| layer.is_for(platform))
    }

    /// The layer whose content has the digest `digest`.
    #[must_use]
    pub fn layer(&self, digest: &Digest) -> Option<&InjectedLayer> {
        self.parts.layers.iter().find(|layer| layer.digest() == digest)
    }

    /// The entry point that replaces the image's; none when empty.
    #[must_use]
    pub fn entrypoint(&self) -> &[String] {
        &self.parts.entrypoint
    }

    /// The command that replaces the image's; none when empty.
    #[must_use]
    pub fn cmd(&self) -> &[String] {
        &self.parts.cmd
    }

    /// The environment entries `NAME=value`.
    #[must_use]
    pub fn env(&self) -> &[String] {
        &self.parts.env
    }

    /// The working directory that replaces the image's.
    #[must_use]
    pub fn working_dir(&self) -> Option<&str> {
        self.parts.working_dir.as_deref()
    }

    /// The user that replaces the image's.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.parts.user.as_deref()
    }

    /// The labels that are set in the config.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.parts.labels
    }

    /// The annotations that are set on manifests.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.parts.annotations
    }

    /// The platforms that are served; all when empty.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.parts.platforms
    }

    /// Whether an image for `platform` is among those that are served.
    #[must_use]
    pub fn wants(&self, platform: &Platform) -> bool {
        self.parts.platforms.is_empty() || self.parts.platforms.iter().any(|wanted| wanted.accepts(platform))
    }

    /// The variable that tells an injected entry point the image's own one.
    #[must_use]
    pub fn entry_chain(&self) -> Option<&str> {
        self.parts.entry_chain.as_deref()
    }

    /// Whether derived OCI manifests say what they are derived from.
    #[must_use]
    pub fn base_annotations(&self) -> bool {
        self.parts.base_annotations
    }

    /// The name of the image that others are derived from, for the base annotations.
    #[must_use]
    pub fn base_name(&self) -> Option<&str> {
        self.parts.base_name.as_deref()
    }
}

impl fmt::Debug for Plan {
    /// Names the plan and counts its parts; environment values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("digest", &self.digest)
            .field("layers", &self.parts.layers.len())
            .field("env", &self.parts.env.len())
            .field("platforms", &self.parts.platforms)
            .finish_non_exhaustive()
    }
}

impl Default for Plan {
    fn default() -> Self {
        let parts = Parts::default();
        let digest = parts.digest();
        Self { parts, digest }
    }
}

/// Collects what a [`Plan`] says; [`build`](Self::build) checks it.
///
/// Empty values mean "leave it as it is", as they do in container-token requests.
#[derive(Clone, Default)]
#[must_use]
pub struct PlanBuilder {
    parts: Parts,
}

impl PlanBuilder {
    /// Puts `layer` on top, above those given before.
    pub fn layer(mut self, layer: InjectedLayer) -> Self {
        self.parts.layers.push(layer);
        self
    }

    /// Puts `layers` on top, the lowest first.
    pub fn layers(mut self, layers: impl IntoIterator<Item = InjectedLayer>) -> Self {
        self.parts.layers.extend(layers);
        self
    }

    /// Replaces the entry point, unless `entrypoint` is empty.
    pub fn entrypoint<T: Into<String>>(mut self, entrypoint: impl IntoIterator<Item = T>) -> Self {
        self.parts.entrypoint = entrypoint.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the command, unless `cmd` is empty.
    pub fn cmd<T: Into<String>>(mut self, cmd: impl IntoIterator<Item = T>) -> Self {
        self.parts.cmd = cmd.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an environment variable by an entry `NAME=value`: in its place when the image has it, else at the end.
    pub fn env(mut self, entry: impl Into<String>) -> Self {
        self.parts.env.push(entry.into());
        self
    }

    /// Sets environment variables by entries `NAME=value`.
    pub fn envs<T: Into<String>>(mut self, entries: impl IntoIterator<Item = T>) -> Self {
        self.parts.env.extend(entries.into_iter().map(Into::into));
        self
    }

    /// Replaces the working directory, unless `directory` is empty.
    pub fn working_dir(mut self, directory: impl Into<String>) -> Self {
        self.parts.working_dir = Some(directory.into()).filter(|directory| !directory.is_empty());
        self
    }

    /// Replaces the user, unless `user` is empty.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.parts.user = Some(user.into()).filter(|user| !user.is_empty());
        self
    }

    /// Sets a label of the config.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.labels.insert(key.into(), value.into());
        self
    }

    /// Sets an annotation of every derived OCI manifest. Docker's manifests have none.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.annotations.insert(key.into(), value.into());
        self
    }

    /// Serves these platforms only; all when there are none.
    pub fn platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.parts.platforms = platforms.into_iter().collect();
        self
    }

    /// In a changed image that has an entry point, sets the variable `name` to that entry point: the element itself
    /// when it has one, else a compact JSON array. So it is, too, when the plan leaves the entry point as it is;
    /// an entry of [`env`](Self::env) with that name goes before. Wave's name is `WAVE_ENTRY_CHAIN`.
    pub fn entry_chain(mut self, name: impl Into<String>) -> Self {
        self.parts.entry_chain = Some(name.into());
        self
    }

    /// Whether derived OCI manifests have the annotation `org.opencontainers.image.base.digest` with the digest of
    /// the manifest that they are derived from.
    pub fn base_annotations(mut self, on: bool) -> Self {
        self.parts.base_annotations = on;
        self
    }

    /// Turns the base annotations on, and adds `org.opencontainers.image.base.name`: `docker.io/library/busybox:1`.
    pub fn base_name(mut self, name: impl Into<String>) -> Self {
        self.parts.base_annotations = true;
        self.parts.base_name = Some(name.into());
        self
    }

    /// The plan.
    ///
    /// # Errors
    ///
    /// `MANIFEST_INVALID`, naming the value, when an environment entry isn't of the form `NAME=value`, the first
    /// element of an entry point or command is empty, a key is empty, a text has a NUL, or there are more than
    /// [`Plan::MAX_LAYERS`] layers or [`Plan::MAX_TEXT`] bytes of text.
    pub fn build(mut self) -> Result<Plan, Error> {
        let parts = &mut self.parts;
        parts.platforms.sort();
        parts.platforms.dedup();
        parts.check()?;
        let digest = parts.digest();
        Ok(Plan { parts: self.parts, digest })
    }
}

impl fmt::Debug for PlanBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanBuilder").field("layers", &self.parts.layers.len()).finish_non_exhaustive()
    }
}

impl Parts {
    fn check(&self) -> Result<(), Error> {
        if self.layers.len() > Plan::MAX_LAYERS {
            return Err(invalid(format!("{} layers are more than {}", self.layers.len(), Plan::MAX_LAYERS)));
        }
        for entry in &self.env {
            let has_name = entry.split_once('=').is_some_and(|(name, _)| !name.is_empty());
            if !has_name {
                let entry = shortened(entry);
                return Err(invalid(format!(
                    "the environment entry `{entry}` is not of the form `NAME=value`"
                )));
            }
        }
        for (what, words) in [("entry point", &self.entrypoint), ("command", &self.cmd)] {
            if words.first().is_some_and(String::is_empty) {
                return Err(invalid(format!("the first word of the {what} is empty")));
            }
        }
        for (what, pairs) in [("a label", &self.labels), ("an annotation", &self.annotations)] {
            if pairs.contains_key("") {
                return Err(invalid(format!("the name of {what} is empty")));
            }
        }
        if let Some(name) = &self.entry_chain
            && (name.is_empty() || name.contains('='))
        {
            let name = shortened(name);
            return Err(invalid(format!("`{name}` is no name of a variable for the entry chain")));
        }
        self.check_texts()
    }

    fn check_texts(&self) -> Result<(), Error> {
        let words = [&self.entrypoint, &self.cmd, &self.env].into_iter().flatten();
        let pairs = self.labels.iter().chain(&self.annotations).flat_map(|(key, value)| [key, value]);
        let single =
            [&self.working_dir, &self.user, &self.entry_chain, &self.base_name].into_iter().flatten();
        let mut length = 0_usize;
        for text in words.chain(pairs).chain(single) {
            if text.contains('\0') {
                return Err(invalid(format!("`{}` contains a NUL", shortened(text))));
            }
            length = length.saturating_add(text.len());
        }
        if length > Plan::MAX_TEXT {
            let max = Plan::MAX_TEXT;
            return Err(invalid(format!("the configuration has {length} bytes of text, more than {max}")));
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        let mut hasher = Canonical(Hasher::new(Algorithm::Sha256));
        // A later version of the rules makes other documents of the same plan, and so needs another number.
        hasher.text("tower-oci plan 1");
        hasher.count(self.layers.len());
        for layer in &self.layers {
            hasher.text(layer.kind().as_str());
            hasher.text(&layer.digest().to_string());
            hasher.text(&layer.diff_id().to_string());
            hasher.0.update(&layer.size().to_be_bytes());
            hasher.texts(layer.platforms().iter().map(ToString::to_string).collect::<Vec<_>>().iter());
        }
        hasher.texts(self.entrypoint.iter());
        hasher.texts(self.cmd.iter());
        hasher.texts(self.env.iter());
        hasher.texts(self.working_dir.iter());
        hasher.texts(self.user.iter());
        for pairs in [&self.labels, &self.annotations] {
            hasher.texts(pairs.keys());
            hasher.texts(pairs.values());
        }
        hasher.texts(self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().iter());
        hasher.texts(self.entry_chain.iter());
        hasher.count(usize::from(self.base_annotations));
        hasher.texts(self.base_name.iter());
        hasher.0.finish()
    }
}

/// Hashes lists of texts so that no two different ones are alike: each count and each length goes before.
struct Canonical(Hasher);

impl Canonical {
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a String>) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }
}

fn invalid(message: String) -> Error {
    Error::invalid(ErrorCode::ManifestInvalid, message)
}
