use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{join, join_all};

use super::*;
use crate::body::Body;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::spec::digest::Algorithm;
use crate::spec::range::ByteRange;
use crate::store::blobs::{BlobInfo, BlobWriter, MemoryBlobs, StoredBlob};

const HOUR: Duration = Duration::from_secs(3600);

/// Blobs in memory, with a disk of a size around them, that notes what is asked of it.
#[derive(Debug)]
struct Shelf {
    blobs: MemoryBlobs,
    /// What the disk can hold, if it has an end.
    disk: Option<u64>,
    removed: Mutex<Vec<Digest>>,
    touched: Mutex<Vec<Digest>>,
    listed: AtomicU64,
    /// Lists fail.
    is_broken: AtomicBool,
    /// This one can't be removed.
    stuck: Mutex<Option<Digest>>,
}

impl Shelf {
    fn new(disk: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            blobs: MemoryBlobs::with_capacity(1 << 20),
            disk,
            removed: Mutex::default(),
            touched: Mutex::default(),
            listed: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            stuck: Mutex::default(),
        })
    }

    fn removed(&self) -> Vec<Digest> {
        std::mem::take(&mut lock(&self.removed))
    }
}

impl BlobStore for Shelf {
    fn stat(&self, digest: Digest) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        self.blobs.stat(digest)
    }

    fn get(
        &self,
        digest: Digest,
        range: Option<ByteRange>,
    ) -> BoxFuture<'_, Result<Option<StoredBlob>, Error>> {
        self.blobs.get(digest, range)
    }

    fn create(
        &self,
        algorithm: Algorithm,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, Error>> {
        self.blobs.create(algorithm, size)
    }

    fn touch(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        lock(&self.touched).push(digest);
        self.blobs.touch(digest)
    }

    fn remove(&self, digest: Digest) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            // Others run meanwhile.
            tokio::task::yield_now().await;
            if *lock(&self.stuck) == Some(digest) {
                return Err(Error::unavailable("stuck"));
            }
            lock(&self.removed).push(digest);
            self.blobs.remove(digest).await
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, Error>> {
        self.blobs.usage()
    }

    fn free_space(&self) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        Box::pin(async {
            let Some(disk) = self.disk else { return Ok(None) };
            Ok(Some(disk.saturating_sub(self.blobs.usage().await?.bytes)))
        })
    }

    fn list(&self, after: Option<Digest>, max: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, Error>> {
        Box::pin(async move {
            self.listed.fetch_add(1, Ordering::Relaxed);
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(Error::unavailable("broken"));
            }
            self.blobs.list(after, max).await
        })
    }
}

fn settings(max_size: Option<u64>, free_space: u64) -> Settings {
    Settings { max_size, free_space, ..Settings::default() }
}

fn account(shelf: &Arc<Shelf>, max_size: Option<u64>, free_space: u64) -> Arc<Account> {
    let store: Arc<dyn BlobStore> = Arc::clone(shelf) as _;
    Arc::new(Account::new(&settings(max_size, free_space), store, Tasks::new()))
}

async fn put(store: &dyn BlobStore, content: &[u8]) -> Digest {
    let digest = Digest::sha256(content);
    store.put(digest, None, Body::from(Bytes::copy_from_slice(content))).await.unwrap();
    digest
}

/// Puts 100 bytes that differ by `seed`.
async fn keep(account: &Arc<Account>, seed: u8) -> Digest {
    let digest = put(&*account.store, &[seed; 100]).await;
    account.kept(digest, 100);
    digest
}

async fn settled(account: &Account) {
    while account.tasks.running() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_for_longest_goes_first() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(400), 0);
    let [a, b, c, d] =
        [keep(&account, 1).await, keep(&account, 2).await, keep(&account, 3).await, keep(&account, 4).await];
    drop(account.pin(a));
    account.kept(b, 100);
    assert!(account.make_room(0).await);
    assert_eq!(shelf.removed(), []);
    assert!(account.make_room(150).await);
    assert_eq!(shelf.removed(), [c, d]);
    assert!(account.make_room(200).await);
    assert_eq!(shelf.removed(), []);
    assert!(account.make_room(201).await);
    assert_eq!(shelf.removed(), [a]);
    assert_eq!((account.usage(), account.evicted()), (Usage::new(1, 100), 3));
    assert!(account.make_room(400).await);
    assert_eq!(shelf.removed(), [b]);
    assert_eq!(account.usage(), Usage::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_stays_and_what_never_fits_removes_nothing() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(300), 0);
    let [a, b, c] = [keep(&account, 1).await, keep(&account, 2).await, keep(&account, 3).await];
    let pins = [account.pin(a), account.pin(a), account.pin(b)];
    assert!(!account.make_room(301).await, "larger than all");
    assert!(!account.make_room(101).await, "larger than what may go");
    assert_eq!(shelf.removed(), []);
    assert!(account.make_room(100).await);
    assert_eq!(shelf.removed(), [c]);
    let [first, second, third] = pins;
    drop((first, third));
    assert!(!account.make_room(300).await, "it still has a reader");
    assert!(account.make_room(200).await);
    assert_eq!(shelf.removed(), [b]);
    drop(second);
    assert!(account.make_room(300).await);
    assert_eq!(shelf.removed(), [a]);
}

#[tokio::test(start_paused = true)]
async fn so_much_stays_free() {
    let shelf = Shelf::new(Some(1000));
    let account = account(&shelf, None, 250);
    let mut all = Vec::new();
    for seed in 0..7 {
        assert!(account.make_room(100).await);
        all.push(keep(&account, seed).await);
    }
    assert_eq!(shelf.removed(), []);
    assert!(account.make_room(51).await);
    assert_eq!(shelf.removed(), all[..1]);
    assert!(!account.make_room(751).await, "nor with nothing else there");
    assert_eq!(shelf.removed(), []);
    assert!(account.make_room(750).await);
    assert_eq!(shelf.removed(), all[1..]);

    // Where removing everything isn't enough, nothing is removed.
    let account = self::account(&shelf, None, 250);
    keep(&account, 1).await;
    settled(&account).await;
    put(&shelf.blobs, &[9; 800]).await;
    assert!(!account.make_room(100).await);
    assert_eq!(shelf.removed(), []);
}

#[tokio::test(start_paused = true)]
async fn many_who_make_room_at_once_use_the_same_room() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(1000), 0);
    let mut all = Vec::new();
    for seed in 0..10 {
        all.push(keep(&account, seed).await);
    }
    let made = join_all((0..8).map(|_| account.make_room(200))).await;
    assert_eq!(made, [true; 8]);
    assert_eq!(shelf.removed(), all[..2]);
    // Nothing is reserved: all of them bring what they asked for, and it is too much.
    for seed in 20..28 {
        let digest = put(&shelf.blobs, &[seed; 200]).await;
        account.kept(digest, 200);
    }
    settled(&account).await;
    assert_eq!(account.usage(), Usage::new(5, 1000));
    assert_eq!(shelf.removed()[..8], all[2..]);
    assert_eq!(shelf.blobs.usage().await.unwrap(), account.usage());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_comes_while_others_go_keeps_its_blob() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(300), 0);
    let [a, b, c] = [keep(&account, 1).await, keep(&account, 2).await, keep(&account, 3).await];
    settled(&account).await;
    // It comes while the first is being removed.
    let (has_room, _pin) = join(account.make_room(200), async { account.pin(b) }).await;
    assert!(has_room);
    assert_eq!(shelf.removed(), [a, c]);
}

#[tokio::test(start_paused = true)]
async fn the_store_is_told_of_a_use_once_an_hour() {
    let shelf = Shelf::new(None);
    let mut account = Arc::into_inner(account(&shelf, None, 0)).unwrap();
    let start = SystemTime::now();
    let past = Arc::new(AtomicU64::new(0));
    let seconds = Arc::clone(&past);
    account.clock = Clock::from_fn(move || start + Duration::from_secs(seconds.load(Ordering::Relaxed)));
    let account = Arc::new(account);
    let blob = keep(&account, 1).await;
    let touched = async |at: Duration| {
        past.store(at.as_secs(), Ordering::Relaxed);
        drop((account.pin(blob), account.pin(blob)));
        settled(&account).await;
        std::mem::take(&mut *lock(&shelf.touched))
    };
    assert_eq!(touched(Duration::ZERO).await, []);
    assert_eq!(touched(HOUR - Duration::from_secs(1)).await, []);
    assert_eq!(touched(HOUR).await, [blob]);
    assert_eq!(touched(HOUR).await, []);
    assert_eq!(touched(2 * HOUR).await, [blob]);
    assert_eq!(touched(Duration::ZERO).await, [], "the clock was set back");
}

#[tokio::test(start_paused = true)]
async fn others_come_and_go_in_the_same_store() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(300), 0);
    let [a, b] = [keep(&account, 1).await, keep(&account, 2).await];
    settled(&account).await;

    // What somebody else has brought counts from its first use.
    let brought = put(&shelf.blobs, &[3; 100]).await;
    assert_eq!(account.usage(), Usage::new(2, 200));
    let pin = account.pin(brought);
    settled(&account).await;
    assert_eq!(account.usage(), Usage::new(3, 300));
    drop((pin, account.pin(Digest::sha256(b"nowhere"))));
    settled(&account).await;
    assert_eq!(account.usage(), Usage::new(3, 300));

    // What somebody else has removed makes no room a second time.
    shelf.blobs.remove(a).await.unwrap();
    assert!(account.make_room(100).await);
    assert_eq!((shelf.removed(), account.evicted()), (vec![a], 0));
    account.gone(b);
    assert_eq!(account.usage(), Usage::new(1, 100));

    // What nobody says is found when the list is gone through again: `b` is there, and too much.
    shelf.blobs.remove(brought).await.unwrap();
    put(&shelf.blobs, &[4; 250]).await;
    tokio::time::advance(Duration::from_secs(599)).await;
    assert!(account.make_room(0).await);
    settled(&account).await;
    assert_eq!((account.usage(), shelf.removed()), (Usage::new(1, 100), vec![]));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(account.make_room(0).await);
    settled(&account).await;
    assert_eq!((account.usage(), shelf.removed()), (Usage::new(1, 250), vec![b]));
}

#[tokio::test(start_paused = true)]
async fn as_long_as_it_is_not_known_what_is_there_nothing_fits() {
    let shelf = Shelf::new(None);
    let old = put(&shelf.blobs, &[1; 100]).await;
    shelf.is_broken.store(true, Ordering::Relaxed);
    let account = account(&shelf, Some(150), 0);
    let fits = async || (account.make_room(51).await, shelf.listed.load(Ordering::Relaxed));
    assert_eq!(fits().await, (false, 1));
    assert_eq!(fits().await, (false, 1), "the list isn't asked for all the time");
    let new = keep(&account, 2).await;
    settled(&account).await;
    assert_eq!((account.usage(), shelf.removed()), (Usage::new(1, 100), vec![]));
    shelf.is_broken.store(false, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(fits().await, (true, 2));
    assert_eq!(shelf.removed(), [old, new], "what was there before was used longer ago");
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_cannot_be_removed_is_passed_over() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(300), 0);
    let [a, b, c] = [keep(&account, 1).await, keep(&account, 2).await, keep(&account, 3).await];
    *lock(&shelf.stuck) = Some(a);
    assert!(account.make_room(100).await);
    assert_eq!(shelf.removed(), [b]);
    assert!(!account.make_room(300).await);
    assert_eq!((shelf.removed(), account.evicted()), (vec![c], 2));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_nobody_waiting() {
    let shelf = Shelf::new(None);
    let account = account(&shelf, Some(300), 0);
    account.tasks.abort();
    assert!(!account.make_room(1).await);
    drop(account.pin(Digest::sha256(b"")));
}

#[cfg(feature = "disk")]
#[tokio::test]
async fn what_is_known_of_a_directory_comes_from_its_files() {
    use std::fs;

    use crate::store::blobs::DiskBlobs;

    let root = tempfile::tempdir().unwrap();
    let blobs = DiskBlobs::open(root.path()).await.unwrap();
    let now = SystemTime::now();
    let mut all = Vec::new();
    // More than a page, of which the one that was put first was used last.
    for seed in 0..1100_u32 {
        let digest = Digest::sha256(&seed.to_le_bytes());
        let shard = root.path().join("blobs/sha256").join(&digest.hex()[..2]);
        fs::create_dir_all(&shard).unwrap();
        fs::write(shard.join(digest.hex()), seed.to_le_bytes()).unwrap();
        let used = now - Duration::from_secs(u64::from(seed) + 1);
        fs::File::options().write(true).open(shard.join(digest.hex())).unwrap().set_modified(used).unwrap();
        all.push(digest);
    }
    assert!(blobs.free_space().await.unwrap().is_some_and(|free| free > 0));
    drop(blobs);

    let blobs = DiskBlobs::open(root.path()).await.unwrap();
    let account_at = |blobs: &DiskBlobs, now: SystemTime| {
        let account = Account::new(&settings(Some(4400), 0), Arc::new(blobs.clone()), Tasks::new());
        Account { clock: Clock::from_fn(move || now), ..account }
    };
    let account = Arc::new(account_at(&blobs, now));
    assert_eq!(account.usage(), Usage::default());
    assert!(account.make_room(8).await);
    assert_eq!((account.usage(), account.evicted()), (Usage::new(1098, 4392), 2));
    for (seed, digest) in all.iter().enumerate() {
        assert_eq!(blobs.stat(*digest).await.unwrap().is_some(), seed < 1098, "{seed}");
    }
    // Its use is in the file for whoever comes next: it was put longer ago than any other.
    let oldest = all[1097];
    let account = Arc::new(account_at(&blobs, now + 2 * HOUR));
    let pin = account.pin(oldest);
    settled(&account).await;
    drop((pin, account, blobs));

    let blobs = DiskBlobs::open(root.path()).await.unwrap();
    let account = Arc::new(account_at(&blobs, now + 2 * HOUR));
    assert!(account.make_room(12).await);
    assert_eq!(account.usage(), Usage::new(1097, 4388));
    assert_eq!(blobs.stat(all[1096]).await.unwrap(), None);
    assert_eq!(blobs.stat(oldest).await.unwrap(), Some(4));
}
