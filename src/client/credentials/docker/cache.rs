use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::helper::Helper;
use crate::error::Error;
use crate::operation::Credential;

/// What helpers said, kept for a moment, since they are slow; asked once for many. Errors aren't kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    slots: Mutex<HashMap<Key, Slot>>,
}

type Key = (Helper, String);
type Slot = Arc<AsyncMutex<Option<(Instant, Option<Credential>)>>>;

impl Cache {
    /// How long an answer is believed.
    pub(super) const TTL: Duration = Duration::from_secs(60);

    /// Which registries are asked for may be up to clients; the table stays small all the same.
    const SWEEP_AT: usize = 256;

    pub(super) async fn get<F>(
        &self,
        helper: &Helper,
        server: &str,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Credential>, Error>
    where
        F: Future<Output = Result<Option<Credential>, Error>>,
    {
        let slot = self.slot((helper.clone(), server.to_owned()));
        let mut slot = slot.lock().await;
        if let Some((since, credential)) = &*slot
            && since.elapsed() < Self::TTL
        {
            return Ok(credential.clone());
        }
        let credential = ask().await?;
        *slot = Some((Instant::now(), credential.clone()));
        Ok(credential)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Arc::clone(slot);
        }
        if slots.len() >= Self::SWEEP_AT {
            // Those that are being asked for are kept, so that they are asked for once.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let slot = Slot::default();
        slots.insert(key, Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn helpers_are_asked_once_for_many_and_again_after_a_while() {
        let (cache, asked) = (Cache::default(), AtomicUsize::new(0));
        let helper = Helper::named("x").unwrap();
        let get = || {
            cache.get(&helper, "a.example", || async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let count = asked.fetch_add(1, Ordering::SeqCst);
                if count == 1 { Err(Error::internal("no")) } else { Ok(Some(Credential::basic("x", "y"))) }
            })
        };
        let (one, other) = tokio::join!(get(), get());
        assert!(one.unwrap().is_some() && other.unwrap().is_some());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Cache::TTL - Duration::from_secs(1)).await;
        assert!(get().await.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(get().await.is_err());
        assert!(get().await.is_ok(), "errors aren't kept");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn the_table_stays_small() {
        let cache = Cache::default();
        let helper = Helper::named("x").unwrap();
        for host in 0..3 * Cache::SWEEP_AT {
            assert_eq!(cache.get(&helper, &host.to_string(), || async { Ok(None) }).await.unwrap(), None);
        }
        assert!(cache.slots.lock().unwrap().len() <= Cache::SWEEP_AT);
    }
}
