//! The keys with which platforms encrypt what they hand out: one pair for a platform at a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::packet::{self, Keys};
use crate::error::Error;
use crate::layer::cache::flight::Flights;
use crate::rt::{Clock, Tasks, blocking};
use crate::secret::Secret;
use crate::spec::digest::Digest;
use crate::store::Records;

/// What a platform is answered that pairs: the key that it has to encrypt with, and the key's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pairing {
    pairing_id: String,
    public_key: String,
}

impl Pairing {
    /// The name of the key.
    #[must_use]
    pub fn pairing_id(&self) -> &str {
        &self.pairing_id
    }

    /// An RSA key of 2048 bits: X.509 `SubjectPublicKeyInfo` in base64.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

/// A pair of keys as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    public: String,
    /// PKCS#8 in base64.
    private: String,
    /// In seconds since 1970.
    created: u64,
}

impl Kept {
    fn is_younger(&self, age: Duration, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        now.saturating_sub(self.created) < age.as_secs()
    }
}

/// The keys of one platform, the newest first.
pub(super) struct Paired(Vec<Kept>);

impl Paired {
    /// The name of the newest.
    pub(super) fn id(&self) -> &str {
        self.0.first().map_or("", |kept| &kept.id)
    }

    /// What a packet holds that was encrypted for one of them: a platform may not have heard yet of the newest.
    pub(super) fn open(&self, packet: &Secret) -> Option<Keys> {
        self.0.iter().find_map(|kept| {
            let private = BASE64_STANDARD.decode(&kept.private).ok()?;
            let private = PrivateDecryptingKey::from_pkcs8(&private).ok()?;
            packet::open(packet.expose(), &Pkcs1PrivateDecryptingKey::new(private).ok()?)
        })
    }
}

/// The keys of all platforms, in records.
#[derive(Clone)]
pub(super) struct Pairings {
    records: Arc<dyn Records>,
    clock: Clock,
    tasks: Tasks,
    flights: Arc<Flights<Endpoint, Pairing>>,
}

impl Pairings {
    pub(super) fn new(records: Arc<dyn Records>, clock: Clock, tasks: Tasks) -> Self {
        Self { records, clock, tasks, flights: Arc::default() }
    }

    /// The keys of the platform at `endpoint`; none unless it has paired.
    pub(super) async fn of(&self, endpoint: &Endpoint) -> Result<Option<Paired>, Error> {
        let kept = self.read(endpoint).await?;
        Ok(if kept.is_empty() { None } else { Some(Paired(kept)) })
    }

    /// The key for the platform at `endpoint`: the one that it has, or a new one after a day.
    pub(super) async fn pair(&self, endpoint: &Endpoint) -> Result<Pairing, Error> {
        let pairing = {
            let (this, endpoint) = (self.clone(), endpoint.clone());
            || async move { this.newest(&endpoint).await }
        };
        let waiting = self.flights.fly(&self.tasks, endpoint.clone(), pairing);
        waiting.ok_or_else(super::full)?.answer().await
    }

    async fn newest(&self, endpoint: &Endpoint) -> Result<Pairing, Error> {
        let now = self.clock.now();
        let mut kept = self.read(endpoint).await?;
        if !kept.first().is_some_and(|newest| newest.is_younger(RENEWED_AFTER, now)) {
            kept.insert(0, blocking(move || generate(now)).await??);
            kept.truncate(MOST_KEPT);
            let record = serde_json::to_vec(&kept)
                .map_err(|_| Error::internal("the record of a pairing can't be written"))?;
            self.records.put(&key(endpoint), record.into(), now + KEPT_FOR).await?;
            // Another process may have paired meanwhile: what is kept is what counts.
            kept = self.read(endpoint).await?;
            tracing::debug!(platform = endpoint.as_str(), "a platform got a new key");
        }
        let newest = kept.into_iter().next();
        let newest = newest.ok_or_else(|| Error::unavailable("the records lost a pairing; try again"))?;
        Ok(Pairing { pairing_id: newest.id, public_key: newest.public })
    }

    /// Those that are still of use, the newest first.
    async fn read(&self, endpoint: &Endpoint) -> Result<Vec<Kept>, Error> {
        let Some(record) = self.records.get(&key(endpoint)).await? else { return Ok(Vec::new()) };
        let mut kept: Vec<Kept> = serde_json::from_slice(&record).map_err(|_| {
            Error::internal(format!("the record of the pairing with {endpoint} can't be read"))
        })?;
        let now = self.clock.now();
        kept.retain(|kept| kept.is_younger(KEPT_FOR, now));
        Ok(kept)
    }
}

/// Takes a good part of a second.
fn generate(now: SystemTime) -> Result<Kept, Error> {
    let failed = |_: Unspecified| Error::internal("a pair of keys could not be made");
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(failed)?;
    let public: PublicKeyX509Der<'_> = private.public_key().as_der().map_err(failed)?;
    let pkcs8: Pkcs8V1Der<'_> = private.as_der().map_err(failed)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Error::internal("the system has no random numbers").with_source(error))?;
    Ok(Kept {
        id: format!("{:032x}", u128::from_be_bytes(id)),
        public: BASE64_STANDARD.encode(public.as_ref()),
        private: BASE64_STANDARD.encode(pkcs8.as_ref()),
        created: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
    })
}

fn key(endpoint: &Endpoint) -> String {
    format!("platform/pairing/{}", Digest::sha256(endpoint.as_str().as_bytes()).hex())
}

/// The age at which a platform that pairs again gets another key.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long a key decrypts: platforms pair when they start, and not again before something fails.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The newest, and the one before for what was encrypted when the newest was made.
const MOST_KEPT: usize = 2;
