//! The records of builds: states, requests, and the build that a target last had.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::id::BuildId;
use super::record::{Lease, Recorded, decode_request, encode_request};
use crate::build::BuildRequest;
use crate::error::Error;
use crate::rt::Clock;
use crate::spec::digest::{Digest, hex};
use crate::spec::name::ImageName;
use crate::store::Records;

#[derive(Debug)]
pub(super) struct Ledger {
    records: Arc<dyn Records>,
    clock: Clock,
    /// The name of this process among those that share the records.
    owner: String,
    /// No other process has them.
    exclusive: bool,
    retention: Duration,
}

impl Ledger {
    pub(super) fn new(
        records: Arc<dyn Records>,
        clock: Clock,
        exclusive: bool,
        retention: Duration,
    ) -> Result<Self, Error> {
        let mut owner = [0; 8];
        getrandom::fill(&mut owner)
            .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
        Ok(Self { records, clock, owner: hex(&owner), exclusive, retention })
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Whether others may work on the same records.
    pub(super) fn is_shared(&self) -> bool {
        !self.exclusive
    }

    /// What was last touched before this is forgotten.
    pub(super) fn forgotten(&self) -> SystemTime {
        self.now().checked_sub(self.retention).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(super) async fn state(&self, id: &BuildId) -> Result<Option<Recorded>, Error> {
        let record = self.records.get(&state_key(id)).await?;
        record.map(|bytes| Recorded::decode(&bytes)).transpose()
    }

    /// Keeps a state. While the build isn't ended it is this process's from now on, unless it is let go.
    pub(super) async fn put_state(&self, recorded: &mut Recorded, holds: bool) -> Result<(), Error> {
        let now = self.now();
        recorded.lease = (holds && !recorded.state.is_ended())
            .then(|| Lease::new(&self.owner, now.checked_add(LEASE).unwrap_or(now)));
        self.put(&state_key(&recorded.state.id), recorded.encode()?).await
    }

    pub(super) async fn request(&self, id: &BuildId) -> Result<Option<BuildRequest>, Error> {
        let record = self.records.get(&request_key(id)).await?;
        record.map(|bytes| decode_request(&bytes)).transpose()
    }

    pub(super) async fn put_request(&self, id: &BuildId, request: &BuildRequest) -> Result<(), Error> {
        self.put(&request_key(id), encode_request(request)?).await
    }

    /// The last build of a target.
    pub(super) async fn latest(&self, target: &ImageName) -> Result<Option<BuildId>, Error> {
        let record = self.records.get(&target_key(target)).await?;
        let text = record.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.map(str::parse).transpose()
    }

    pub(super) async fn put_latest(&self, target: &ImageName, id: &BuildId) -> Result<(), Error> {
        self.put(&target_key(target), Bytes::copy_from_slice(id.as_str().as_bytes())).await
    }

    /// Asks whoever works on a build to end it.
    pub(super) async fn put_cancel(&self, id: &BuildId) -> Result<(), Error> {
        self.put(&cancel_key(id), Bytes::from_static(b"1")).await
    }

    pub(super) async fn is_cancelled(&self, id: &BuildId) -> Result<bool, Error> {
        Ok(self.records.get(&cancel_key(id)).await?.is_some())
    }

    /// Forgets that a build was to be ended.
    pub(super) async fn remove_cancel(&self, id: &BuildId) -> Result<(), Error> {
        self.records.remove(&cancel_key(id)).await.map(drop)
    }

    /// Takes out what was recorded of a build that doesn't begin.
    pub(super) async fn remove(&self, id: &BuildId) -> Result<(), Error> {
        self.records.remove(&state_key(id)).await?;
        self.records.remove(&request_key(id)).await.map(drop)
    }

    /// Whether another process works on it.
    pub(super) fn is_held_elsewhere(&self, recorded: &Recorded) -> bool {
        let held = |lease: &Lease| lease.owner != self.owner && lease.holds(self.now());
        self.is_shared() && !recorded.state.is_ended() && recorded.lease.as_ref().is_some_and(held)
    }

    /// Whether this process's is the last word on it.
    pub(super) fn is_held_here(&self, recorded: &Recorded) -> bool {
        recorded.lease.as_ref().is_some_and(|lease| lease.owner == self.owner)
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<(), Error> {
        let expires = self.now().checked_add(self.retention).unwrap_or(SystemTime::UNIX_EPOCH);
        self.records.put(key, value, expires).await
    }
}

fn state_key(id: &BuildId) -> String {
    format!("build/state/{}", id.key())
}

fn request_key(id: &BuildId) -> String {
    format!("build/request/{}", id.key())
}

fn cancel_key(id: &BuildId) -> String {
    format!("build/cancel/{}", id.key())
}

/// Hashed, since a name can be longer than a key may be.
fn target_key(target: &ImageName) -> String {
    format!("build/target/{}", Digest::sha256(target.to_string().as_bytes()).hex())
}

/// How long a build is a process's that says nothing more of it, and how often it says so.
pub(super) const LEASE: Duration = Duration::from_secs(30);
pub(super) const RENEWAL: Duration = Duration::from_secs(10);
