use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::target::Target;
use crate::error::Error;

/// How many exchanges with one host may go on at once; those beyond wait in the order in which they came.
#[derive(Debug)]
pub(super) struct Caps {
    per_host: usize,
    hosts: Mutex<HashMap<Target, Arc<Semaphore>>>,
}

impl Caps {
    /// Hosts come from redirects too, so that their table has to stay small by itself.
    const SWEEP_AT: usize = 1024;

    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host, hosts: Mutex::new(HashMap::new()) }
    }

    /// A permit for one exchange with `target`, to be kept until its body has ended.
    pub(super) async fn enter(
        &self,
        target: &Target,
        limit: Duration,
    ) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(limit, self.semaphore(target).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(Error::internal("the cap on connections is gone").with_source(closed)),
            Err(_) => {
                let (count, seconds) = (self.per_host, limit.as_secs_f64());
                Err(Error::unavailable(format!(
                    "{count} requests to `{target}` are under way, and none has ended within {seconds} s"
                )))
            }
        }
    }

    fn semaphore(&self, target: &Target) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = hosts.get(target) {
            return Arc::clone(semaphore);
        }
        if hosts.len() >= Self::SWEEP_AT {
            // Permits and those who wait hold a clone.
            hosts.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let semaphore = Arc::new(Semaphore::new(self.per_host));
        hosts.insert(target.clone(), Arc::clone(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn target(host: &str) -> Target {
        Target { https: true, host: host.to_owned(), port: 443 }
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_cap_wait() {
        let caps = Caps::new(1);
        let limit = Duration::from_secs(5);
        let permit = caps.enter(&target("a.example"), limit).await.unwrap();
        assert!(caps.enter(&target("b.example"), limit).await.is_ok());
        let error = caps.enter(&target("a.example"), limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(
            error.message(),
            "1 requests to `a.example:443` are under way, and none has ended within 5 s"
        );
        drop(permit);
        assert!(caps.enter(&target("a.example"), limit).await.is_ok());
    }

    #[tokio::test]
    async fn the_table_of_hosts_stays_small() {
        let caps = Caps::new(1);
        let kept = caps.enter(&target("kept.example"), Duration::MAX).await.unwrap();
        for host in 0..3 * Caps::SWEEP_AT {
            drop(caps.enter(&target(&format!("{host}.example")), Duration::MAX).await.unwrap());
        }
        assert!(caps.hosts.lock().unwrap().len() <= Caps::SWEEP_AT);
        assert_eq!(caps.semaphore(&target("kept.example")).available_permits(), 0);
        drop(kept);
    }
}
