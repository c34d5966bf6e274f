use std::time::Duration;

use super::memory::Memory;
use super::settings::Settings;

/// Limits and switches of a [`Memory`].
///
/// ```
/// use std::time::Duration;
/// use tower_oci::hosted::Memory;
///
/// let registry = Memory::builder()
///     .max_bytes(64 << 20)
///     .max_uploads(16)
///     .upload_timeout(Duration::from_secs(600))
///     .catalog(true)
///     .build();
/// assert_eq!(registry.usage().bytes, 0);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryBuilder {
    settings: Settings,
    max_bytes: u64,
}

impl MemoryBuilder {
    pub(super) fn new() -> Self {
        Self { settings: Settings::default(), max_bytes: 4 << 30 }
    }

    /// How many bytes are kept at most, unfinished uploads included: 4 GiB when not set. Content that several
    /// repositories share counts once; each tag, manifest, repository, upload and link to a blob counts 512 bytes
    /// more.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The largest blob in bytes: 4 GiB when not set.
    pub fn max_blob(mut self, bytes: u64) -> Self {
        self.settings.max_blob = bytes;
        self
    }

    /// How many uploads may be open at once: 1,024 when not set. When there are as many, the one that has been idle for
    /// longest is given up, if that is a minute at least; else the new one is refused with 429.
    pub fn max_uploads(mut self, count: usize) -> Self {
        self.settings.max_uploads = count;
        self
    }

    /// How long an upload stays open without a request for it: an hour when not set.
    pub fn upload_timeout(mut self, idle: Duration) -> Self {
        self.settings.upload_timeout = idle;
        self
    }

    /// How long the next bytes of an upload may keep us waiting in the middle of a request: a minute when not set.
    pub fn body_timeout(mut self, idle: Duration) -> Self {
        self.settings.body_timeout = idle;
        self
    }

    /// The size in bytes that chunks should have at least, told in `OCI-Chunk-Min-Length`; smaller ones are taken too.
    /// None when not set.
    pub fn min_chunk(mut self, bytes: u64) -> Self {
        self.settings.min_chunk = Some(bytes);
        self
    }

    /// Whether an index may name manifests that aren't there (yet): yes when not set.
    pub fn sparse_indexes(mut self, allowed: bool) -> Self {
        self.settings.sparse_indexes = allowed;
        self
    }

    /// Whether a mount that names no source takes the blob from wherever it is: no when not set, since that would give
    /// a caller blobs of repositories that it may not read.
    pub fn mount_from_anywhere(mut self, allowed: bool) -> Self {
        self.settings.mount_from_anywhere = allowed;
        self
    }

    /// Whether tags, manifests and blobs may be deleted: yes when not set.
    pub fn deletes(mut self, allowed: bool) -> Self {
        self.settings.deletes = allowed;
        self
    }

    /// Whether the list of all repositories is answered: no when not set.
    pub fn catalog(mut self, shown: bool) -> Self {
        self.settings.catalog = shown;
        self
    }

    /// The registry, with nothing in it.
    #[must_use]
    pub fn build(self) -> Memory {
        Memory::with_settings(self.settings, self.max_bytes)
    }
}
