use super::{checked, invalid_source};
use crate::error::Error;
use crate::layer::rewrite::plan::Plan;
use crate::spec::digest::Digest;
use crate::spec::image::{Descriptor, Index};
use crate::spec::json::{Document, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// What an entry of an index is, and so what has to be read before its [`Outcome`] is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// A manifest that is wanted, as far as the index says: its manifest and config are to be read and rewritten. When
    /// the index doesn't name a platform, the config's counts, and what turns out to be no image is kept.
    Image(Option<Platform>),
    /// A further index, whose entries are chosen in the same way.
    Index,
    /// Something that is no image; kept as it is.
    Keep,
    /// An image for a platform that isn't wanted.
    Drop(Platform),
    /// An attestation of another entry, with whose bytes it stands and falls.
    Attestation,
}

/// What becomes of an entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It names this derived document with this digest.
    Derived(Document, Digest),
    /// It stays when what it attests stays as it is.
    Attestation,
}

/// What the entries of `source` are for `plan`, in order.
///
/// # Errors
///
/// `MANIFEST_INVALID` when an entry's platform or artifact type is malformed.
pub fn select(source: &Index, plan: &Plan) -> Result<Vec<Choice>, Error> {
    source.manifests().iter().map(|entry| choose(entry, plan)).collect()
}

fn choose(entry: &Descriptor, plan: &Plan) -> Result<Choice, Error> {
    let invalid = |error| invalid_source("index", error);
    let platform = entry.platform().map_err(invalid)?;
    let is_unknown = platform.as_ref().is_some_and(|platform| platform.os() == "unknown");
    if entry.is_attestation() || is_unknown {
        return Ok(Choice::Attestation);
    }
    if entry.media_type().is_index() {
        return Ok(Choice::Index);
    }
    // An image's own type is written there by some; any other one says that it is no image.
    let artifact = entry.artifact_type().map_err(invalid)?.filter(|kind| !kind.is_empty());
    let is_artifact =
        artifact.is_some_and(|kind| !kind.parse().is_ok_and(|kind: MediaType| kind.is_image_config()));
    if is_artifact || !entry.media_type().is_manifest() {
        return Ok(Choice::Keep);
    }
    Ok(match platform.filter(|platform| !platform.os().is_empty()) {
        Some(platform) if !plan.wants(&platform) => Choice::Drop(platform),
        platform => Choice::Image(platform),
    })
}

/// Fails when one of the wanted platforms is not among those `available`, which it then lists.
///
/// # Errors
///
/// `MANIFEST_UNKNOWN`.
pub fn missing_platform(plan: &Plan, available: &[Platform]) -> Result<(), Error> {
    let is_there = |wanted: &Platform| available.iter().any(|platform| wanted.accepts(platform));
    let missing: Vec<_> = plan.platforms().iter().filter(|wanted| !is_there(wanted)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut there: Vec<_> = available.iter().collect();
    there.sort();
    there.dedup();
    let list = |platforms: &[&Platform]| {
        platforms.iter().map(|platform| format!("`{platform}`")).collect::<Vec<_>>().join(", ")
    };
    let there = if there.is_empty() { "no platform".to_owned() } else { list(&there) };
    Err(Error::manifest_unknown(format!("the image is not there for {}; it is for {there}", list(&missing))))
}

/// The index with what became of its entries, in order; `None` when they all stay as they are.
///
/// Attestations of rewritten or dropped entries go: they say nothing about what takes their place. A derived entry
/// has digest, size and, where it was there, `data` of the derived document. A derived index has no `subject`.
///
/// # Errors
///
/// When there aren't as many outcomes as entries; `TooLarge` when the result is over
/// [`MAX_DOCUMENT`](crate::spec::json::MAX_DOCUMENT).
pub fn index(source: &Index, outcomes: &[Outcome]) -> Result<Option<Document>, Error> {
    let entries = source.manifests();
    if entries.len() != outcomes.len() {
        return Err(Error::internal("an index was rewritten with another number of entries"));
    }
    let is_changed = |outcome: &Outcome| matches!(outcome, Outcome::Drop | Outcome::Derived(..));
    if !outcomes.iter().any(is_changed) {
        return Ok(None);
    }
    let invalid = |error| invalid_source("index", error);
    let raw = source.document().object().array("manifests").map_err(invalid)?.unwrap_or_default();
    let mut kept: Vec<Raw> = Vec::with_capacity(raw.len());
    for ((raw, entry), outcome) in raw.into_iter().zip(entries).zip(outcomes) {
        match outcome {
            Outcome::Keep => kept.push(raw),
            Outcome::Derived(document, digest) => {
                kept.push(entry.with_content(*digest, document.bytes()).object().to_raw());
            }
            Outcome::Attestation if still_holds(entry, entries, outcomes) => kept.push(raw),
            Outcome::Attestation | Outcome::Drop => {}
        }
    }
    let mut object = source.document().object().clone();
    object.set("manifests", Raw::list(&kept));
    object.remove("subject");
    checked("index", Document::from(object)).map(Some)
}

/// Whether the entry that `attestation` is about stays as it is. In an index that has changed, one that doesn't say
/// what it is about is taken to be about what has changed.
pub(in crate::layer::rewrite) fn still_holds(
    attestation: &Descriptor,
    entries: &[Descriptor],
    outcomes: &[Outcome],
) -> bool {
    let Some(attested) = attestation.attested() else { return false };
    let subject = entries.iter().zip(outcomes).find(|(entry, _)| *entry.digest() == attested);
    subject.is_some_and(|(_, outcome)| *outcome == Outcome::Keep)
}
