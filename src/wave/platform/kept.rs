//! Answers that are believed for a while, each asked for once, however many want it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::layer::cache::flight::Flights;
use crate::rt::{Clock, Tasks};
use crate::secret::Mac;
use crate::store::recent::{Recent, lock};

/// The name of an answer: a hash, from which nothing can be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; Mac::LENGTH]);

impl Key {
    /// The name of `parts`, each told from the next.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let all: Vec<&[u8]> =
            lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]).collect();
        Self(Mac::new(b"tower-oci platform").of(&all))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An answer, until when it is believed, and its weight in bytes.
pub(super) struct Told<V> {
    pub(super) value: V,
    pub(super) until: SystemTime,
    pub(super) weight: usize,
}

/// The answers to one kind of question. Errors aren't kept.
pub(super) struct Answers<V> {
    recent: Arc<Mutex<Recent<Key, Entry<V>>>>,
    flights: Flights<Key, V>,
    clock: Clock,
    tasks: Tasks,
}

struct Entry<V> {
    value: V,
    since: SystemTime,
    until: SystemTime,
}

impl<V: Clone + Send + Sync + 'static> Answers<V> {
    pub(super) fn new(clock: Clock, tasks: Tasks) -> Self {
        let recent = Arc::new(Mutex::new(Recent::new(MOST_KEPT)));
        Self { recent, flights: Flights::default(), clock, tasks }
    }

    /// The answer under `key`, or what `ask` brings.
    pub(super) async fn get<F>(&self, key: Key, ask: impl FnOnce() -> F) -> Result<V, Error>
    where
        F: Future<Output = Result<Told<V>, Error>> + Send + 'static,
    {
        let now = self.clock.now();
        if let Some(value) = fresh(&self.recent, &key, now) {
            return Ok(value);
        }
        let asking = || {
            let (recent, asked) = (Arc::clone(&self.recent), ask());
            async move {
                // Somebody else's question may have been answered since this caller looked.
                if let Some(value) = fresh(&recent, &key, now) {
                    return Ok(value);
                }
                let Told { value, until, weight } = asked.await?;
                let entry = Entry { value: value.clone(), since: now, until };
                lock(&recent).insert(key, entry, weight + WEIGHT_OF_ONE);
                Ok(value)
            }
        };
        let waiting = self.flights.fly(&self.tasks, key, asking);
        waiting.ok_or_else(super::full)?.answer().await
    }
}

fn fresh<V: Clone>(recent: &Mutex<Recent<Key, Entry<V>>>, key: &Key, now: SystemTime) -> Option<V> {
    let mut recent = lock(recent);
    let entry = recent.get(key)?;
    (entry.since <= now && now < entry.until).then(|| entry.value.clone())
}

/// For how long what a platform says is believed.
pub(super) const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// The most bytes of answers of one kind.
const MOST_KEPT: usize = 4 * 1024 * 1024;

/// What an answer weighs beside its own bytes.
const WEIGHT_OF_ONE: usize = 256;
