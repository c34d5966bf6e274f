use std::collections::BTreeSet;

use crate::client::transport::HttpService;
use crate::spec::json::MAX_DOCUMENT;

/// What a registry may offer or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Anything is written at all; see [`Target::read_only`].
    Push,
    /// A blob is pushed with a single `POST`.
    SinglePost,
    /// A blob is pushed in chunks.
    Chunks,
    /// An upload is cancelled.
    Cancel,
    /// A blob is mounted from another repository.
    Mount,
    /// A blob is mounted though nobody says where it is.
    MountWithoutFrom,
    /// `tag` parameters when a manifest is pushed by digest.
    TagParameters,
    /// Digests by SHA-512.
    Sha512,
    /// Indexes whose manifests aren't there.
    SparseIndexes,
    /// Manifests of types that aren't known.
    UnknownManifests,
    /// `Link` to the next page of tags.
    TagLinks,
    /// The list of referrers.
    Referrers,
    /// `OCI-Subject`. Without it the suite keeps the referrers tag, as clients do.
    Subject,
    /// Tags are deleted.
    TagDeletes,
    /// Manifests are deleted.
    ManifestDeletes,
    /// Blobs are deleted.
    BlobDeletes,
    /// Ranges of blobs.
    Ranges,
    /// `ETag` and conditions on it.
    Conditions,
    /// The list of repositories.
    Catalog,
}

/// The registry that is checked, and what is known of it.
///
/// See [the module](super) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct Target {
    pub(super) url: String,
    pub(super) seed: Option<String>,
    pub(super) http: Option<HttpService>,
    pub(super) prefix: String,
    pub(super) min_chunk: Option<u64>,
    pub(super) max_manifest: usize,
    absent: BTreeSet<Feature>,
}

impl Target {
    /// The registry at `url`: scheme and host, such as `http://127.0.0.1:5000`.
    ///
    /// It is taken to offer everything, to have no minimum for chunks, and to take manifests of up to 4 MiB.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            seed: None,
            http: None,
            prefix: "conformance".to_owned(),
            min_chunk: None,
            max_manifest: MAX_DOCUMENT,
            absent: BTreeSet::new(),
        }
    }

    /// Nothing can be written: what is to be read is put into the registry at the URL `seed`, which shows it here.
    pub fn read_only(mut self, seed: impl Into<String>) -> Self {
        self.seed = Some(seed.into());
        self.without([Feature::Push, Feature::TagDeletes, Feature::ManifestDeletes, Feature::BlobDeletes])
    }

    /// It doesn't offer these.
    pub fn without(mut self, features: impl IntoIterator<Item = Feature>) -> Self {
        self.absent.extend(features);
        self
    }

    /// It asks for chunks of at least so many bytes.
    pub fn min_chunk(mut self, bytes: u64) -> Self {
        self.min_chunk = Some(bytes);
        self
    }

    /// It takes manifests of up to so many bytes: 4 MiB when not set.
    pub fn max_manifest(mut self, bytes: usize) -> Self {
        self.max_manifest = bytes;
        self
    }

    /// What the names of all repositories start with: `conformance` when not set.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// What requests go through: for credentials, a certificate of one's own, or hosts that locations lead to. Without
    /// it, connections go to the hosts of the two URLs and to public addresses.
    pub fn http(mut self, http: HttpService) -> Self {
        self.http = Some(http);
        self
    }

    /// Whether it offers this, as far as is known.
    pub(super) fn offers(&self, feature: Feature) -> bool {
        !self.absent.contains(&feature)
    }
}
