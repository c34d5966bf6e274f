use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::account::Account;
use super::blob::Transfers;
use super::figures::{Counters, Figures};
use super::list::Lists;
use super::manifest::Manifests;
use super::notes::Notes;
use super::service::Cache;
use super::settings::{Abandoned, Settings, TagPattern};
use super::visibility::Visibility;
use crate::layer::breaker::BreakerLayer;
use crate::operation::{BoxRegistry, Registry};
use crate::rt::{Clock, Tasks};
use crate::store::Records;
use crate::store::blobs::BlobStore;

/// Puts a [`Cache`] over a registry; see [the module](super).
///
/// The clones of a layer, and the services that they make, share one cache: what is set later makes a cache of its own.
#[derive(Clone)]
pub struct CacheLayer {
    settings: Settings,
    store: Arc<dyn BlobStore>,
    tasks: Tasks,
    breaker: Option<BreakerLayer>,
    shared: Arc<Shared>,
}

/// What all services of a cache share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) tasks: Tasks,
    pub(super) visibility: Visibility,
    pub(super) counters: Counters,
    pub(super) account: Arc<Account>,
    pub(super) transfers: Transfers,
    pub(super) manifests: Manifests,
    pub(super) lists: Lists,
}

impl Shared {
    fn new(settings: &Settings, store: &Arc<dyn BlobStore>, tasks: &Tasks) -> Arc<Self> {
        let records = settings.records.clone();
        let notes = Notes::new(records, &settings.clock, tasks, settings.stale.max(settings.visible));
        Arc::new(Self {
            settings: settings.clone(),
            store: Arc::clone(store),
            tasks: tasks.clone(),
            visibility: Visibility::new(settings.visible, settings.stale, notes.clone()),
            counters: Counters::default(),
            account: Arc::new(Account::new(settings, Arc::clone(store), tasks.clone())),
            transfers: Transfers::default(),
            manifests: Manifests::new(settings.documents, notes),
            lists: Lists::default(),
        })
    }
}

impl CacheLayer {
    /// A cache that keeps blobs in `store`.
    pub fn new(store: impl BlobStore) -> Self {
        let (settings, store): (_, Arc<dyn BlobStore>) = (Settings::default(), Arc::new(store));
        let tasks = Tasks::new();
        let shared = Shared::new(&settings, &store, &tasks);
        Self { settings, store, tasks, breaker: Some(BreakerLayer::new()), shared }
    }

    fn set(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        self.shared = Shared::new(&self.settings, &self.store, &self.tasks);
        self
    }

    /// The name in `Cache-Status` (default: `tower-oci`): a token of RFC 9110. Other characters become `-`.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        let fine = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = name.chars().map(fine).collect();
        self.set(|this| this.settings.name = name.into())
    }

    /// The most bytes of blobs that are kept (default: no limit). What was not read for longest goes first; what is
    /// being read stays.
    #[must_use]
    pub fn max_size(self, bytes: u64) -> Self {
        self.set(|this| this.settings.max_size = Some(bytes))
    }

    /// The largest blob that is kept, in bytes (default: no limit). Larger ones are passed through.
    #[must_use]
    pub fn max_blob(self, bytes: u64) -> Self {
        self.set(|this| this.settings.max_blob = Some(bytes))
    }

    /// How many bytes stay free where the store is, where [it can tell](BlobStore::free_space) (default: 0). What was not
    /// read for longest goes first; where that isn't enough, blobs are passed through.
    #[must_use]
    pub fn free_space(self, bytes: u64) -> Self {
        self.set(|this| this.settings.free_space = bytes)
    }

    /// How long tags are fresh that no pattern fits (default: 60 s). Then the upstream is asked whether they still mean
    /// the same.
    #[must_use]
    pub fn fresh_for(self, time: Duration) -> Self {
        self.set(|this| this.settings.fresh_by_default = time)
    }

    /// How long tags of a form are fresh. The first pattern that fits counts.
    #[must_use]
    pub fn fresh_tags(self, pattern: TagPattern, time: Duration) -> Self {
        self.set(|this| this.settings.fresh.push((pattern, time)))
    }

    /// For how long stale answers serve while the upstream can't be asked (default: 7 days).
    #[must_use]
    pub fn stale_for(self, time: Duration) -> Self {
        self.set(|this| this.settings.stale = time)
    }

    /// How long the upstream is waited for where there is something stale to serve in its place (default: 2 s). The
    /// question goes on meanwhile, and what comes of it holds for whoever asks next. With [`Duration::MAX`] it is waited
    /// for in any case.
    ///
    /// A reader whose time is over ([`CacheLayer::visible_for`]) is served like that as well, until the upstream says no.
    #[must_use]
    pub fn revalidation_timeout(self, time: Duration) -> Self {
        self.set(|this| this.settings.revalidation_timeout = time)
    }

    /// How long it is remembered that something isn't there (default: 10 s).
    #[must_use]
    pub fn negative_for(self, time: Duration) -> Self {
        self.set(|this| this.settings.negative = time)
    }

    /// How long lists of tags and referrers are kept (default: not at all).
    #[must_use]
    pub fn lists_for(self, time: Duration) -> Self {
        self.set(|this| this.settings.lists = time)
    }

    /// For how long a credential that was seen reading a repository may go on without the upstream being asked (default:
    /// 5 min). It is also how long a credential that was withdrawn still reads what is cached.
    #[must_use]
    pub fn visible_for(self, time: Duration) -> Self {
        self.set(|this| this.settings.visible = time)
    }

    /// How many bytes of manifests are kept in memory (default: 64 MiB).
    #[must_use]
    pub fn documents(self, bytes: usize) -> Self {
        self.set(|this| this.settings.documents = bytes)
    }

    /// Where it is noted as well what tags mean, and who may see what, so that another process over the same store goes
    /// on with it (default: nowhere). A process that starts while the upstream is down serves what an earlier one has
    /// kept.
    ///
    /// It is written behind the answers, and read where memory knows nothing. Whoever can write there can grant himself
    /// all that is kept.
    #[must_use]
    pub fn records(self, records: Arc<dyn Records>) -> Self {
        self.set(|this| this.settings.records = Some(records))
    }

    /// Another clock for what is noted in records: for tests.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.set(|this| this.settings.clock = clock)
    }

    /// What becomes of a transfer whose last reader has left (default: it goes on).
    #[must_use]
    pub fn abandoned(self, abandoned: Abandoned) -> Self {
        self.set(|this| this.settings.abandoned = abandoned)
    }

    /// How many transfers may go on without readers, and how many bytes they may still have to fetch together
    /// (default: 16, 16 GiB). One more is dropped.
    #[must_use]
    pub fn detached(self, transfers: usize, bytes: u64) -> Self {
        self.set(|this| (this.settings.detached, this.settings.detached_bytes) = (transfers, bytes))
    }

    /// How long a transfer waits for the next bytes (default: 90 s, so that an upstream that stalls for 60 s can be asked
    /// for the rest). There is no limit on the whole.
    #[must_use]
    pub fn read_timeout(self, time: Duration) -> Self {
        self.set(|this| this.settings.read_timeout = time)
    }

    /// Where transfers run: what ends them at shutdown (default: tasks of the cache's own, which nothing ends).
    #[must_use]
    pub fn tasks(self, tasks: Tasks) -> Self {
        self.set(|this| this.tasks = tasks)
    }

    /// What leaves an upstream alone that is out of order (default: a [`BreakerLayer`] as it is by itself); none where
    /// the embedder has one elsewhere, or wants none.
    #[must_use]
    pub fn breaker(mut self, breaker: Option<BreakerLayer>) -> Self {
        self.breaker = breaker;
        self
    }

    /// What the cache has done, and what it holds.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }
}

impl Shared {
    fn figures(&self) -> Figures {
        let kept = self.account.usage();
        Figures {
            transfers: self.transfers.running(),
            blobs: kept.blobs,
            bytes: kept.bytes,
            evicted: self.account.evicted(),
            ..self.counters.figures()
        }
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("settings", &self.settings)
            .field("store", &self.store)
            .field("tasks", &self.tasks)
            .field("breaker", &self.breaker)
            .field("visibility", &self.shared.visibility)
            .finish_non_exhaustive()
    }
}

impl<R: Registry> Layer<R> for CacheLayer {
    type Service = Cache;

    fn layer(&self, inner: R) -> Cache {
        // Under the cache, since the cache has something to serve while an upstream is left alone.
        let inner = match &self.breaker {
            Some(breaker) => BoxRegistry::new(breaker.layer(inner)),
            None => BoxRegistry::new(inner),
        };
        Cache::new(inner, Arc::clone(&self.shared))
    }
}
