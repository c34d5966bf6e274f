use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::Logs;
use crate::build::builds::id::BuildId;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::blocking;

/// Logs in a directory: a file `<id>.log` for each build.
///
/// The directory is made with the first log, for its owner only (mode 0700), and so are the files (0600). Clones share
/// one directory.
#[derive(Clone, Debug)]
pub struct DirectoryLogs {
    directory: Arc<Path>,
}

impl DirectoryLogs {
    /// Logs in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into().into() }
    }

    /// An id is `bd-` and hex digits, so it can't lead out of the directory.
    fn path(&self, id: &BuildId) -> PathBuf {
        self.directory.join(format!("{id}{SUFFIX}"))
    }
}

impl Logs for DirectoryLogs {
    fn append<'a>(&'a self, id: &'a BuildId, bytes: Bytes) -> BoxFuture<'a, Result<u64, Error>> {
        let (directory, path) = (Arc::clone(&self.directory), self.path(id));
        Box::pin(async move {
            blocking(move || append(&directory, &path, &bytes).map_err(|error| failed("write", error)))
                .await?
        })
    }

    fn read<'a>(
        &'a self,
        id: &'a BuildId,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        let path = self.path(id);
        Box::pin(async move {
            blocking(move || read(&path, offset, max).map_err(|error| failed("read", error))).await?
        })
    }

    fn sweep(&self, before: SystemTime) -> BoxFuture<'_, Result<(), Error>> {
        let directory = Arc::clone(&self.directory);
        Box::pin(async move {
            blocking(move || sweep(&directory, before).map_err(|error| failed("remove", error))).await?
        })
    }
}

fn append(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<u64> {
    let mut file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            builder.mode(0o700);
            builder.create(directory)?;
            open(path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    Ok(file.metadata()?.len())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path)
}

fn read(path: &Path, offset: u64, max: usize) -> io::Result<Option<Bytes>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    file.take(max as u64).read_to_end(&mut content)?;
    Ok(Some(content.into()))
}

/// Files of others are left alone.
fn sweep(directory: &Path, before: SystemTime) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if id.is_none_or(|id| id.parse::<BuildId>().is_err()) {
            continue;
        }
        match entry.metadata().and_then(|metadata| metadata.modified()) {
            Ok(modified) if modified < before => fs::remove_file(entry.path())?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The path isn't named: it has the build's id in it.
fn failed(what: impl fmt::Display, error: io::Error) -> Error {
    Error::unavailable(format!("can't {what} the log of a build: {error}")).with_source(error)
}

const SUFFIX: &str = ".log";
