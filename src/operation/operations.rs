use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::condition::{Accept, Conditions};
use crate::body::Body;
use crate::error::{Error, ErrorCode};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::media_type::MediaType;
use crate::spec::name::{Reference, Repository, Tag};
use crate::spec::page::Page;
use crate::spec::range::{ByteRange, Ranges};

/// `GET /v2/` (end-1): whether a registry is there, and whether the caller may use it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ping;

impl Ping {
    /// The question.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

/// `GET` or `HEAD /v2/<name>/manifests/<tag-or-digest>` (end-3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GetManifest {
    /// The repository.
    pub repository: Repository,
    /// The tag or the digest.
    pub reference: Reference,
    /// Whether only type, digest and size are asked for: `HEAD`.
    pub head: bool,
    /// What the caller already has.
    pub conditions: Conditions,
    /// The types that the caller says it understands. It changes neither the content nor a cache's key.
    pub accept: Accept,
}

impl GetManifest {
    /// A `GET` without conditions.
    #[must_use]
    pub fn new(repository: Repository, reference: Reference) -> Self {
        Self {
            repository,
            reference,
            head: false,
            conditions: Conditions::default(),
            accept: Accept::default(),
        }
    }

    /// A `HEAD` without conditions.
    #[must_use]
    pub fn head(repository: Repository, reference: Reference) -> Self {
        Self { head: true, ..Self::new(repository, reference) }
    }
}

/// `PUT /v2/<name>/manifests/<tag-or-digest>` (end-7a, end-7b).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PutManifest {
    /// The repository.
    pub repository: Repository,
    /// The tag or the digest.
    pub reference: Reference,
    /// Further tags for a manifest that is put by digest: the `tag` parameters.
    pub tags: Vec<Tag>,
    /// The `Content-Type`, without parameters.
    pub media_type: Option<MediaType>,
    /// The manifest, to be kept to the byte.
    pub content: Bytes,
}

impl PutManifest {
    /// The most `tag` parameters in one request: the specification asks for 10 at least.
    pub const MAX_TAGS: usize = 64;

    /// A manifest under one reference.
    #[must_use]
    pub fn new(repository: Repository, reference: Reference, media_type: MediaType, content: Bytes) -> Self {
        Self { repository, reference, tags: Vec::new(), media_type: Some(media_type), content }
    }
}

/// `DELETE /v2/<name>/manifests/<tag-or-digest>` (end-9).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeleteManifest {
    /// The repository.
    pub repository: Repository,
    /// A tag, which alone goes, or a digest, whose tags go too.
    pub reference: Reference,
}

impl DeleteManifest {
    /// Deletes a tag or a manifest.
    #[must_use]
    pub fn new(repository: Repository, reference: Reference) -> Self {
        Self { repository, reference }
    }
}

/// `GET` or `HEAD /v2/<name>/blobs/<digest>` (end-2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GetBlob {
    /// The repository.
    pub repository: Repository,
    /// The digest.
    pub digest: Digest,
    /// Whether only the size is asked for: `HEAD`.
    pub head: bool,
    /// The parts that are asked for; all when absent.
    pub range: Option<Ranges>,
    /// What the caller already has.
    pub conditions: Conditions,
}

impl GetBlob {
    /// A `GET` of the whole blob.
    #[must_use]
    pub fn new(repository: Repository, digest: Digest) -> Self {
        Self { repository, digest, head: false, range: None, conditions: Conditions::default() }
    }

    /// A `HEAD`.
    #[must_use]
    pub fn head(repository: Repository, digest: Digest) -> Self {
        Self { head: true, ..Self::new(repository, digest) }
    }

    /// A `GET` of parts.
    #[must_use]
    pub fn ranges(repository: Repository, digest: Digest, ranges: Ranges) -> Self {
        Self { range: Some(ranges), ..Self::new(repository, digest) }
    }
}

/// `DELETE /v2/<name>/blobs/<digest>` (end-10).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeleteBlob {
    /// The repository.
    pub repository: Repository,
    /// The digest.
    pub digest: Digest,
}

impl DeleteBlob {
    /// Deletes a blob from a repository.
    #[must_use]
    pub fn new(repository: Repository, digest: Digest) -> Self {
        Self { repository, digest }
    }
}

/// `POST /v2/<name>/blobs/uploads/` (end-4a, end-4b, end-4c, end-11): opens an upload, mounts a blob of another
/// repository, or uploads a blob in this one request.
#[derive(Debug)]
#[non_exhaustive]
pub struct StartUpload {
    /// The repository.
    pub repository: Repository,
    /// The algorithm of the digest to come: `digest-algorithm`.
    pub algorithm: Option<Algorithm>,
    /// The blob to mount, if it can be; else an upload is opened.
    pub mount: Option<Mount>,
    /// The whole blob, if it comes with the request.
    pub single: Option<SingleUpload>,
}

impl StartUpload {
    /// Opens an upload.
    #[must_use]
    pub fn new(repository: Repository) -> Self {
        Self { repository, algorithm: None, mount: None, single: None }
    }
}

/// A blob that should be mounted from elsewhere in the same registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// The digest.
    pub digest: Digest,
    /// The repository that has it; the registry may look for itself when absent.
    pub from: Option<Repository>,
}

impl Mount {
    /// Mounts `digest` from the repository `from`.
    #[must_use]
    pub fn new(digest: Digest, from: Option<Repository>) -> Self {
        Self { digest, from }
    }
}

/// A blob that comes in a single request.
#[derive(Debug)]
#[non_exhaustive]
pub struct SingleUpload {
    /// The digest that the content must have.
    pub digest: Digest,
    /// The announced length in bytes.
    pub length: Option<u64>,
    /// The content.
    pub body: Body,
}

impl SingleUpload {
    /// The content `body` of `length` bytes with its digest.
    #[must_use]
    pub fn new(digest: Digest, length: Option<u64>, body: Body) -> Self {
        Self { digest, length, body }
    }
}

/// The identity of an open upload: one path component, opaque to everybody but who made it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// The longest identity in bytes.
    pub const MAX_LEN: usize = 2048;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = Error;

    /// Letters, digits, `-`, `_`, `.`, `~` and `=`, but neither `.` nor `..`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~=".contains(&b);
        if text.is_empty()
            || text.len() > Self::MAX_LEN
            || !text.bytes().all(allowed)
            || text.starts_with('.')
        {
            return Err(Error::invalid(ErrorCode::BlobUploadInvalid, "the upload's identity is malformed"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({})", self.0)
    }
}

/// `PATCH <blob-push-location>` (end-5): the next chunk of an upload.
#[derive(Debug)]
#[non_exhaustive]
pub struct UploadChunk {
    /// The repository.
    pub repository: Repository,
    /// The upload.
    pub upload: UploadId,
    /// Where the chunk belongs: `Content-Range`. At the end of what is there when absent.
    pub range: Option<ByteRange>,
    /// The announced length in bytes.
    pub length: Option<u64>,
    /// The chunk.
    pub body: Body,
}

impl UploadChunk {
    /// The chunk `body` at the end of what is there.
    #[must_use]
    pub fn new(repository: Repository, upload: UploadId, body: Body) -> Self {
        Self { repository, upload, range: None, length: body.size(), body }
    }
}

/// `PUT <blob-push-location>?digest=<digest>` (end-6): the end of an upload, maybe with the last chunk.
#[derive(Debug)]
#[non_exhaustive]
pub struct FinishUpload {
    /// The repository.
    pub repository: Repository,
    /// The upload.
    pub upload: UploadId,
    /// The digest of the whole blob.
    pub digest: Digest,
    /// Where the last chunk belongs, if there is one.
    pub range: Option<ByteRange>,
    /// The announced length of the last chunk in bytes.
    pub length: Option<u64>,
    /// The last chunk; empty when all has come before.
    pub body: Body,
}

impl FinishUpload {
    /// Ends an upload with the chunk `body`, maybe empty.
    #[must_use]
    pub fn new(repository: Repository, upload: UploadId, digest: Digest, body: Body) -> Self {
        Self { repository, upload, digest, range: None, length: body.size(), body }
    }
}

/// `GET <blob-push-location>` (end-13): how far an upload is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadStatus {
    /// The repository.
    pub repository: Repository,
    /// The upload.
    pub upload: UploadId,
}

impl UploadStatus {
    /// Asks how far an upload is.
    #[must_use]
    pub fn new(repository: Repository, upload: UploadId) -> Self {
        Self { repository, upload }
    }
}

/// `DELETE <blob-push-location>` (end-14): gives an upload up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CancelUpload {
    /// The repository.
    pub repository: Repository,
    /// The upload.
    pub upload: UploadId,
}

impl CancelUpload {
    /// Gives an upload up.
    #[must_use]
    pub fn new(repository: Repository, upload: UploadId) -> Self {
        Self { repository, upload }
    }
}

/// `GET /v2/<name>/tags/list` (end-8a, end-8b).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListTags {
    /// The repository.
    pub repository: Repository,
    /// The part of the list that is asked for.
    pub page: Page,
}

impl ListTags {
    /// The first page, of the registry's own size.
    #[must_use]
    pub fn new(repository: Repository) -> Self {
        Self { repository, page: Page::default() }
    }
}

/// `GET /v2/<name>/referrers/<digest>` (end-12a, end-12b).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListReferrers {
    /// The repository.
    pub repository: Repository,
    /// The digest that the listed manifests have as `subject`.
    pub digest: Digest,
    /// Only those of this type.
    pub artifact_type: Option<String>,
    /// The part of the list that is asked for.
    pub page: Page,
}

impl ListReferrers {
    /// The first page, unfiltered.
    #[must_use]
    pub fn new(repository: Repository, digest: Digest) -> Self {
        Self { repository, digest, artifact_type: None, page: Page::default() }
    }
}

/// `GET /v2/_catalog`: the repositories of a registry. Not in the specification, but Docker's registry has it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListRepositories {
    /// The part of the list that is asked for.
    pub page: Page,
}

impl ListRepositories {
    /// The first page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
