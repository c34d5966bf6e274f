use std::collections::BTreeMap;

use super::answer::needed_by;
use super::budget::Reservation;
use super::manifest::{Pushed, REFERRERS_PAGE, is_of_type};
use crate::error::Error;
use crate::operation::{Referrers, Tags};
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::name::{Reference, Repository, Tag};
use crate::spec::page::Page;

/// What one repository shows. Blobs' contents are shared by all repositories; here is which of them are visible.
#[derive(Debug)]
pub(super) struct Shelf {
    manifests: BTreeMap<Digest, (Pushed, Reservation)>,
    tags: BTreeMap<Tag, (Digest, Reservation)>,
    blobs: BTreeMap<Digest, Link>,
    referrers: BTreeMap<Digest, BTreeMap<Digest, Descriptor>>,
    _cost: Reservation,
}

#[derive(Debug)]
struct Link {
    size: u64,
    /// How many manifests here need it.
    users: usize,
    _cost: Reservation,
}

impl Shelf {
    pub(super) fn new(cost: Reservation) -> Self {
        Self {
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            blobs: BTreeMap::new(),
            referrers: BTreeMap::new(),
            _cost: cost,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.tags.is_empty() && self.blobs.is_empty()
    }

    pub(super) fn manifest(&self, reference: &Reference) -> Option<&Pushed> {
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => &self.tags.get(tag)?.0,
        };
        self.manifests.get(digest).map(|(manifest, _)| manifest)
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// What the manifest refers to and isn't here, or is of another size.
    pub(super) fn check(&self, manifest: &Pushed, sparse_indexes: bool) -> Result<(), Error> {
        let blob = |digest: &Digest| Ok(self.blobs.get(digest).map(|link| link.size));
        let child = |digest: &Digest| Ok(self.manifests.get(digest).map(|(found, _)| found.size()));
        manifest.check(sparse_indexes, blob, child)
    }

    /// Keeps a manifest that has been checked.
    pub(super) fn put(&mut self, manifest: Pushed, cost: Reservation) {
        // The same bytes again: only the type may be another, where the bytes don't say it.
        self.remove_manifest(&manifest.digest);
        for digest in manifest.needed() {
            if let Some(link) = self.blobs.get_mut(&digest) {
                link.users += 1;
            }
        }
        if let Some((subject, descriptor)) = &manifest.referrer {
            self.referrers.entry(*subject).or_default().insert(manifest.digest, descriptor.clone());
        }
        self.manifests.insert(manifest.digest, (manifest, cost));
    }

    pub(super) fn tag(&mut self, tag: Tag, digest: Digest, cost: Reservation) {
        self.tags.insert(tag, (digest, cost));
    }

    pub(super) fn untag(&mut self, tag: &Tag) -> bool {
        self.tags.remove(tag).is_some()
    }

    /// Takes a manifest away, and with it the tags that name it.
    pub(super) fn delete_manifest(&mut self, digest: &Digest) -> bool {
        let found = self.remove_manifest(digest);
        self.tags.retain(|_, (tagged, _)| tagged != digest);
        found
    }

    fn remove_manifest(&mut self, digest: &Digest) -> bool {
        let Some((manifest, _)) = self.manifests.remove(digest) else { return false };
        for digest in manifest.needed() {
            if let Some(link) = self.blobs.get_mut(&digest) {
                link.users = link.users.saturating_sub(1);
            }
        }
        if let Some((subject, _)) = &manifest.referrer
            && let Some(referrers) = self.referrers.get_mut(subject)
        {
            referrers.remove(digest);
            if referrers.is_empty() {
                self.referrers.remove(subject);
            }
        }
        true
    }

    /// Makes a blob visible; answers whether it wasn't before.
    pub(super) fn link(&mut self, digest: Digest, size: u64, cost: Reservation) -> bool {
        if self.has_blob(&digest) {
            return false;
        }
        self.blobs.insert(digest, Link { size, users: 0, _cost: cost });
        true
    }

    /// Makes a blob invisible, unless a manifest needs it.
    pub(super) fn unlink(&mut self, digest: &Digest) -> Result<bool, Error> {
        match self.blobs.get(digest) {
            None => Ok(false),
            Some(link) if link.users > 0 => Err(needed_by(digest, link.users)),
            Some(_) => Ok(self.blobs.remove(digest).is_some()),
        }
    }

    pub(super) fn tags(&self, repository: &Repository, page: &Page) -> Tags {
        let all: Vec<&Tag> = self.tags.keys().collect();
        let (page, next) = page.cut(&all);
        let next = next.map(|tag| tag.to_string());
        Tags::new(repository.clone(), page.iter().copied().cloned().collect(), next)
    }

    pub(super) fn referrers(&self, subject: &Digest, artifact_type: Option<&str>, page: &Page) -> Referrers {
        let is_wanted = |descriptor: &Descriptor| is_of_type(descriptor, artifact_type);
        let wanted = self.referrers.get(subject).into_iter().flatten();
        let (mut keys, mut descriptors) = (Vec::new(), Vec::new());
        for (digest, descriptor) in wanted.filter(|(_, descriptor)| is_wanted(descriptor)) {
            keys.push(digest.to_string());
            descriptors.push(descriptor);
        }
        let (page, mut next) = page.cut(&keys);
        // Where the page starts among all: its first key is there, unless it is empty.
        let start = page.first().map_or(keys.len(), |first| keys.partition_point(|key| key < first));
        let (mut manifests, mut bytes) = (Vec::new(), 0_usize);
        for (index, descriptor) in descriptors.into_iter().skip(start).take(page.len()).enumerate() {
            bytes = bytes.saturating_add(descriptor.object().to_raw().bytes().len());
            if bytes > REFERRERS_PAGE && index > 0 {
                next = page.get(index - 1);
                break;
            }
            manifests.push(descriptor.clone());
        }
        Referrers::new(manifests, artifact_type.is_some(), next.cloned())
    }
}
