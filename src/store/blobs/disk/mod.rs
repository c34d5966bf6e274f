mod buffers;
mod fsck;
mod instance;
mod layout;
mod read;
mod spool;
mod writer;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use self::buffers::Buffers;
pub use self::fsck::{Damage, FsckReport};
use self::instance::Instance;
use self::layout::{Layout, failed, file_size, is_absent, remove_file};
use self::writer::DiskWriter;
use super::fill;
use super::store::{BlobInfo, BlobStore, BlobWriter, StoredBlob, Usage};
use crate::body::Body;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::blocking;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::range::ByteRange;
use crate::store::sendfile::SendFile;

/// Blobs in a directory, which several processes may share.
///
/// ```text
/// <directory>/blobs/<algorithm>/<ab>/<hex>    a blob: never changed, only replaced or removed
/// <directory>/partial/                        what is being written, a place for each store that is open
/// <directory>/lock                            held while a store opens
/// ```
///
/// The files are all there is: no index, nothing to rebuild, and `usage` and `list` read the directories. A blob comes
/// in by a rename, after its size and digest have been checked. What a process leaves behind in `partial` when it is
/// killed is removed by the next store that opens the directory; what living ones write is left alone. The file system
/// has to have file locks.
///
/// Work on files is done on tokio's threads for blocking work; only what is in the page cache is read on the spot, where
/// the system can say so (Linux). A reader is given frames of 8 KiB at first and of 64 KiB later, each in memory of its
/// own until it is sent: how many those are is up to who serves it. With the feature `sendfile` a connection can be given
/// the file itself. A blob of up to 256 KiB touches the disk only when it
/// is committed; of a larger one up to 1 MiB waits in memory to be written. Directories are made for their owner only (mode 0700). Clones share one store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("cache");
/// use tower_oci::spec::digest::Digest;
/// use tower_oci::store::blobs::{BlobStore, DiskBlobs};
///
/// let blobs = DiskBlobs::open(&directory).await?;
/// let digest = Digest::sha256(b"hello");
/// blobs.put(digest, Some(5), "hello".into()).await?;
/// assert_eq!(blobs.stat(digest).await?, Some(5));
/// assert_eq!(blobs.fsck().await?.damaged.len(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DiskBlobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    instance: Instance,
    /// The number of the next partial file.
    next: AtomicU64,
    buffers: Buffers,
    sync: bool,
    verify_on_read: bool,
}

impl DiskBlobs {
    /// Opens the store in `directory`, which is made if need be, with the settings of [`DiskBlobs::builder`].
    ///
    /// # Errors
    ///
    /// When the directory can't be made, written or locked.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(directory).open().await
    }

    /// Settings for a store in `directory`.
    pub fn builder(directory: impl Into<PathBuf>) -> DiskBlobsBuilder {
        DiskBlobsBuilder { directory: directory.into(), sync: false, verify_on_read: false }
    }

    /// Makes `file` the blob `digest`, by a rename: the caller has checked its content, and brought it to the disk where
    /// that is wanted. It blocks the thread.
    pub(crate) fn adopt(&self, file: &Path, digest: Digest) -> Result<(), Error> {
        self.inner.name(file, digest).map_err(|error| failed(format_args!("keeping {digest}"), error))
    }

    /// Where the blob is, if it is here.
    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.inner.layout.blob(digest)
    }

    /// Runs `work` on the files, on a thread where it holds up nothing else.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).await?
    }
}

/// Settings of a [`DiskBlobs`].
#[derive(Clone, Debug)]
#[must_use]
pub struct DiskBlobsBuilder {
    directory: PathBuf,
    sync: bool,
    verify_on_read: bool,
}

impl DiskBlobsBuilder {
    /// Whether a blob is on the disk itself, its name included, before it is visible (default: no).
    ///
    /// Without it, nothing is lost when a process is killed, but when the machine loses power, blobs that came in shortly
    /// before may be damaged: run [`DiskBlobs::fsck`] then. With it, each blob costs the disk a flush or two.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Whether blobs are hashed again when they are read (default: no).
    ///
    /// A blob that turns out damaged is removed; its body fails before its end. For a range, the whole blob is read
    /// first, and a damaged one counts as absent.
    pub fn verify_on_read(mut self, verify_on_read: bool) -> Self {
        self.verify_on_read = verify_on_read;
        self
    }

    /// Opens the store, and sweeps what dead processes left.
    ///
    /// # Errors
    ///
    /// When the directory can't be made, written or locked.
    pub async fn open(self) -> Result<DiskBlobs, Error> {
        blocking(move || {
            let layout = Layout::new(self.directory);
            let instance = Instance::start(&layout)
                .map_err(|error| failed(format_args!("opening `{}`", layout.root().display()), error))?;
            let (sync, verify_on_read) = (self.sync, self.verify_on_read);
            let (next, buffers) = (AtomicU64::new(0), Buffers::default());
            let inner = Inner { layout, instance, next, buffers, sync, verify_on_read };
            Ok(DiskBlobs { inner: Arc::new(inner) })
        })
        .await?
    }
}

impl Inner {
    /// Opens a blob. Answers its file and its size.
    fn file(&self, digest: Digest) -> Result<Option<(File, u64)>, Error> {
        let opened = File::open(self.layout.blob(digest)).and_then(|file| {
            let found = file.metadata()?;
            Ok(found.is_file().then_some((file, found.len())))
        });
        match opened {
            Err(error) if is_absent(&error) => Ok(None),
            opened => opened.map_err(|error| failed(format_args!("opening {digest}"), error)),
        }
    }

    fn stat(&self, digest: Digest) -> Result<Option<u64>, Error> {
        let found = file_size(&self.layout.blob(digest));
        let found = found.map_err(|error| failed(format_args!("looking up {digest}"), error))?;
        Ok(found.map(|(size, _)| size))
    }

    fn touch(&self, digest: Digest) -> Result<bool, Error> {
        let opened = File::options().write(true).open(self.layout.blob(digest));
        match opened.and_then(|file| file.set_modified(SystemTime::now())) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(failed(format_args!("touching {digest}"), error)),
        }
    }

    fn remove(&self, digest: Digest) -> Result<bool, Error> {
        remove_file(&self.layout.blob(digest))
            .map_err(|error| failed(format_args!("removing {digest}"), error))
    }

    fn usage(&self) -> Result<Usage, Error> {
        let mut usage = Usage::default();
        let scanned = self.layout.scan(None, |blob| {
            usage.blobs += 1;
            usage.bytes = usage.bytes.saturating_add(blob.size);
            true
        });
        scanned.map(|()| usage).map_err(listing_failed)
    }

    /// What the file system has left for this user.
    #[cfg(unix)]
    fn free_space(&self) -> Result<Option<u64>, Error> {
        let found = rustix::fs::statvfs(self.layout.root());
        let found = found.map_err(|error| failed("asking for free space", error.into()))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    #[cfg(not(unix))]
    fn free_space(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<BlobInfo>, Error> {
        let mut listed = Vec::new();
        if max > 0 {
            let scanned = self.layout.scan(after, |blob| {
                listed.push(blob);
                listed.len() < max
            });
            scanned.map_err(listing_failed)?;
        }
        Ok(listed)
    }
}

fn listing_failed(error: io::Error) -> Error {
    failed("listing the blobs", error)
}

impl BlobStore for DiskBlobs {
    fn stat(&self, digest: Digest) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(self.run(move |inner| inner.stat(digest)))
    }

    fn get(
        &self,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'_, Result<Option<StoredBlob>, Error>> {
        Box::pin(read::get(&self.inner, None, digest, range))
    }

    fn get_for<'a>(
        &'a self,
        connection: &'a SendFile,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'a, Result<Option<StoredBlob>, Error>> {
        Box::pin(read::get(&self.inner, Some(connection), digest, range))
    }

    fn create(
        &self,
        algorithm: Algorithm,
        _: Option<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, Error>> {
        let writer: Box<dyn BlobWriter> = Box::new(DiskWriter::new(&self.inner, algorithm));
        Box::pin(std::future::ready(Ok(writer)))
    }

    fn put(&self, digest: Digest, size: Option<u64>, body: Body) -> BoxFuture<'_, Result<u64, Error>> {
        match body.as_bytes().cloned() {
            // One visit to another thread in place of one for each step.
            Some(content) => Box::pin(self.run(move |inner| inner.put(digest, size, &content))),
            None => Box::pin(fill::put(self, digest, size, body)),
        }
    }

    fn touch(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.run(move |inner| inner.touch(digest)))
    }

    fn remove(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.run(move |inner| inner.remove(digest)))
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, Error>> {
        Box::pin(self.run(Inner::usage))
    }

    fn free_space(&self) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(self.run(Inner::free_space))
    }

    fn list(&self, after: Option<Digest>, max: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, Error>> {
        Box::pin(self.run(move |inner| inner.list(after, max)))
    }
}

impl fmt::Debug for DiskBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskBlobs")
            .field("directory", &self.inner.layout.root())
            .field("sync", &self.inner.sync)
            .field("verify_on_read", &self.inner.verify_on_read)
            .finish()
    }
}

#[cfg(test)]
mod tests;
