use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::Error;
use crate::hosted::uploads::Held;
use crate::operation::UploadId;
use crate::spec::digest::{Algorithm, Digest, Hasher};

/// How many bytes wait in memory before they are written.
pub(super) const PIECE: usize = 256 * 1024;

/// Where the files of uploads are, and which are to be removed.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    abandoned: Mutex<Vec<UploadId>>,
}

impl Directory {
    /// Opens the directory, which is made if need be, for this user alone.
    pub(super) fn open(path: PathBuf) -> Result<Arc<Self>, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| failed("making a directory", error))?;
        Ok(Arc::new(Self { path, abandoned: Mutex::default() }))
    }

    /// An identity has letters, digits and a few harmless signs, so this never leads out of the directory.
    pub(super) fn file(&self, id: &UploadId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Uploads that were given up, and of which nothing may stay.
    pub(super) fn take_abandoned(&self) -> Vec<UploadId> {
        std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn abandon(&self, id: UploadId) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    /// Removes a file. Answers whether it was there.
    pub(super) fn remove(&self, id: &UploadId) -> Result<bool, Error> {
        match fs::remove_file(self.file(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("removing an upload", error)),
        }
    }

    /// The names of all files.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.path).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        });
        entries.map_err(|error| failed("listing the uploads", error))
    }
}

/// What has come of a blob: in a file, and in memory what isn't written yet. Idle, it holds no file open.
#[derive(Debug)]
pub(super) struct Upload {
    directory: Arc<Directory>,
    pub(super) id: UploadId,
    algorithm: Algorithm,
    /// Of what is in the file.
    hasher: Hasher,
    written: u64,
    tail: Vec<Bytes>,
    waiting: u64,
    file: Option<Arc<File>>,
    /// How many bytes the index knows of, if it knows of the upload at all; else its file goes with it.
    recorded: Option<u64>,
}

/// Where an upload stood.
#[derive(Debug)]
pub(super) struct Mark {
    hasher: Hasher,
    written: u64,
}

impl Upload {
    pub(super) fn new(directory: &Arc<Directory>, id: UploadId, algorithm: Algorithm) -> Self {
        Self::at(directory, id, algorithm, Hasher::new(algorithm), 0)
    }

    /// One of which `written` bytes are in the file.
    pub(super) fn at(
        directory: &Arc<Directory>,
        id: UploadId,
        algorithm: Algorithm,
        hasher: Hasher,
        written: u64,
    ) -> Self {
        let directory = Arc::clone(directory);
        let (tail, waiting, file, recorded) = (Vec::new(), 0, None, None);
        Self { directory, id, algorithm, hasher, written, tail, waiting, file, recorded }
    }

    /// Notes that the index knows of it as it stands; its file is left to the index from now on.
    pub(super) fn set_recorded(&mut self) {
        self.recorded = Some(self.written);
    }

    pub(super) fn recorded(&self) -> Option<u64> {
        self.recorded
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The state of the hasher, once all is [flushed](Self::flush).
    pub(super) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.file(&self.id)
    }

    /// Where it stands, when nothing waits.
    pub(super) fn mark(&self) -> Mark {
        Mark { hasher: self.hasher.clone(), written: self.written }
    }

    /// Forgets what came since. The file may be longer then; that is cut off when it is finished.
    pub(super) fn return_to(&mut self, mark: Mark) {
        (self.hasher, self.written) = (mark.hasher, mark.written);
        (self.tail, self.waiting) = (Vec::new(), 0);
    }

    /// Answers whether it is time to flush.
    pub(super) fn push(&mut self, data: Bytes) -> bool {
        self.waiting = self.waiting.saturating_add(data.len() as u64);
        if !data.is_empty() {
            self.tail.push(data);
        }
        self.waiting >= PIECE as u64
    }

    /// Writes what waits. It blocks the thread.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let (file, mut at) = (self.file()?, self.written);
        for piece in &self.tail {
            write_at(&file, at, piece).map_err(|error| failed("writing an upload", error))?;
            at = at.saturating_add(piece.len() as u64);
        }
        for piece in self.tail.drain(..) {
            self.hasher.update(&piece);
        }
        (self.written, self.waiting) = (at, 0);
        Ok(())
    }

    /// What is there is on the disk itself afterwards. It blocks the thread.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let file = self.file()?;
        file.sync_all().map_err(|error| failed("writing an upload", error))
    }

    /// Brings the file to its length, and closes it. Answers its digest. It blocks the thread.
    pub(super) fn seal(&mut self, algorithm: Algorithm, sync: bool) -> Result<Digest, Error> {
        self.flush()?;
        let (written, own) = (self.written, self.algorithm);
        let file = self.file()?;
        file.set_len(written).map_err(|error| failed("writing an upload", error))?;
        let found = if algorithm == own {
            None
        } else {
            // Announced by neither `digest-algorithm` nor a single request: all is hashed once more.
            Some(hash(&file, algorithm).map_err(|error| failed("reading an upload", error))?)
        };
        if sync {
            file.sync_all().map_err(|error| failed("writing an upload", error))?;
        }
        self.file = None;
        Ok(found.unwrap_or_else(|| self.hasher.clone().finish()))
    }

    /// The file, opened and made if need be.
    fn file(&mut self) -> Result<Arc<File>, Error> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let (opening, path) = (|error| failed("opening an upload", error), self.path());
        let mut options = File::options();
        // One of which something has come is there already.
        options.read(true).write(true).create(self.written == 0).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.written > 0 => return Err(lost()),
            opened => Arc::new(opened.map_err(opening)?),
        };
        if file.metadata().map_err(opening)?.len() < self.written {
            return Err(lost());
        }
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

impl Held for Upload {
    fn received(&self) -> u64 {
        self.written.saturating_add(self.waiting)
    }

    fn put_down(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, upload = %self.id, "the end of what has come of an upload is lost");
            (self.tail, self.waiting) = (Vec::new(), 0);
        }
        self.file = None;
    }

    fn abandon(&mut self) {
        self.directory.abandon(self.id.clone());
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.recorded.is_none()
            && let Err(error) = self.directory.remove(&self.id)
        {
            tracing::warn!(%error, "the file of an upload can't be removed");
        }
    }
}

fn lost() -> Error {
    Error::corrupt("a part of the upload was lost; start again")
}

fn hash(file: &File, algorithm: Algorithm) -> io::Result<Digest> {
    let (mut hasher, mut buffer, mut at) = (Hasher::new(algorithm), vec![0; PIECE], 0);
    loop {
        match read_at(file, at, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                at += read as u64;
            }
        }
    }
}

fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buffer, at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, at);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn write_at(file: &File, mut at: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        #[cfg(unix)]
        let written = std::os::unix::fs::FileExt::write_at(file, data, at);
        #[cfg(windows)]
        let written = std::os::windows::fs::FileExt::seek_write(file, data, at);
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                data = data.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The error for people when `what` failed. The message names no path: it may reach clients.
pub(super) fn failed(what: &str, error: io::Error) -> Error {
    Error::unavailable(format!("the registry's disk: {what} failed: {error}")).with_source(error)
}
