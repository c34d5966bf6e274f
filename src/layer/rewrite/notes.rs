use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Extensions;
use tokio::time::Instant;

use super::tree::Tree;
use crate::error::Error;
use crate::operation::{Origin, UpstreamId};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::Repository;
use crate::store::Records;
use crate::store::recent::{Recent, lock};

/// How many notes are kept in memory; each takes about 300 bytes.
const LOCAL: usize = 16 * 1024;

/// From which source a derived digest comes, where no pin says it: in memory, and in the records that several
/// processes share.
///
/// A note gives no rights and isn't believed either: the source is asked whether the caller may see it, and what is
/// served is derived from it anew, or has been in this process.
pub(super) struct Notes {
    local: Mutex<Recent<Digest, (Digest, Instant)>>,
    records: Option<Arc<dyn Records>>,
    lifetime: Duration,
}

/// Where the digests of one plan are noted.
pub(super) struct Scope(Hasher);

impl Scope {
    /// The scope of a repository for a plan. Facts of our own layers tell registries apart.
    pub(super) fn new(facts: &Extensions, repository: &Repository, plan: &Digest) -> Self {
        let registry = facts.get::<UpstreamId>().map(UpstreamId::host);
        let registry = registry.or_else(|| facts.get::<Origin>().map(|origin| &origin.0));
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for part in [registry.map_or("", |host| host.as_str()), repository.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update(b"\n");
        }
        hasher.update(plan.as_bytes());
        Self(hasher)
    }

    fn key(&self, digest: &Digest) -> Digest {
        let mut hasher = self.0.clone();
        hasher.update(digest.as_bytes());
        hasher.finish()
    }
}

impl Notes {
    pub(super) fn new(records: Option<Arc<dyn Records>>, lifetime: Duration) -> Self {
        Self { local: Mutex::new(Recent::new(LOCAL)), records, lifetime }
    }

    /// The source that `digest` was derived from.
    pub(super) async fn find(&self, scope: &Scope, digest: &Digest) -> Result<Option<Digest>, Error> {
        let key = scope.key(digest);
        if let Some((source, _)) = self.local(&key) {
            return Ok(Some(source));
        }
        let Some(records) = &self.records else { return Ok(None) };
        let Some(value) = records.get(&record(&key)).await? else { return Ok(None) };
        // A value that isn't ours is as good as none.
        Ok(std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()))
    }

    /// Notes all that was derived. What was noted not long ago is not noted again.
    pub(super) async fn keep(&self, scope: &Scope, tree: &Tree) {
        let root = scope.key(&tree.root);
        let is_fresh = self.local(&root).is_some_and(|(source, expires)| {
            source == tree.source && expires.duration_since(Instant::now()) > self.lifetime / 2
        });
        if is_fresh || tree.root == tree.source {
            return;
        }
        let expires = SystemTime::now() + self.lifetime;
        let mut is_kept = true;
        for digest in tree.derived() {
            let key = scope.key(digest);
            if let Some(records) = &self.records {
                let value = Bytes::from(tree.source.to_string());
                if let Err(error) = records.put(&record(&key), value, expires).await {
                    // This process serves it all the same; only others can't.
                    tracing::warn!(%error, "a derived digest was not recorded");
                    is_kept = false;
                }
            }
            self.note(key, tree.source, self.lifetime);
        }
        if !is_kept {
            // The root stands for all of them: it counts as old, so that the next time tries again.
            self.note(root, tree.source, self.lifetime / 2);
        }
    }

    fn note(&self, key: Digest, source: Digest, lifetime: Duration) {
        lock(&self.local).insert(key, (source, Instant::now() + lifetime), 1);
    }

    fn local(&self, key: &Digest) -> Option<(Digest, Instant)> {
        let mut local = lock(&self.local);
        let (source, expires) = *local.get(key)?;
        if expires <= Instant::now() {
            local.remove(key);
            return None;
        }
        Some((source, expires))
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("records", &self.records).field("lifetime", &self.lifetime).finish()
    }
}

fn record(key: &Digest) -> String {
    format!("rewrite/{}", key.hex())
}
