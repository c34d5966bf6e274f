use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;

/// What a plan makes of a source, whole: every document that was read or derived, and every blob that they refer to.
#[derive(Debug)]
pub(super) struct Tree {
    /// The source's manifest or index.
    pub(super) source: Digest,
    /// What is served in its place.
    pub(super) root: Digest,
    manifests: BTreeMap<Digest, Held>,
    blobs: BTreeMap<Digest, Part>,
    kept: BTreeSet<Digest>,
    /// The blobs of the kept manifests, read when one is asked for.
    pub(super) kept_blobs: OnceCell<BTreeSet<Digest>>,
}

/// A manifest in memory.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) media_type: MediaType,
    pub(super) content: Bytes,
    /// The source's document that it stands for; its own digest when it is unchanged.
    pub(super) source: Digest,
}

/// A blob that a document of the tree refers to.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A derived config.
    Config(MediaType, Bytes),
    /// A layer of the plan.
    Injected,
    /// The source's own.
    Source,
}

/// The parts of a tree in the making.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) manifests: Vec<(Digest, Held)>,
    pub(super) blobs: Vec<(Digest, Part)>,
    pub(super) kept: Vec<Digest>,
}

impl Parts {
    pub(super) fn append(&mut self, mut other: Self) {
        self.manifests.append(&mut other.manifests);
        self.blobs.append(&mut other.blobs);
        self.kept.append(&mut other.kept);
    }
}

impl Tree {
    pub(super) fn new(source: Digest, root: Digest, parts: Parts) -> Self {
        let mut blobs = BTreeMap::new();
        for (digest, part) in parts.blobs {
            // What is ours in one image of the tree and the source's in another is served from here.
            if !matches!(part, Part::Source) || !blobs.contains_key(&digest) {
                blobs.insert(digest, part);
            }
        }
        Self {
            source,
            root,
            manifests: parts.manifests.into_iter().collect(),
            blobs,
            kept: parts.kept.into_iter().collect(),
            kept_blobs: OnceCell::new(),
        }
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<&Held> {
        self.manifests.get(digest)
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<&Part> {
        self.blobs.get(digest)
    }

    /// The manifests of the source that an index still names and that nobody has read.
    pub(super) fn kept(&self) -> &BTreeSet<Digest> {
        &self.kept
    }

    /// What the source doesn't have: derived documents and injected layers.
    pub(super) fn derived(&self) -> impl Iterator<Item = &Digest> {
        let manifests = self.manifests.iter().filter(|(digest, held)| **digest != held.source);
        let blobs = self.blobs.iter().filter(|(_, part)| !matches!(part, Part::Source));
        manifests.map(|(digest, _)| digest).chain(blobs.map(|(digest, _)| digest))
    }

    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        let entry = size_of::<(Digest, Held)>();
        let manifests: usize = self.manifests.values().map(|held| held.content.len() + entry).sum();
        let blobs: usize = self.blobs.values().map(|part| part.length() + entry).sum();
        manifests + blobs + self.kept.len() * entry
    }
}

impl Part {
    fn length(&self) -> usize {
        match self {
            Self::Config(_, content) => content.len(),
            Self::Injected | Self::Source => 0,
        }
    }
}
