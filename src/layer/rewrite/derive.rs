use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;

use super::apply::{self, Choice, Outcome};
use super::plan::Plan;
use super::tree::{Held, Part, Parts, Tree};
use super::upstream::Upstream;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::image::{Config, Descriptor, ImageManifest, Index, Manifest};
use crate::spec::json::Document;
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// The most manifests of one index, nested ones counted in, that are read and rewritten.
pub(super) const MAX_MANIFESTS: usize = 64;

/// How deep indexes may be nested: an index in an index in an index.
const MAX_DEPTH: usize = 2;

/// How many requests of one derivation are upstream at once.
const CONCURRENCY: usize = 4;

/// Reads a source and makes of it what a plan says.
pub(super) struct Derivation<'a> {
    upstream: &'a Upstream,
    plan: &'a Plan,
    permits: Semaphore,
    manifests: AtomicUsize,
}

/// What became of one manifest and all below it.
struct Node {
    digest: Digest,
    outcome: Outcome,
    parts: Parts,
    /// The platforms of the images in the source, wanted or not.
    available: Vec<Platform>,
}

impl<'a> Derivation<'a> {
    pub(super) fn new(upstream: &'a Upstream, plan: &'a Plan) -> Self {
        Self { upstream, plan, permits: Semaphore::new(CONCURRENCY), manifests: AtomicUsize::new(0) }
    }

    /// The tree of what the plan makes of `source`, a manifest or an index.
    pub(super) async fn tree(&self, source: Digest) -> Result<Tree, Error> {
        let node = self.node(source, 0, false).await?;
        if node.outcome == Outcome::Drop {
            apply::missing_platform(self.plan, &node.available)?;
        }
        Ok(Tree::new(source, node.digest, node.parts))
    }

    /// What becomes of a manifest, which may have been chosen by the platform that an index names.
    async fn node(&self, source: Digest, depth: usize, is_chosen: bool) -> Result<Node, Error> {
        let held = self.manifest(source).await?;
        match parse(&held)? {
            Manifest::Image(image) if image.is_image() => self.image(image, held, is_chosen).await,
            Manifest::Index(index) => Box::pin(self.index(index, held, depth)).await,
            other => Ok(unchanged(held, other.references().into_iter())),
        }
    }

    async fn manifest(&self, digest: Digest) -> Result<Held, Error> {
        let _permit = self.permits.acquire().await;
        self.upstream.manifest(digest).await
    }

    async fn image(&self, image: ImageManifest, held: Held, is_chosen: bool) -> Result<Node, Error> {
        let config = image.config();
        let is_wanted = is_chosen || self.plan.platforms().is_empty();
        if is_wanted && !self.plan.changes_images() {
            return Ok(unchanged(held, image.layers().iter().chain([config])));
        }
        let content = match config.data() {
            Some(content) => content,
            None => {
                let _permit = self.permits.acquire().await;
                self.upstream.config(config).await?
            }
        };
        let parsed = Config::parse(content).map_err(|error| invalid("config", config.digest(), error))?;
        let platform = parsed.platform().clone();
        let is_named = !platform.os().is_empty() || !platform.architecture().is_empty();
        let available = if is_named { vec![platform.clone()] } else { Vec::new() };
        if is_named && !is_chosen && !self.plan.wants(&platform) {
            let digest = held.source;
            return Ok(Node { digest, outcome: Outcome::Drop, parts: Parts::default(), available });
        }
        let references = image.layers().iter();
        let Some(derived) = apply::image(&image, &held.source, &parsed, self.plan)? else {
            return Ok(Node { available, ..unchanged(held, references.chain([config])) });
        };
        let mut blobs = source_blobs(references);
        blobs.extend(self.plan.layers_for(&platform).map(|layer| (*layer.digest(), Part::Injected)));
        blobs.push(match derived.config {
            Some((document, digest)) => {
                (digest, Part::Config(config.media_type().clone(), document.bytes().clone()))
            }
            None => (*config.digest(), Part::Source),
        });
        let parts = Parts { blobs, ..Parts::default() };
        let media_type = image.media_type().clone();
        Ok(derived_node(derived.manifest, derived.manifest_digest, media_type, held.source, parts, available))
    }

    async fn index(&self, index: Index, held: Held, depth: usize) -> Result<Node, Error> {
        let choices = apply::select(&index, self.plan)?;
        let mut available: Vec<Platform> = choices.iter().filter_map(named_platform).cloned().collect();
        let is_open = |choice: &Choice| matches!(choice, Choice::Image(None) | Choice::Index);
        // When all entries say their platform, nothing need be read to know that one is missing.
        if depth == 0 && !available.is_empty() && !choices.iter().any(is_open) {
            apply::missing_platform(self.plan, &available)?;
        }
        self.count(&choices, depth)?;
        let children = choices.iter().zip(index.manifests()).map(|(choice, entry)| async move {
            match choice {
                Choice::Image(_) | Choice::Index => {
                    let is_chosen = matches!(choice, Choice::Image(Some(_)));
                    let child = self.node(*entry.digest(), depth + 1, is_chosen).await;
                    child.map(Some).map_err(|error| error.context(format_args!("in {}", entry.digest())))
                }
                _ => Ok(None),
            }
        });
        let children = try_join_all(children).await?;
        let mut parts = Parts::default();
        let mut outcomes = Vec::with_capacity(choices.len());
        for (child, choice) in children.into_iter().zip(&choices) {
            outcomes.push(match (child, choice) {
                (Some(child), choice) => {
                    parts.append(child.parts);
                    // Of an image whose platform the index names, the config's has been asked for already.
                    if !matches!(choice, Choice::Image(Some(_))) {
                        available.extend(child.available);
                    }
                    child.outcome
                }
                (None, Choice::Drop(_)) => Outcome::Drop,
                (None, Choice::Attestation) => Outcome::Attestation,
                (None, _) => Outcome::Keep,
            });
        }
        // An index of artifacts alone is for no platform, and what is wanted of images doesn't concern it.
        if depth == 0 && !available.is_empty() {
            apply::missing_platform(self.plan, &available)?;
        }
        let derived = apply::index(&index, &outcomes)?;
        let is_changed = derived.is_some();
        for (entry, outcome) in index.manifests().iter().zip(&outcomes) {
            let is_kept = match outcome {
                Outcome::Attestation => {
                    !is_changed || apply::still_holds(entry, index.manifests(), &outcomes)
                }
                Outcome::Keep => !parts.manifests.iter().any(|(digest, _)| digest == entry.digest()),
                _ => false,
            };
            if is_kept {
                parts.kept.push(*entry.digest());
            }
        }
        let Some(document) = derived else {
            let mut node = unchanged(held, std::iter::empty());
            node.parts.append(parts);
            return Ok(Node { available, ..node });
        };
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Drop | Outcome::Attestation)) {
            let digest = held.source;
            return Ok(Node { digest, outcome: Outcome::Drop, parts: Parts::default(), available });
        }
        let digest = document.digest(held.source.algorithm());
        Ok(derived_node(document, digest, index.media_type().clone(), held.source, parts, available))
    }

    fn count(&self, choices: &[Choice], depth: usize) -> Result<(), Error> {
        let refused = |message| Err(Error::invalid(ErrorCode::ManifestInvalid, message));
        let is_nested = choices.contains(&Choice::Index);
        if is_nested && depth >= MAX_DEPTH {
            return refused("the image's indexes are nested too deeply".to_owned());
        }
        let more = choices.iter().filter(|choice| matches!(choice, Choice::Image(_) | Choice::Index)).count();
        if self.manifests.fetch_add(more, Ordering::Relaxed) + more > MAX_MANIFESTS {
            return refused(format!(
                "the image's index has more than {MAX_MANIFESTS} manifests to rewrite; choose platforms"
            ));
        }
        Ok(())
    }
}

fn named_platform(choice: &Choice) -> Option<&Platform> {
    match choice {
        Choice::Image(platform) => platform.as_ref(),
        Choice::Drop(platform) => Some(platform),
        _ => None,
    }
}

fn source_blobs<'d>(references: impl Iterator<Item = &'d Descriptor>) -> Vec<(Digest, Part)> {
    references.map(|descriptor| (*descriptor.digest(), Part::Source)).collect()
}

fn unchanged<'d>(mut held: Held, references: impl Iterator<Item = &'d Descriptor>) -> Node {
    let digest = held.source;
    // What is remembered must not keep the whole buffer alive that it was read into.
    held.content = Bytes::copy_from_slice(&held.content);
    let parts = Parts { blobs: source_blobs(references), manifests: vec![(digest, held)], kept: Vec::new() };
    Node { digest, outcome: Outcome::Keep, parts, available: Vec::new() }
}

fn derived_node(
    document: Document,
    digest: Digest,
    media_type: MediaType,
    source: Digest,
    mut parts: Parts,
    available: Vec<Platform>,
) -> Node {
    let held = Held { media_type, content: document.bytes().clone(), source };
    parts.manifests.push((digest, held));
    Node { digest, outcome: Outcome::Derived(document, digest), parts, available }
}

fn parse(held: &Held) -> Result<Manifest, Error> {
    let schema1 = || {
        Err(Error::unsupported(format!(
            "the image {} is a Docker schema 1 manifest, whose signature a rewrite would break; pull and push it anew with a current client",
            held.source
        )))
    };
    if held.media_type.is_schema1() {
        return schema1();
    }
    match Manifest::parse(Some(&held.media_type), held.content.clone()) {
        Ok(manifest) => Ok(manifest),
        Err(_) if is_schema1(&held.content) => schema1(),
        Err(error) => Err(invalid("manifest", &held.source, error)),
    }
}

/// Whether a document that can't be read as a manifest says that it is one of schema 1.
fn is_schema1(content: &Bytes) -> bool {
    let Ok(document) = Document::parse(content.clone()) else { return false };
    let declared: Option<MediaType> = document.object().read_member("mediaType").ok().flatten();
    let version: Option<u64> = document.object().read_member("schemaVersion").ok().flatten();
    version == Some(1) || declared.is_some_and(|declared| declared.is_schema1())
}

fn invalid(what: &str, digest: &Digest, error: impl std::fmt::Display) -> Error {
    let message = format!("the image can't be rewritten, since its {what} {digest} is malformed: {error}");
    Error::new(ErrorKind::BadGateway, ErrorCode::ManifestInvalid, message)
}
