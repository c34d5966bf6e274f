use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::unreadable;
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::spec::name::Repository;
use crate::store::index::View;

/// What has to be known of a manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ManifestRecord {
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    /// When it was last put, in seconds.
    pub(super) put: u64,
    /// The blobs that it needs.
    pub(super) blobs: Vec<Digest>,
    /// The entries of an index.
    pub(super) manifests: Vec<Digest>,
    pub(super) subject: Option<Digest>,
}

/// A blob that a repository shows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    pub(super) size: u64,
    /// When it was last uploaded, mounted or asked for by who may need it, in seconds.
    pub(super) seen: u64,
}

/// An open upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub(super) repository: Repository,
    /// `sha256` or `sha512`.
    pub(super) algorithm: String,
    pub(super) size: u64,
    /// The hasher's state in base64.
    pub(super) hasher: String,
    /// When it was last written to, in seconds.
    pub(super) touched: u64,
    /// Under what its content is about to be kept.
    pub(super) finishing: Option<Digest>,
}

pub(super) fn get<T: DeserializeOwned>(view: &dyn View, key: &[u8]) -> Result<Option<T>, Error> {
    view.get(key)?.map(|value| decode(&value)).transpose()
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| unreadable().with_source(error))
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(record)
        .map_err(|error| Error::internal("a record can't be written").with_source(error))
}

/// The time in records.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
