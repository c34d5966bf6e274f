use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::limits::Limits;
use super::place::{Place, What};
use super::there;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::image::{Descriptor, Manifest as Parsed};
use crate::spec::media_type::MediaType;

/// What has to be at the destination for an image to be there.
#[derive(Debug)]
pub(super) struct Tree {
    /// Manifests and indexes: what they refer to comes before them, and the root last.
    pub(super) documents: Vec<Document>,
    /// Configs and image layers, each once, in the order in which they are named.
    pub(super) blobs: Vec<Descriptor>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) content: Bytes,
}

/// Reads a tree, level by level. What the destination has isn't read.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) from: &'a Place,
    pub(super) to: &'a Place,
    /// What the destination doesn't have.
    pub(super) root: Digest,
    pub(super) limits: Limits,
    pub(super) concurrency: usize,
}

/// A document, and what it refers to.
struct Read {
    document: Document,
    children: Vec<Descriptor>,
    blobs: Vec<Descriptor>,
}

impl Walk<'_> {
    /// The tree below the root.
    pub(super) async fn tree(&self) -> Result<Tree, Error> {
        let root = self.root;
        let mut found: BTreeMap<Digest, Read> = BTreeMap::new();
        let mut known = BTreeSet::from([root]);
        let mut level = vec![(root, None)];
        let (mut depth, mut bytes) = (0, 0_usize);
        while !level.is_empty() {
            if depth > self.limits.depth {
                return Err(
                    self.too_large(format!("its indexes are nested more than {} deep", self.limits.depth))
                );
            }
            let mut unread = std::mem::take(&mut level).into_iter();
            let mut reading = FuturesOrdered::new();
            loop {
                let free = self.concurrency.saturating_sub(reading.len());
                reading.extend(unread.by_ref().take(free).map(|(digest, named)| self.read(digest, named)));
                let Some(read) = reading.next().await else { break };
                let Some(read) = read? else { continue };
                bytes = bytes.saturating_add(read.document.content.len());
                if bytes > self.limits.manifest_bytes {
                    let most = self.limits.manifest_bytes;
                    return Err(self.too_large(format!("its manifests have more than {most} bytes together")));
                }
                for child in &read.children {
                    if known.insert(*child.digest()) {
                        level.push((*child.digest(), Some(child.clone())));
                    }
                }
                if known.len() > self.limits.manifests {
                    return Err(
                        self.too_large(format!("it has more than {} manifests", self.limits.manifests))
                    );
                }
                found.insert(read.document.digest, read);
            }
            depth += 1;
        }
        let mut tree = Tree { documents: Vec::new(), blobs: Vec::new() };
        collect(root, &mut found, &mut tree);
        let mut named = BTreeSet::new();
        tree.blobs.retain(|blob| named.insert(*blob.digest()));
        let bytes = tree.blobs.iter().fold(0_u64, |bytes, blob| bytes.saturating_add(blob.size()));
        if bytes > self.limits.bytes {
            return Err(
                self.too_large(format!("its blobs have {bytes} bytes, more than {}", self.limits.bytes))
            );
        }
        Ok(tree)
    }

    /// The document `digest`, unless the destination has it; the root is known not to be there.
    async fn read(&self, digest: Digest, named: Option<Descriptor>) -> Result<Option<Read>, Error> {
        if named.is_some() && there(self.to, &digest.into()).await?.is_some() {
            return Ok(None);
        }
        let (media_type, content) =
            match named.and_then(|named| Some((named.media_type().clone(), named.data()?))) {
                Some(embedded) => embedded,
                None => {
                    let manifest = self.from.manifest(&digest.into()).await;
                    let mut manifest = manifest.map_err(self.from.reading(What::Manifest(digest)))?;
                    (manifest.media_type.clone(), manifest.content.take().unwrap_or_default())
                }
            };
        let read = || {
            let parsed = Parsed::parse(Some(&media_type), content.clone())?;
            let (children, blobs) = match &parsed {
                Parsed::Index(index) => (index.manifests().to_vec(), Vec::new()),
                Parsed::Image(image) => {
                    let layers = image.layers().iter().filter(|layer| !layer.media_type().is_foreign_layer());
                    (Vec::new(), std::iter::once(image.config()).chain(layers).cloned().collect())
                }
                Parsed::Other(other, _) => {
                    let message =
                        format!("what a document of the type `{other}` refers to is not known here");
                    return Err(Error::unsupported(message));
                }
            };
            let media_type = parsed.media_type().clone();
            Ok(Read { document: Document { digest, media_type, content: content.clone() }, children, blobs })
        };
        read().map(Some).map_err(self.from.reading(What::Manifest(digest)))
    }

    fn too_large(&self, message: String) -> Error {
        let error = Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message);
        self.from.reading(What::Image(&self.root.into()))(error)
    }
}

/// Takes `digest` and all below it out of `found`, what is below first. It goes as deep as the documents are nested.
fn collect(digest: Digest, found: &mut BTreeMap<Digest, Read>, tree: &mut Tree) {
    // Absent too when it was collected already, or is at the destination.
    let Some(read) = found.remove(&digest) else { return };
    for child in &read.children {
        collect(*child.digest(), found, tree);
    }
    tree.blobs.extend(read.blobs);
    tree.documents.push(read.document);
}
