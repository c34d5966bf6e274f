//! Manifests that no tag leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::blobs::leave;
use super::keys::{Kind, last};
use super::manifests::remove;
use super::records::{ManifestRecord, decode};
use super::scan::{collect, is_any};
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::name::Repository;
use crate::store::index::{Batch, View};

/// Those that were put at `before` or earlier. A tag leads to its manifest, an index to its entries, and a manifest that
/// stays to its referrers.
pub(super) fn find(view: &dyn View, repository: &Repository, before: u64) -> Result<BTreeSet<Digest>, Error> {
    let name = repository.as_str();
    let all: BTreeMap<Digest, ManifestRecord> =
        collect(view, &Kind::Manifest.below(&[name]), usize::MAX, |key, value| {
            Ok(Some((last(key)?, decode(value)?)))
        })?
        .into_iter()
        .collect();
    let mut referrers: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    let mut reached = Vec::new();
    for (digest, record) in &all {
        if let Some(subject) = record.subject {
            referrers.entry(subject).or_default().push(*digest);
        }
        if record.put > before || is_any(view, &Kind::Tagged.below(&[name, &digest.to_string()]))? {
            reached.push(*digest);
        }
    }
    let mut doomed: BTreeSet<Digest> = all.keys().copied().collect();
    while let Some(digest) = reached.pop() {
        if doomed.remove(&digest) {
            reached.extend(all.get(&digest).into_iter().flat_map(|record| &record.manifests));
            reached.extend(referrers.get(&digest).into_iter().flatten());
        }
    }
    Ok(doomed)
}

/// Removes them. Answers how many there were.
pub(super) fn sweep(batch: &mut dyn Batch, repository: &Repository, before: u64) -> Result<u64, Error> {
    let doomed = find(batch, repository, before)?;
    for digest in &doomed {
        remove(batch, repository, digest)?;
    }
    leave(batch, repository)?;
    Ok(doomed.len() as u64)
}
