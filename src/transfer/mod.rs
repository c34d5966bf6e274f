//! Copying an image from one registry to another.
//!
//! A [`Transfer`] reads a manifest or an index with all that it refers to, and brings to the destination what isn't
//! there yet: blobs are mounted from another repository of the same registry where that is possible, else streamed and
//! verified on their way; manifests are put after what they refer to, and the root comes last, under its tags. So the
//! destination never has an image that isn't complete, and a transfer that broke off is gone on with by asking for it
//! again.
//!
//! Either [`Place`] may be any [`Registry`](crate::operation::Registry): an upstream, a registry of this process, or a
//! whole stack. With a [rewrite](crate::layer::rewrite) among the facts of the source, what is copied is the derived
//! image: that is how one is frozen.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::hosted::Memory;
//! use tower_oci::spec::media_type::MediaType;
//! use tower_oci::spec::name::Repository;
//! use tower_oci::transfer::{Place, Transfer};
//!
//! let (source, destination) = (Memory::new(), Memory::new());
//! let repository: Repository = "demo/hello".parse()?;
//! let config = source.push_blob(&repository, MediaType::OCI_CONFIG, r#"{"os":"linux"}"#)?;
//! let manifest = format!(
//!     r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[]}}"#,
//!     config.media_type(),
//!     config.digest(),
//!     config.size(),
//! );
//! let digest = source.push_manifest(&repository, &"v1".parse()?, MediaType::OCI_MANIFEST, manifest)?;
//!
//! let from = Place::new(source, repository);
//! let to = Place::new(destination, "mirror/hello".parse()?);
//! let transfer = Transfer::new(from, to).progress(|progress| println!("{progress:?}"));
//!
//! let copied = transfer.run(&"v1".parse()?, &["v1".parse()?, "latest".parse()?]).await?;
//! assert_eq!((copied.digest, copied.manifests, copied.copied), (digest, 1, 1));
//! // The second time there is nothing to do.
//! let again = transfer.run(&"v1".parse()?, &["v1".parse()?]).await?;
//! assert_eq!((again.digest, again.manifests, again.copied), (digest, 0, 0));
//! # Ok(()) }
//! ```
//!
//! # What is copied
//!
//! Indexes with all their manifests, nested ones too; image manifests with their configs and image layers. Layers that
//! may not be distributed stay where they are. What a `subject` names, and what refers to the image, isn't followed. A
//! manifest that the destination has is taken to be complete there.
//!
//! # Requests
//!
//! A tag costs the source a `HEAD`, and the destination one for each tag that the image is to have: when they all have
//! it, that's it. Otherwise the destination is asked for the image by its digest, then for each manifest of an index
//! and each blob. A blob that is neither there nor can be mounted costs two more requests: the one that was to mount it,
//! or one in its place, opens the upload.
//!
//! What fails in a way that may pass (a connection that breaks, 429, 5xx) is tried again, twice at most, after one and
//! two seconds or what `Retry-After` says up to 30; all else ends the transfer at once. What a denied `HEAD` at the
//! destination means is left to the write that follows: registries deny reading what isn't there yet. Uploads that are
//! open when a transfer fails are given up, for which it takes five seconds at most; when it is dropped, they are left to
//! expire.

mod blob;
mod limits;
mod passage;
mod place;
mod progress;
mod retry;
mod tree;

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use self::blob::{Carrier, Outcome};
pub use self::limits::Limits;
pub use self::place::Place;
use self::place::What;
pub use self::progress::Progress;
use self::progress::{Listener, Tally};
use self::retry::Tries;
use self::tree::{Document, Walk};
use crate::error::{Error, ErrorKind};
use crate::operation::{Manifest, PutManifest};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::spec::name::{Reference, Repository, Tag};

/// Copies images from one [`Place`] to another; see [the module](self).
#[derive(Clone)]
#[must_use]
pub struct Transfer {
    from: Place,
    to: Place,
    mount_from: Option<Repository>,
    concurrency: usize,
    limits: Limits,
    listener: Option<Listener>,
}

/// What a transfer did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// The digest of the image's manifest or index, at the source and at the destination.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size in bytes: of the manifest or index alone.
    pub size: u64,
    /// How many manifests and indexes were written; none when the image was there.
    pub manifests: usize,
    /// How many blobs were sent.
    pub copied: usize,
    /// How many bytes these have.
    pub copied_bytes: u64,
    /// How many blobs were mounted.
    pub mounted: usize,
    /// How many blobs were there, beside those of manifests that were.
    pub present: usize,
}

impl Transfer {
    /// How many requests for content are made at once by default.
    pub const CONCURRENCY: usize = 4;

    /// From `from` to `to`.
    pub fn new(from: Place, to: Place) -> Self {
        let (concurrency, limits) = (Self::CONCURRENCY, Limits::new());
        Self { from, to, mount_from: None, concurrency, limits, listener: None }
    }

    /// Blobs are mounted where they can be, from this repository of the *destination's* registry: the source's, where
    /// both are in one registry. Those that it doesn't have are sent.
    pub fn mount_from(mut self, repository: Repository) -> Self {
        self.mount_from = Some(repository);
        self
    }

    /// How many blobs are on their way at once, each with a stream of its own; at least one.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most.max(1);
        self
    }

    /// How large the image may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells how far it is, whenever that changes: for streams at every frame. The listener must not block.
    pub fn progress(mut self, listener: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Copies the image `reference`, and gives it `tags` at the destination; without any, it is there by its digest.
    ///
    /// It can be run again, for the same image or another one: what is there isn't sent.
    ///
    /// # Errors
    ///
    /// What the source or the destination fails with, saying which of them and with what; when the image is over a
    /// limit, or content isn't what its digest says. No tag then means an image that isn't complete, and no blob is there
    /// that isn't right.
    pub async fn run(&self, reference: &Reference, tags: &[Tag]) -> Result<Transferred, Error> {
        let root = match reference.digest() {
            Some(digest) => *digest,
            None => {
                let head = self.from.head(reference).await;
                head.map_err(self.from.reading(What::Image(reference)))?.digest
            }
        };
        let mut missing: Vec<Tag> = Vec::new();
        let mut held = None;
        for tag in tags {
            match there(&self.to, &tag.clone().into()).await?.filter(|held| held.digest == root) {
                Some(manifest) => held = Some(manifest),
                None if missing.contains(tag) => {}
                None => missing.push(tag.clone()),
            }
        }
        if held.is_none() {
            held = there(&self.to, &root.into()).await?;
        }
        match held {
            Some(held) if missing.is_empty() => Ok(Transferred::found(&held)),
            Some(held) => self.tag(&held, &missing).await,
            None => self.copy(root, &missing).await,
        }
    }

    /// Gives more tags to an image that is there.
    async fn tag(&self, held: &Manifest, tags: &[Tag]) -> Result<Transferred, Error> {
        let digest = held.digest;
        let manifest = self.to.manifest(&digest.into()).await;
        let manifest = manifest.map_err(self.to.writing(What::Manifest(digest)))?;
        let content = manifest.content()?.clone();
        let document = Document { digest, media_type: manifest.media_type.clone(), content };
        self.put(&document, tags).await?;
        Ok(Transferred::found(&manifest))
    }

    async fn copy(&self, root: Digest, tags: &[Tag]) -> Result<Transferred, Error> {
        let (from, to, concurrency) = (&self.from, &self.to, self.concurrency);
        let tree = Walk { from, to, root, limits: self.limits, concurrency }.tree().await?;
        let tally = Tally::new(self.listener.clone());
        tally.change(|progress| {
            progress.blobs = tree.blobs.len();
            progress.bytes = tree.blobs.iter().fold(0, |bytes, blob| bytes.saturating_add(blob.size()));
            progress.manifests = tree.documents.len();
        });
        let Some(last) = tree.documents.last() else {
            return Err(Error::internal("an image tree without a root"));
        };
        let mut done = Transferred::new(last);
        let carrier = Carrier::new(from, to, self.mount_from.as_ref(), Arc::clone(&tally));
        let mut waiting = tree.blobs.iter();
        let mut carrying = FuturesUnordered::new();
        loop {
            let free = concurrency.saturating_sub(carrying.len());
            carrying.extend(waiting.by_ref().take(free).map(|blob| carrier.carry(blob)));
            match carrying.next().await {
                Some(Ok((outcome, size))) => done.count(outcome, size),
                Some(Err(error)) => {
                    // Nobody goes on with what is on its way.
                    carrying.clear();
                    carrier.cancel_all().await;
                    return Err(error);
                }
                None => break,
            }
        }
        for document in &tree.documents {
            let tags = if document.digest == root { tags } else { &[] };
            self.put(document, tags).await?;
            done.manifests += 1;
            tally.change(|progress| progress.manifests_done += 1);
        }
        Ok(done)
    }

    /// Puts a document, with another try where that may help.
    async fn put(&self, document: &Document, tags: &[Tag]) -> Result<(), Error> {
        let mut tries = Tries::new();
        while let Err(error) = self.put_once(document, tags).await {
            tries.again(error).await?;
        }
        Ok(())
    }

    /// Puts it by its digest or by its only tag. Several tags are asked for at once, and one by one where the registry
    /// doesn't know that.
    async fn put_once(&self, document: &Document, tags: &[Tag]) -> Result<(), Error> {
        if let [tag] = tags {
            return self.put_at(document, tag.clone().into(), &[]).await.map(drop);
        }
        let at_once = tags.get(..PutManifest::MAX_TAGS).unwrap_or(tags);
        let set = self.put_at(document, document.digest.into(), at_once).await?;
        for tag in tags.iter().filter(|tag| !set.contains(tag)) {
            self.put_at(document, tag.clone().into(), &[]).await?;
        }
        Ok(())
    }

    async fn put_at(&self, document: &Document, at: Reference, tags: &[Tag]) -> Result<Vec<Tag>, Error> {
        let Document { digest, media_type, content } = document;
        let repository = self.to.repository().clone();
        let mut put = PutManifest::new(repository, at, media_type.clone(), content.clone());
        put.tags = tags.to_vec();
        let created = self.to.send(put).await;
        let created = created.map_err(self.to.writing(What::Manifest(*digest)))?;
        Ok(created.tags)
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("mount_from", &self.mount_from)
            .field("concurrency", &self.concurrency)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Transferred {
    fn new(root: &Document) -> Self {
        Self {
            digest: root.digest,
            media_type: root.media_type.clone(),
            size: root.content.len() as u64,
            manifests: 0,
            copied: 0,
            copied_bytes: 0,
            mounted: 0,
            present: 0,
        }
    }

    /// Nothing had to be copied.
    fn found(held: &Manifest) -> Self {
        let (digest, media_type, size) = (held.digest, held.media_type.clone(), held.size);
        Self { digest, media_type, size, manifests: 0, copied: 0, copied_bytes: 0, mounted: 0, present: 0 }
    }

    fn count(&mut self, outcome: Outcome, size: u64) {
        match outcome {
            Outcome::Present => self.present += 1,
            Outcome::Mounted => self.mounted += 1,
            Outcome::Copied => {
                self.copied += 1;
                self.copied_bytes = self.copied_bytes.saturating_add(size);
            }
        }
    }
}

/// What the destination says of a manifest; none where it says that it isn't there, or doesn't let us look.
async fn there(to: &Place, reference: &Reference) -> Result<Option<Manifest>, Error> {
    match to.head(reference).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if is_refusal(&error) => Ok(None),
        Err(error) => Err(to.writing(What::Image(reference))(error)),
    }
}

/// Whether it isn't there, or may not be seen. Registries deny reading in a repository that is yet to be made, so that
/// only a write tells more.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unauthorized)
}
