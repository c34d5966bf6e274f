//! What is done when a registry is opened, whatever became of the process that had it open before.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Inner;
use super::file::{Upload, failed};
use super::keys::{Kind, parts};
use super::records::{UploadRecord, decode};
use super::scan::collect;
use crate::error::Error;
use crate::operation::UploadId;
use crate::spec::digest::{Algorithm, Hasher};
use crate::store::index::View;

/// The version of what is in the index.
const VERSION: &[u8] = b"1";

impl Inner {
    /// Opens the uploads again that were open, and removes the files of others.
    pub(super) fn recover(&self) -> Result<(), Error> {
        self.write(|batch| {
            let key = Kind::Version.key(&[]);
            match batch.get(&key)? {
                None => batch.put(&key, VERSION),
                Some(version) if version == VERSION => Ok(()),
                Some(_) => Err(Error::unsupported("the registry's index is of another version")),
            }
        })?;
        let (mut open, mut gone) = (HashSet::new(), Vec::new());
        for (id, record) in self.read(open_uploads)? {
            if self.reopen(&id, record)? {
                open.insert(id.as_str().to_owned());
            } else {
                gone.push(id);
            }
        }
        if !gone.is_empty() {
            self.discard(gone, |_| Ok(()))?;
        }
        for name in self.directory.names()? {
            if !open.contains(&name)
                && let Ok(id) = name.parse::<UploadId>()
            {
                self.directory.remove(&id)?;
            }
        }
        Ok(())
    }

    /// Answers whether the upload can go on.
    fn reopen(&self, id: &UploadId, record: UploadRecord) -> Result<bool, Error> {
        let idle = Duration::from_secs(self.now().saturating_sub(record.touched));
        let state = BASE64_STANDARD.decode(&record.hasher).unwrap_or_default();
        let Ok(algorithm) = record.algorithm.parse::<Algorithm>() else { return Ok(false) };
        let Some(hasher) = Hasher::restore(algorithm, &state) else { return Ok(false) };
        if idle >= self.settings.upload_timeout {
            return Ok(false);
        }
        let path = self.directory.file(id);
        if record.size > 0 && !path.exists() {
            // The process was killed after the file became a blob, and before the index said so: the client doesn't know,
            // and may go on as if it had not.
            let digest = record.finishing.unwrap_or_else(|| hasher.clone().finish());
            let blob = self.blobs.path(digest);
            if !blob.exists() {
                return Ok(false);
            }
            fs::copy(blob, &path).map_err(|error| failed("restoring an upload", error))?;
        }
        let mut upload = Upload::at(&self.directory, id.clone(), algorithm, hasher, record.size);
        upload.set_recorded();
        self.uploads.restore(id.clone(), record.repository, upload, idle);
        Ok(true)
    }
}

fn open_uploads(view: &dyn View) -> Result<Vec<(UploadId, UploadRecord)>, Error> {
    collect(view, &Kind::Upload.below(&[]), usize::MAX, |key, value| {
        let [id] = parts(key)?;
        Ok(Some((id.parse()?, decode(value)?)))
    })
}
