//! Manifests, and the tags and referrers that go with them.

use super::blobs::{self, enter, leave};
use super::keys::{Kind, last, unreadable};
use super::records::{ManifestRecord, encode, get};
use super::scan::collect;
use crate::error::Error;
use crate::hosted::answer::{no_manifest, no_repository};
use crate::hosted::manifest::Pushed;
use crate::operation::ManifestCreated;
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository, Tag};
use crate::store::index::{Batch, View};

/// The digest that a reference means, and what is known of that manifest.
pub(super) fn find(
    view: &dyn View,
    repository: &Repository,
    reference: &Reference,
) -> Result<Option<(Digest, ManifestRecord)>, Error> {
    let digest = match reference {
        Reference::Digest(digest) => *digest,
        Reference::Tag(tag) => match tagged(view, repository, tag)? {
            Some(digest) => digest,
            None => return Ok(None),
        },
    };
    Ok(record(view, repository, &digest)?.map(|record| (digest, record)))
}

pub(super) fn record(
    view: &dyn View,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<ManifestRecord>, Error> {
    get(view, &Kind::Manifest.key(&[repository.as_str(), &digest.to_string()]))
}

fn tagged(view: &dyn View, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, Error> {
    let found = view.get(&Kind::Tag.key(&[repository.as_str(), tag.as_str()]))?;
    found.map(|text| last(&text)).transpose()
}

/// Keeps a manifest under its digest, its reference and the further tags. Everything that the caller can be blamed for
/// is refused before anything is changed.
pub(super) fn put(
    batch: &mut dyn Batch,
    repository: &Repository,
    reference: &Reference,
    tags: &[Tag],
    pushed: &Pushed,
    sparse_indexes: bool,
    now: u64,
) -> Result<ManifestCreated, Error> {
    let (name, digest) = (repository.as_str(), pushed.digest);
    let view: &dyn View = batch;
    let blob = |digest: &Digest| Ok(blobs::link(view, repository, digest)?.map(|link| link.size));
    let child = |digest: &Digest| Ok(record(view, repository, digest)?.map(|record| record.size));
    pushed.check(sparse_indexes, blob, child)?;

    let text = digest.to_string();
    let subject = pushed.referrer.as_ref().map(|(subject, _)| *subject);
    let record = ManifestRecord {
        media_type: pushed.media_type.clone(),
        size: pushed.size(),
        put: now,
        blobs: pushed.needed().into_iter().collect(),
        manifests: pushed.manifests.iter().map(|child| *child.digest()).collect(),
        subject,
    };
    // The same bytes again may be of another type, where they don't say it, and so need other things.
    forget(batch, repository, &digest)?;
    for blob in &record.blobs {
        batch.put(&Kind::User.key(&[name, &blob.to_string(), &text]), b"")?;
    }
    if let Some((subject, descriptor)) = &pushed.referrer {
        let key = Kind::Referrer.key(&[name, &subject.to_string(), &text]);
        batch.put(&key, descriptor.object().to_raw().bytes())?;
    }
    batch.put(&Kind::Manifest.key(&[name, &text]), &encode(&record)?)?;
    batch.put(&Kind::Content.key(&[name, &text]), &pushed.content)?;
    for tag in reference.tag().into_iter().chain(tags) {
        untag(batch, repository, tag)?;
        batch.put(&Kind::Tag.key(&[name, tag.as_str()]), text.as_bytes())?;
        batch.put(&Kind::Tagged.key(&[name, &text, tag.as_str()]), b"")?;
    }
    enter(batch, repository)?;
    let mut created = ManifestCreated::new(digest);
    created.tags = tags.to_vec();
    created.subject = subject;
    Ok(created)
}

/// Takes a tag away, or a manifest with its tags.
pub(super) fn delete(
    batch: &mut dyn Batch,
    repository: &Repository,
    reference: &Reference,
) -> Result<(), Error> {
    if batch.get(&Kind::Repository.key(&[repository.as_str()]))?.is_none() {
        return Err(no_repository(repository));
    }
    let found = match reference {
        Reference::Tag(tag) => untag(batch, repository, tag)?,
        Reference::Digest(digest) => remove(batch, repository, digest)?,
    };
    if !found {
        return Err(no_manifest(repository, reference));
    }
    leave(batch, repository)
}

/// Takes a manifest away with its tags, if it is there.
pub(super) fn remove(batch: &mut dyn Batch, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
    if !forget(batch, repository, digest)? {
        return Ok(false);
    }
    let (name, text) = (repository.as_str(), digest.to_string());
    batch.remove(&Kind::Content.key(&[name, &text]))?;
    let span = Kind::Tagged.below(&[name, &text]);
    let tags: Vec<Tag> = collect(batch, &span, usize::MAX, |key, _| last(key).map(Some))?;
    for tag in tags {
        untag(batch, repository, &tag)?;
    }
    Ok(true)
}

fn untag(batch: &mut dyn Batch, repository: &Repository, tag: &Tag) -> Result<bool, Error> {
    let Some(digest) = tagged(batch, repository, tag)? else { return Ok(false) };
    let (name, tag) = (repository.as_str(), tag.as_str());
    batch.remove(&Kind::Tag.key(&[name, tag]))?;
    batch.remove(&Kind::Tagged.key(&[name, &digest.to_string(), tag]))?;
    Ok(true)
}

/// Takes a manifest's record away, and what it says elsewhere of what it needs; its tags and its content stay.
fn forget(batch: &mut dyn Batch, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
    let Some(old) = record(batch, repository, digest)? else { return Ok(false) };
    let (name, text) = (repository.as_str(), digest.to_string());
    for blob in &old.blobs {
        batch.remove(&Kind::User.key(&[name, &blob.to_string(), &text]))?;
    }
    if let Some(subject) = old.subject {
        batch.remove(&Kind::Referrer.key(&[name, &subject.to_string(), &text]))?;
    }
    batch.remove(&Kind::Manifest.key(&[name, &text]))?;
    Ok(true)
}

/// The bytes of a manifest that has a record.
pub(super) fn content(
    view: &dyn View,
    repository: &Repository,
    digest: &Digest,
) -> Result<bytes::Bytes, Error> {
    view.get(&Kind::Content.key(&[repository.as_str(), &digest.to_string()]))?.ok_or_else(unreadable)
}
