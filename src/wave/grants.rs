//! The tokens that are alive: kept in records, and the last used ones in memory as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use super::grant::Grant;
use super::settings::HttpLayers;
use super::token::{Key, Token};
use crate::error::Error;
use crate::rt::{Clock, blocking};
use crate::store::Records;

/// Why a token opens nothing.
#[derive(Debug)]
pub(super) enum Absent {
    /// It was never issued, or it was revoked.
    Unknown,
    /// Its time has passed.
    Expired(SystemTime),
    /// The records are out of order.
    Failed(Error),
}

impl Absent {
    /// The error of a pull.
    pub(super) fn into_pull_error(self) -> Error {
        match self {
            Self::Failed(error) => error,
            absent => Error::name_unknown(absent.to_string()),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown container token"),
            Self::Expired(at) => write!(f, "the container token expired at {}", iso(*at)),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Absent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A moment in ISO-8601.
pub(super) fn iso(time: SystemTime) -> String {
    // Every time of a token is within the years that a timestamp can have.
    Timestamp::try_from(time).unwrap_or_default().to_string()
}

/// The tokens of one service.
pub(super) struct Grants {
    records: Arc<dyn Records>,
    recent: Mutex<Recent>,
    http: HttpLayers,
    clock: Clock,
}

impl Grants {
    pub(super) fn new(records: Arc<dyn Records>, http: HttpLayers, clock: Clock) -> Self {
        Self { records, recent: Mutex::default(), http, clock }
    }

    /// Keeps what `token` opens.
    pub(super) async fn issue(&self, token: &Token, grant: Grant) -> Result<(), Error> {
        let record = grant.encode()?;
        let key = token.key();
        let generation = self.recent().generation;
        self.records.put(&key.record(), record.clone(), grant.expires).await?;
        self.remember(key, record, &Arc::new(grant), generation);
        Ok(())
    }

    /// What the token that is written as `text` opens.
    pub(super) async fn find(&self, text: &str) -> Result<Arc<Grant>, Absent> {
        let token = self.live(text)?;
        let key = token.key();
        let (generation, known) = self.recent().find(&key, self.clock.now());
        let known = match known {
            Some(Known { grant, fresh: true, .. }) => return Ok(grant),
            known => known,
        };
        let Some(record) = self.records.get(&key.record()).await? else {
            self.recent().take(&key);
            return Err(Absent::Unknown);
        };
        let grant = match known {
            Some(known) if known.record == record => known.grant,
            _ => self.decode(record.clone()).await?,
        };
        self.remember(key, record, &grant, generation);
        Ok(grant)
    }

    /// Makes the token that is written as `text` open nothing any more.
    pub(super) async fn revoke(&self, text: &str) -> Result<(), Absent> {
        let key = self.live(text)?.key();
        let removed = self.records.remove(&key.record()).await;
        self.recent().forget(&key);
        if removed? { Ok(()) } else { Err(Absent::Unknown) }
    }

    /// Where they are kept.
    pub(super) fn records(&self) -> &dyn Records {
        &*self.records
    }

    fn live(&self, text: &str) -> Result<Token, Absent> {
        let token = Token::parse(text).ok_or(Absent::Unknown)?;
        let expires = token.expires();
        if expires <= self.clock.now() { Err(Absent::Expired(expires)) } else { Ok(token) }
    }

    async fn decode(&self, record: Bytes) -> Result<Arc<Grant>, Error> {
        let http = self.http;
        if record.len() <= SMALL_RECORD {
            return Grant::decode(&record, http).map(Arc::new);
        }
        blocking(move || Grant::decode(&record, http)).await?.map(Arc::new)
    }

    fn remember(&self, key: Key, record: Bytes, grant: &Arc<Grant>, generation: u64) {
        let now = self.clock.now();
        self.recent().remember(key, record, grant, generation, now);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("records", &self.records).finish_non_exhaustive()
    }
}

/// Those used last, so that a pull reads its record once and not with every request.
#[derive(Default)]
struct Recent {
    grants: HashMap<Key, Entry>,
    bytes: usize,
    uses: u64,
    /// Counts what was forgotten: a record that was read before a revocation isn't remembered after it.
    generation: u64,
}

struct Entry {
    grant: Arc<Grant>,
    record: Bytes,
    checked: SystemTime,
    used: u64,
}

struct Known {
    grant: Arc<Grant>,
    record: Bytes,
    fresh: bool,
}

impl Recent {
    fn find(&mut self, key: &Key, now: SystemTime) -> (u64, Option<Known>) {
        self.uses += 1;
        let uses = self.uses;
        let known = self.grants.get_mut(key).map(|entry| {
            entry.used = uses;
            let fresh = now.duration_since(entry.checked).is_ok_and(|age| age < RECHECK);
            Known { grant: Arc::clone(&entry.grant), record: entry.record.clone(), fresh }
        });
        (self.generation, known)
    }

    fn remember(&mut self, key: Key, record: Bytes, grant: &Arc<Grant>, generation: u64, now: SystemTime) {
        if generation != self.generation || record.len() > MAX_BYTES {
            return;
        }
        self.take(&key);
        self.bytes += record.len();
        self.uses += 1;
        let entry = Entry { grant: Arc::clone(grant), record, checked: now, used: self.uses };
        self.grants.insert(key, entry);
        while self.bytes > MAX_BYTES || self.grants.len() > MAX_GRANTS {
            let Some(oldest) = self.grants.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key)
            else {
                return;
            };
            self.take(&oldest);
        }
    }

    fn forget(&mut self, key: &Key) {
        self.generation += 1;
        self.take(key);
    }

    fn take(&mut self, key: &Key) {
        if let Some(entry) = self.grants.remove(key) {
            self.bytes -= entry.record.len();
        }
    }
}

/// For how long a record isn't read again: as long as a revocation by another process may go unnoticed.
const RECHECK: Duration = Duration::from_secs(30);

/// The most grants in memory beside the records.
const MAX_GRANTS: usize = 1024;

/// The most bytes of their records.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What is read at once; a larger record on a thread of its own, since its layers are hashed.
const SMALL_RECORD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::rewrite::Plan;
    use crate::spec::digest::Digest;
    use crate::wave::grant::Content;

    fn grant() -> Arc<Grant> {
        Arc::new(Grant {
            image: "busybox:latest".parse().unwrap(),
            content: Content::Image {
                source: Digest::sha256(b"source"),
                derived: Digest::sha256(b"derived"),
            },
            plan: Arc::new(Plan::default()),
            expires: SystemTime::UNIX_EPOCH,
            timestamp: None,
            fingerprint: None,
            access: None,
        })
    }

    fn key() -> Key {
        Token::generate(SystemTime::UNIX_EPOCH).unwrap().key()
    }

    #[test]
    fn those_used_last_are_kept_within_the_bounds() {
        let (mut recent, grant, now) = (Recent::default(), grant(), SystemTime::UNIX_EPOCH);
        let quarter = Bytes::from(vec![0; MAX_BYTES / 4]);
        let keys: Vec<Key> = std::iter::repeat_with(key).take(5).collect();
        for key in &keys[..4] {
            recent.remember(*key, quarter.clone(), &grant, 0, now);
        }
        assert!(recent.find(&keys[0], now).1.is_some());
        recent.remember(keys[4], quarter, &grant, 0, now);
        let kept = |recent: &mut Recent, key| recent.find(key, now).1.is_some();
        let kept: Vec<bool> = keys.iter().map(|key| kept(&mut recent, key)).collect();
        assert_eq!(kept, [true, false, true, true, true]);
        recent.remember(key(), vec![0; MAX_BYTES + 1].into(), &grant, 0, now);
        assert_eq!((recent.grants.len(), recent.bytes), (4, MAX_BYTES));
        for _ in 0..MAX_GRANTS {
            recent.remember(key(), Bytes::new(), &grant, 0, now);
        }
        assert_eq!((recent.grants.len(), recent.bytes), (MAX_GRANTS, 0));
    }

    #[test]
    fn what_was_read_before_a_revocation_is_not_remembered_after_it() {
        let (mut recent, grant, now) = (Recent::default(), grant(), SystemTime::UNIX_EPOCH);
        let (key, other) = (key(), key());
        let (generation, _) = recent.find(&key, now);
        recent.forget(&other);
        recent.remember(key, Bytes::new(), &grant, generation, now);
        assert!(recent.find(&key, now).1.is_none());
    }
}
