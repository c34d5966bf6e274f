//! One transfer, many readers.

use std::time::Duration;

use futures_util::future::join_all;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::{BlobStore as _, MemoryBlobs};

use crate::origin::*;

#[tokio::test(start_paused = true)]
async fn sixty_four_readers_of_a_cold_blob_cost_one_request() {
    for size in [100_000, 1_000_000] {
        let blob = content(size);
        let digest = Digest::sha256(&blob);
        let (origin, store, tasks) =
            (Origin::new([blob.clone()]), MemoryBlobs::with_capacity(1 << 24), Tasks::new());
        let layer = CacheLayer::new(store.clone()).tasks(tasks.clone());
        let cache = origin.cached(&layer);
        let readers = join_all((0..64).map(async |reader: usize| {
            // Every fourth wants a part.
            let (first, last) = (reader * 1000, size - 1 - reader * 100);
            let (request, wanted) = match reader % 4 {
                0 => (part(digest, &format!("{first}-{last}")), blob.slice(first..=last)),
                _ => (whole(digest), blob.clone()),
            };
            let (found, status) = ask(&cache, request).await.unwrap();
            assert_eq!(found.size, Some(size as u64));
            let body = body(found);
            assert_eq!(body.size(), Some(wanted.len() as u64));
            assert!(collect(body).await.unwrap() == wanted, "reader {reader}");
            status
        }));
        let mut statuses = readers.await;
        assert_eq!(statuses.remove(0), "fwd=miss; stored");
        assert_eq!(statuses, vec!["fwd=miss; collapsed"; 63]);
        assert_eq!(origin.seen(), [get(digest)]);
        assert!(tasks.shutdown(Duration::from_secs(1)).await);
        assert_eq!(store.stat(digest).await.unwrap(), Some(size as u64));
        assert_eq!(ask(&cache, whole(digest)).await.unwrap().1, "hit");
        assert_eq!(origin.seen(), Vec::<String>::new());
    }
}
