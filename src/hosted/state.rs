use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::budget::{Budget, RECORD, Reservation};
use super::content::Content;
use super::manifest::Pushed;
use super::repository::Shelf;
use crate::error::Error;
use crate::operation::{ManifestCreated, Repositories};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository, Tag};
use crate::spec::page::Page;

/// All that is kept but open uploads. It lives behind a lock that is never held while anything is awaited.
#[derive(Debug)]
pub(super) struct State {
    budget: Arc<Budget>,
    repositories: BTreeMap<Repository, Shelf>,
    blobs: BTreeMap<Digest, Shared>,
}

/// A blob's content, and how many repositories show it.
#[derive(Debug)]
struct Shared {
    content: Content,
    links: usize,
    _cost: Reservation,
}

impl State {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, repositories: BTreeMap::new(), blobs: BTreeMap::new() }
    }

    pub(super) fn repository(&self, repository: &Repository) -> Option<&Shelf> {
        self.repositories.get(repository)
    }

    pub(super) fn repositories(&self, page: &Page) -> Repositories {
        let all: Vec<&Repository> = self.repositories.keys().collect();
        let (page, next) = page.cut(&all);
        let next = next.map(|name| name.to_string());
        Repositories::new(page.iter().copied().cloned().collect(), next)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.repositories.len(), self.blobs.len())
    }

    /// The content of a blob, where this repository shows it.
    pub(super) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<Content> {
        let visible = self.repository(repository)?.has_blob(digest);
        self.blobs.get(digest).filter(|_| visible).map(|blob| blob.content.clone())
    }

    /// Keeps a blob whose digest has been checked. `cost` is what its content has reserved.
    pub(super) fn put_blob(
        &mut self,
        repository: &Repository,
        digest: Digest,
        content: Content,
        mut cost: Reservation,
    ) -> Result<(), Error> {
        if let Entry::Vacant(place) = self.blobs.entry(digest) {
            cost.grow(RECORD)?;
            place.insert(Shared { content, links: 0, _cost: cost });
        }
        let linked = self.link(repository, digest);
        self.sweep(&digest);
        linked
    }

    /// Shows a blob that is there in one more repository.
    pub(super) fn link(&mut self, repository: &Repository, digest: Digest) -> Result<(), Error> {
        let cost = self.budget.reserve(RECORD)?;
        let Some(size) = self.blobs.get(&digest).map(|blob| blob.content.size()) else {
            return Err(Error::blob_unknown(format!("no blob {digest}")));
        };
        let new = self.shelf(repository)?.link(digest, size, cost);
        if let Some(blob) = self.blobs.get_mut(&digest).filter(|_| new) {
            blob.links += 1;
        }
        Ok(())
    }

    /// Whether the blob is kept at all, in whatever repository.
    pub(super) fn keeps(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    pub(super) fn delete_blob(&mut self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let Some(shelf) = self.repositories.get_mut(repository) else { return Ok(false) };
        if !shelf.unlink(digest)? {
            return Ok(false);
        }
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.links = blob.links.saturating_sub(1);
        }
        self.sweep(digest);
        self.tidy(repository);
        Ok(true)
    }

    /// Keeps a manifest under its digest, and under the tag and the further tags.
    pub(super) fn put_manifest(
        &mut self,
        repository: &Repository,
        reference: Reference,
        tags: Vec<Tag>,
        manifest: Pushed,
        sparse_indexes: bool,
    ) -> Result<ManifestCreated, Error> {
        // Everything that can fail comes before anything is changed.
        let cost = self.budget.reserve(RECORD.saturating_add(manifest.size()))?;
        let own = reference.tag().cloned();
        let named: Result<Vec<(Tag, Reservation)>, Error> =
            own.iter().chain(&tags).map(|tag| Ok((tag.clone(), self.budget.reserve(RECORD)?))).collect();
        let named = named?;
        let digest = manifest.digest;
        let subject = manifest.referrer.as_ref().map(|(subject, _)| *subject);
        let shelf = self.shelf(repository)?;
        if let Err(error) = shelf.check(&manifest, sparse_indexes) {
            self.tidy(repository);
            return Err(error);
        }
        shelf.put(manifest, cost);
        for (tag, cost) in named {
            shelf.tag(tag, digest, cost);
        }
        let mut created = ManifestCreated::new(digest);
        created.tags = tags;
        created.subject = subject;
        Ok(created)
    }

    /// Takes a tag away, or a manifest with its tags; answers whether it was there.
    pub(super) fn delete_manifest(&mut self, repository: &Repository, reference: &Reference) -> Option<bool> {
        let shelf = self.repositories.get_mut(repository)?;
        let found = match reference {
            Reference::Tag(tag) => shelf.untag(tag),
            Reference::Digest(digest) => shelf.delete_manifest(digest),
        };
        self.tidy(repository);
        Some(found)
    }

    fn shelf(&mut self, repository: &Repository) -> Result<&mut Shelf, Error> {
        match self.repositories.entry(repository.clone()) {
            Entry::Occupied(shelf) => Ok(shelf.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Shelf::new(self.budget.reserve(RECORD)?))),
        }
    }

    /// Forgets a repository that has nothing left.
    fn tidy(&mut self, repository: &Repository) {
        if self.repository(repository).is_some_and(Shelf::is_empty) {
            self.repositories.remove(repository);
        }
    }

    /// Forgets a blob that no repository shows.
    fn sweep(&mut self, digest: &Digest) {
        if self.blobs.get(digest).is_some_and(|blob| blob.links == 0) {
            self.blobs.remove(digest);
        }
    }
}
