//! The suite for stores of blobs: what every [`BlobStore`] does, seen from outside.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::store::blobs::MemoryBlobs;
//! use tower_oci::testing::blobs::{CAPACITY, conformance};
//!
//! conformance(&MemoryBlobs::with_capacity(CAPACITY)).await?;
//! # Ok(()) }
//! ```

mod contents;
mod refused;
mod spooled;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::body::Body;
use crate::error::Error;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::range::ByteRange;
use crate::store::blobs::{BlobStore, Usage};

/// How many bytes a store must have room for while the suite runs: 16 MiB.
pub const CAPACITY: u64 = 16 << 20;

/// Checks that `store`, which has to be empty, does what [`BlobStore`] says; afterwards it is empty again.
///
/// It needs a tokio runtime, and room for [`CAPACITY`] bytes.
///
/// # Errors
///
/// What the store fails with where it shouldn't.
///
/// # Panics
///
/// When the store does something else than it should.
pub async fn conformance(store: &dyn BlobStore) -> Result<(), Error> {
    is_empty(store, "before the suite").await?;
    contents::come_back(store).await?;
    is_empty(store, "after contents::come_back").await?;
    contents::are_read_in_parts(store).await?;
    is_empty(store, "after contents::are_read_in_parts").await?;
    contents::are_listed(store).await?;
    is_empty(store, "after contents::are_listed").await?;
    contents::are_read_to_their_end_when_removed(store).await?;
    is_empty(store, "after contents::are_read_to_their_end_when_removed").await?;
    refused::leaves_nothing(store).await?;
    is_empty(store, "after refused::leaves_nothing").await?;
    refused::harms_nothing(store).await?;
    is_empty(store, "after refused::harms_nothing").await?;
    spooled::can_be_followed(store).await?;
    is_empty(store, "after spooled::can_be_followed").await?;
    spooled::is_seen_when_committed(store).await?;
    is_empty(store, "after spooled::is_seen_when_committed").await?;
    spooled::goes_when_given_up(store).await?;
    is_empty(store, "after spooled::goes_when_given_up").await?;
    Box::pin(contents::come_from_several_at_once(store)).await?;
    is_empty(store, "after contents::come_from_several_at_once").await
}

async fn is_empty(store: &dyn BlobStore, when: &str) -> Result<(), Error> {
    assert_eq!(store.usage().await?, Usage::default(), "{when}");
    assert_eq!(store.list(None, 10).await?, [], "{when}");
    Ok(())
}

/// `length` bytes that differ by `seed` and don't repeat with any power of two.
fn content(length: usize, seed: u8) -> Bytes {
    (0..length).map(|index| (index % 251) as u8 ^ seed).collect()
}

fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// A body that comes in frames of up to `frame` bytes, of which nobody knows the size, and lets others run in between.
fn streamed(content: &Bytes, frame: usize) -> Body {
    let content = content.clone();
    let starts = stream::iter((0..content.len()).step_by(frame));
    Body::from_stream(starts.then(move |start| {
        let piece = content.slice(start..content.len().min(start + frame));
        async move {
            tokio::task::yield_now().await;
            Ok::<_, Error>(piece)
        }
    }))
}

/// What `get` answers: size of the blob, announced size of the body, and the bytes.
async fn read(
    store: &dyn BlobStore,
    digest: Digest,
    range: Option<ByteRange>,
) -> Result<Option<(u64, Option<u64>, Bytes)>, Error> {
    let Some(blob) = store.get(digest, range).await? else { return Ok(None) };
    let announced = blob.body.size();
    let limit = usize::try_from(CAPACITY).unwrap_or(usize::MAX);
    Ok(Some((blob.size, announced, blob.body.read(limit).await?)))
}

/// Checks that `digest` is there with this content, by `stat` and by `get`.
async fn is_there(store: &dyn BlobStore, digest: Digest, content: &Bytes) -> Result<(), Error> {
    let size = content.len() as u64;
    assert_eq!(store.stat(digest).await?, Some(size), "{digest}");
    let found = read(store, digest, None).await?;
    assert!(found == Some((size, Some(size), content.clone())), "{digest} came back as something else");
    Ok(())
}

/// Checks that nobody can see `digest`.
async fn is_absent(store: &dyn BlobStore, digest: Digest, when: &str) -> Result<(), Error> {
    assert_eq!(store.stat(digest).await?, None, "stat {when}");
    assert!(store.get(digest, None).await?.is_none(), "get {when}");
    assert!(store.get(digest, ByteRange::new(0, 0)).await?.is_none(), "get of a range {when}");
    assert!(!store.touch(digest).await?, "touch {when}");
    assert!(!store.remove(digest).await?, "remove {when}");
    let listed = store.list(None, 1000).await?;
    assert!(listed.iter().all(|blob| blob.digest != digest), "list {when}");
    Ok(())
}
