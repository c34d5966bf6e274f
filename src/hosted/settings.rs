use std::time::Duration;

use super::chunk::Limits;
use crate::error::Error;

/// Limits and switches that both leaves have.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) max_blob: u64,
    pub(super) max_uploads: usize,
    pub(super) upload_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) min_chunk: Option<u64>,
    pub(super) sparse_indexes: bool,
    pub(super) mount_from_anywhere: bool,
    pub(super) deletes: bool,
    pub(super) catalog: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_blob: 4 << 30,
            max_uploads: 1024,
            upload_timeout: Duration::from_secs(3600),
            body_timeout: Duration::from_secs(60),
            min_chunk: None,
            sparse_indexes: true,
            mount_from_anywhere: false,
            deletes: true,
            catalog: false,
        }
    }
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits { max_blob: self.max_blob, body_timeout: self.body_timeout }
    }

    pub(super) fn allow_deletes(&self) -> Result<(), Error> {
        match self.deletes {
            true => Ok(()),
            false => Err(Error::unsupported("nothing can be deleted from this registry")),
        }
    }

    pub(super) fn allow_catalog(&self) -> Result<(), Error> {
        match self.catalog {
            true => Ok(()),
            false => Err(Error::unsupported("this registry doesn't list its repositories")),
        }
    }
}
