use std::fmt;

use bytes::Bytes;
use http::Uri;

use super::operations::UploadId;
use crate::body::Body;
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::media_type::MediaType;
use crate::spec::name::{Repository, Tag};
use crate::spec::range::ByteRange;

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident($type:ty),)*) => {
        /// What an [`Operation`](super::Operation) is answered with.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum Reply {
            $($(#[$doc])* $name($type),)*
        }

        $(
            impl From<$type> for Reply {
                fn from(reply: $type) -> Self {
                    Self::$name(reply)
                }
            }

            impl TryFrom<Reply> for $type {
                type Error = Error;

                fn try_from(reply: Reply) -> Result<Self, Error> {
                    match reply {
                        Reply::$name(reply) => Ok(reply),
                        _ => Err(Error::internal(concat!("a service answered with something else than ", stringify!($name)))),
                    }
                }
            }
        )*
    };
}

replies! {
    /// To [`Ping`](super::Ping).
    Pong(Pong),
    /// To [`GetManifest`](super::GetManifest).
    Manifest(Conditional<Manifest>),
    /// To [`PutManifest`](super::PutManifest).
    ManifestCreated(ManifestCreated),
    /// To [`GetBlob`](super::GetBlob).
    Blob(Blob),
    /// To [`StartUpload`](super::StartUpload).
    UploadStarted(UploadStarted),
    /// To [`UploadChunk`](super::UploadChunk) and [`UploadStatus`](super::UploadStatus).
    Upload(UploadState),
    /// To [`FinishUpload`](super::FinishUpload).
    BlobCreated(BlobCreated),
    /// To [`ListTags`](super::ListTags).
    Tags(Tags),
    /// To [`ListReferrers`](super::ListReferrers).
    Referrers(Referrers),
    /// To [`ListRepositories`](super::ListRepositories).
    Repositories(Repositories),
    /// To deletes and to [`CancelUpload`](super::CancelUpload).
    Deleted(Deleted),
}

/// A registry is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pong;

impl Pong {
    /// The answer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

/// An answer to a conditional request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conditional<T> {
    /// The thing itself.
    Full(T),
    /// The caller has it already: `304`.
    NotModified(Digest),
}

impl<T> Conditional<T> {
    /// The thing itself.
    ///
    /// # Errors
    ///
    /// When it was answered with "not modified", which only a conditional request is.
    pub fn full(self) -> Result<T, Error> {
        match self {
            Self::Full(full) => Ok(full),
            Self::NotModified(digest) => Err(Error::internal(format!(
                "{digest} was answered as not modified to an unconditional request"
            ))),
        }
    }
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The type that it is served with.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The content, in its very bytes; absent in answers to a `HEAD`.
    pub content: Option<Bytes>,
}

impl Manifest {
    /// A manifest with its content.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, content: Bytes) -> Self {
        Self { media_type, digest, size: content.len() as u64, content: Some(content) }
    }

    /// What a `HEAD` tells of a manifest.
    #[must_use]
    pub fn head(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, content: None }
    }

    /// The content.
    ///
    /// # Errors
    ///
    /// When there is none, as in the answer to a `HEAD`.
    pub fn content(&self) -> Result<&Bytes, Error> {
        self.content
            .as_ref()
            .ok_or_else(|| Error::internal(format!("the manifest {} came without its content", self.digest)))
    }
}

/// A blob, whole or in parts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Blob {
    /// The digest of the whole.
    pub digest: Digest,
    /// The size of the whole in bytes, where it is known.
    pub size: Option<u64>,
    /// The type that it is served with, if the registry knows better than `application/octet-stream`.
    pub media_type: Option<MediaType>,
    /// What there is of it.
    pub content: BlobContent,
}

impl Blob {
    /// The whole blob.
    #[must_use]
    pub fn whole(digest: Digest, size: Option<u64>, body: Body) -> Self {
        let size = size.or_else(|| body.size());
        Self { digest, size, media_type: None, content: BlobContent::Whole(body) }
    }

    /// What a `HEAD` tells of a blob.
    #[must_use]
    pub fn head(digest: Digest, size: Option<u64>) -> Self {
        Self { digest, size, media_type: None, content: BlobContent::Whole(Body::empty()) }
    }

    /// One part of a blob of `size` bytes.
    #[must_use]
    pub fn part(digest: Digest, size: u64, part: BlobPart) -> Self {
        Self { digest, size: Some(size), media_type: None, content: BlobContent::Part(part) }
    }

    /// The body of a whole blob.
    ///
    /// # Errors
    ///
    /// When the answer is something else: a part, a redirect.
    pub fn into_whole(self) -> Result<Body, Error> {
        match self.content {
            BlobContent::Whole(body) => Ok(body),
            _ => Err(Error::internal(format!("the blob {} was not answered whole", self.digest))),
        }
    }
}

/// What there is of a blob. `Debug` shows of a redirect only the host that it leads to: a signed URL is a credential.
#[non_exhaustive]
pub enum BlobContent {
    /// All of it: `200`. Without bytes in the answer to a `HEAD`.
    Whole(Body),
    /// One part: `206` with `Content-Range`.
    Part(BlobPart),
    /// Several parts: `206` with `multipart/byteranges`.
    Parts(Vec<BlobPart>),
    /// It is elsewhere: `307`. Where it leads isn't verified by us.
    Redirect(Uri),
    /// The caller has it already: `304`.
    NotModified,
}

impl fmt::Debug for BlobContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => f.debug_tuple("Whole").field(body).finish(),
            Self::Part(part) => f.debug_tuple("Part").field(part).finish(),
            Self::Parts(parts) => f.debug_tuple("Parts").field(parts).finish(),
            Self::Redirect(to) => f.debug_tuple("Redirect").field(&to.host().unwrap_or_default()).finish(),
            Self::NotModified => f.write_str("NotModified"),
        }
    }
}

/// One part of a blob.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlobPart {
    /// Which part.
    pub range: ByteRange,
    /// Its bytes.
    pub body: Body,
}

impl BlobPart {
    /// The bytes `body` at `range`.
    #[must_use]
    pub fn new(range: ByteRange, body: Body) -> Self {
        Self { range, body }
    }
}

/// A manifest was kept: `201`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestCreated {
    /// Its digest.
    pub digest: Digest,
    /// The tags that were set beside the reference: `OCI-Tag`.
    pub tags: Vec<Tag>,
    /// The subject, when the registry has taken note of it: `OCI-Subject`.
    pub subject: Option<Digest>,
}

impl ManifestCreated {
    /// A manifest without tags and subject.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { digest, tags: Vec::new(), subject: None }
    }
}

/// A blob was kept: `201`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobCreated {
    /// Its digest.
    pub digest: Digest,
}

impl BlobCreated {
    /// The blob `digest`.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { digest }
    }
}

/// What became of the start of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadStarted {
    /// The blob is there already: mounted, or uploaded in one request. `201`.
    Created(BlobCreated),
    /// An upload is open: `202`.
    Open(UploadState),
}

/// An open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadState {
    /// Its identity.
    pub upload: UploadId,
    /// How many bytes have come.
    pub received: u64,
    /// The smallest chunk in bytes: `OCI-Chunk-Min-Length`.
    pub min_chunk: Option<u64>,
}

impl UploadState {
    /// An upload of which `received` bytes have come.
    #[must_use]
    pub fn new(upload: UploadId, received: u64) -> Self {
        Self { upload, received, min_chunk: None }
    }
}

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tags {
    /// The repository.
    pub repository: Repository,
    /// The tags, sorted.
    pub tags: Vec<Tag>,
    /// The marker of the next page, if there is more.
    pub next: Option<String>,
}

impl Tags {
    /// A page of tags.
    #[must_use]
    pub fn new(repository: Repository, tags: Vec<Tag>, next: Option<String>) -> Self {
        Self { repository, tags, next }
    }
}

/// Manifests that refer to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrers {
    /// Their descriptors.
    pub manifests: Vec<Descriptor>,
    /// Whether the filter by artifact type was applied: `OCI-Filters-Applied`.
    pub filtered: bool,
    /// The marker of the next page, if there is more.
    pub next: Option<String>,
}

impl Referrers {
    /// A page of referrers.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>, filtered: bool, next: Option<String>) -> Self {
        Self { manifests, filtered, next }
    }
}

/// Repositories of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repositories {
    /// Their names, sorted.
    pub repositories: Vec<Repository>,
    /// The marker of the next page, if there is more.
    pub next: Option<String>,
}

impl Repositories {
    /// A page of repositories.
    #[must_use]
    pub fn new(repositories: Vec<Repository>, next: Option<String>) -> Self {
        Self { repositories, next }
    }
}

/// It is gone: `202`, or `204` for an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted;

impl Deleted {
    /// The answer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}
