//! Which blobs a repository shows.

use super::keys::{Kind, last};
use super::records::{LinkRecord, encode, get};
use super::scan::{collect, count, is_any};
use crate::error::Error;
use crate::hosted::answer::needed_by;
use crate::spec::digest::Digest;
use crate::spec::name::Repository;
use crate::store::index::{Batch, View};

pub(super) fn link(
    view: &dyn View,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<LinkRecord>, Error> {
    get(view, &Kind::Link.key(&[repository.as_str(), &digest.to_string()]))
}

/// Whether any repository shows the blob.
pub(super) fn is_shown(view: &dyn View, digest: &Digest) -> Result<bool, Error> {
    is_any(view, &Kind::Shown.below(&[&digest.to_string()]))
}

/// Whether a manifest of the repository needs the blob.
pub(super) fn is_needed(view: &dyn View, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
    is_any(view, &Kind::User.below(&[repository.as_str(), &digest.to_string()]))
}

/// Makes a blob visible, or notes that it was seen `now`.
pub(super) fn show(
    batch: &mut dyn Batch,
    repository: &Repository,
    digest: &Digest,
    size: u64,
    now: u64,
) -> Result<(), Error> {
    let (name, text) = (repository.as_str(), digest.to_string());
    batch.put(&Kind::Link.key(&[name, &text]), &encode(&LinkRecord { size, seen: now })?)?;
    batch.put(&Kind::Shown.key(&[&text, name]), b"")?;
    enter(batch, repository)
}

/// Makes a blob invisible, unless a manifest needs it. Answers whether it was visible.
pub(super) fn hide(batch: &mut dyn Batch, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
    let (name, text) = (repository.as_str(), digest.to_string());
    let key = Kind::Link.key(&[name, &text]);
    if batch.get(&key)?.is_none() {
        return Ok(false);
    }
    match count(batch, &Kind::User.below(&[name, &text]))? {
        0 => {}
        users => return Err(needed_by(digest, users)),
    }
    batch.remove(&key)?;
    batch.remove(&Kind::Shown.key(&[&text, name]))?;
    leave(batch, repository)?;
    Ok(true)
}

/// Takes note of a repository that has something now.
pub(super) fn enter(batch: &mut dyn Batch, repository: &Repository) -> Result<(), Error> {
    let key = Kind::Repository.key(&[repository.as_str()]);
    match batch.get(&key)? {
        Some(_) => Ok(()),
        None => batch.put(&key, b""),
    }
}

/// Forgets a repository that has nothing left. (Tags without manifests don't occur.)
pub(super) fn leave(batch: &mut dyn Batch, repository: &Repository) -> Result<(), Error> {
    let name = repository.as_str();
    if !is_any(batch, &Kind::Link.below(&[name]))? && !is_any(batch, &Kind::Manifest.below(&[name]))? {
        batch.remove(&Kind::Repository.key(&[name]))?;
    }
    Ok(())
}

/// The link that a mount goes out from: the repository's own, that of the one that is named, or any.
pub(super) fn source(
    view: &dyn View,
    to: &Repository,
    from: Option<&Repository>,
    anywhere: bool,
    digest: &Digest,
) -> Result<Option<LinkRecord>, Error> {
    if let Some(own) = link(view, to, digest)? {
        return Ok(Some(own));
    }
    match from {
        Some(from) => link(view, from, digest),
        None if anywhere => {
            let span = Kind::Shown.below(&[&digest.to_string()]);
            let first: Vec<Repository> = collect(view, &span, 1, |key, _| last(key).map(Some))?;
            first.first().map_or(Ok(None), |first| link(view, first, digest))
        }
        None => Ok(None),
    }
}
