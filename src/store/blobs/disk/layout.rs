use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;
use crate::spec::digest::{Algorithm, Digest};
use crate::store::blobs::store::BlobInfo;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Where things are: `blobs/<algorithm>/<ab>/<hex>`, and what is being written in `partial/`.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Held while a process comes in and sweeps.
    pub(super) fn gate(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.algorithm(digest.algorithm()).join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    fn algorithm(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs().join(algorithm.as_str())
    }

    /// Calls `found` with each blob from the first `after` that one, in order, until it answers false.
    pub(super) fn scan(
        &self,
        after: Option<Digest>,
        mut found: impl FnMut(BlobInfo) -> bool,
    ) -> io::Result<()> {
        for algorithm in ALGORITHMS {
            if after.is_some_and(|after| after.algorithm() > algorithm) {
                continue;
            }
            let after = after.filter(|after| after.algorithm() == algorithm);
            let first = after.map(|after| after.hex()).unwrap_or_default();
            let directory = self.algorithm(algorithm);
            for shard in names(&directory)? {
                if !is_shard(&shard) || first.get(..2).is_some_and(|first| shard.as_str() < first) {
                    continue;
                }
                let directory = directory.join(&shard);
                for name in names(&directory)? {
                    let Some(digest) = blob_name(algorithm, &shard, &name) else { continue };
                    if after.is_some_and(|after| digest <= after) {
                        continue;
                    }
                    let Some((size, used)) = file_size(&directory.join(name))? else { continue };
                    if !found(BlobInfo::new(digest, size, used)) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What lies among the blobs and is none: paths below `blobs`, shown as text.
    pub(super) fn strangers(&self) -> io::Result<Vec<String>> {
        let mut strangers = Vec::new();
        for algorithm in names(&self.blobs())? {
            let Ok(known) = algorithm.parse::<Algorithm>() else {
                strangers.push(algorithm);
                continue;
            };
            let directory = self.algorithm(known);
            for shard in names(&directory)? {
                if !is_shard(&shard) {
                    strangers.push(format!("{known}/{shard}"));
                    continue;
                }
                let inside = names(&directory.join(&shard))?;
                let odd = inside.iter().filter(|name| blob_name(known, &shard, name).is_none());
                strangers.extend(odd.map(|name| format!("{known}/{shard}/{name}")));
            }
        }
        Ok(strangers)
    }
}

fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn blob_name(algorithm: Algorithm, shard: &str, name: &str) -> Option<Digest> {
    name.starts_with(shard).then(|| format!("{algorithm}:{name}").parse().ok()).flatten()
}

/// Size and time of the last change of a file; `None` when it isn't there or is none.
pub(super) fn file_size(path: &Path) -> io::Result<Option<(u64, SystemTime)>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some((found.len(), found.modified()?))),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is in a directory, in order; nothing when it isn't there or is none.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. Answers whether it was there.
pub(super) fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Makes a directory and those above it, for this user alone. One that is there already is left as it is.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file for reading and writing, for this user alone, and makes it if need be.
pub(super) fn private_file(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).create_new(must_be_new).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads up to `length` bytes at `offset`, whatever others do with the same handle; fewer only at the end.
pub(super) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let filled = fill_at(file, offset, &mut buffer)?;
    buffer.truncate(filled);
    Ok(buffer)
}

/// Fills `buffer` with the bytes at `offset`, like [`read_at`]. Answers how many there were.
pub(super) fn fill_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, rest, offset + filled as u64);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, rest, offset + filled as u64);
        match read {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `data` at `offset`.
pub(super) fn write_at(file: &File, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        #[cfg(unix)]
        let written = std::os::unix::fs::FileExt::write_at(file, data, offset);
        #[cfg(windows)]
        let written = std::os::windows::fs::FileExt::seek_write(file, data, offset);
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                data = data.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The error for people when `what` failed. The message names no path: it may reach clients.
pub(super) fn failed(what: impl std::fmt::Display, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the blob store's disk is full: {what} failed: {error}")
        }
        _ => format!("the blob store's disk: {what} failed: {error}"),
    };
    Error::unavailable(message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_broken_one_are_told_apart() {
        let full = failed("writing a blob", io::ErrorKind::StorageFull.into());
        let text = "the blob store's disk is full: writing a blob failed: no storage space";
        assert_eq!(full.to_string(), text);
        let broken = failed("reading a blob", io::ErrorKind::PermissionDenied.into());
        assert_eq!(broken.to_string(), "the blob store's disk: reading a blob failed: permission denied");
    }

    #[test]
    fn only_digests_in_their_place_are_blobs() {
        let hex = Digest::sha256(b"hello").hex();
        assert_eq!(blob_name(Algorithm::Sha256, "2c", &hex), Some(Digest::sha256(b"hello")));
        assert_eq!(blob_name(Algorithm::Sha256, "2d", &hex), None);
        assert_eq!(blob_name(Algorithm::Sha512, "2c", &hex), None);
        assert_eq!(blob_name(Algorithm::Sha256, "2c", &hex.to_uppercase()), None);
        assert!(is_shard("0f") && !is_shard("0F") && !is_shard("0") && !is_shard("00f"));
    }
}
