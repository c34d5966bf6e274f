use bytes::Bytes;
use futures_util::future::join_all;

use super::{content, is_absent, is_there, read, sha256, streamed};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::range::ByteRange;
use crate::store::blobs::{BlobStore, Usage};

/// Put, stat, get, remove: of nothing, of little, of much, with and without a size, by both algorithms.
pub(super) async fn come_back(store: &dyn BlobStore) -> Result<(), Error> {
    for length in [0, 1, 1000, 256 * 1024, 256 * 1024 + 1, (1 << 20) + 3] {
        let content = content(length, 1);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let (digest, size) = (Digest::of(algorithm, &content), length as u64);
            is_absent(store, digest, "before the put").await?;
            assert_eq!(store.put(digest, Some(size), Body::from(content.clone())).await?, size);
            is_there(store, digest, &content).await?;
            assert_eq!(store.usage().await?, Usage::new(1, size));
            assert!(store.remove(digest).await?);
            is_absent(store, digest, "after the removal").await?;

            assert_eq!(store.put(digest, None, streamed(&content, 10_000)).await?, size);
            is_there(store, digest, &content).await?;
            // What is there may come again.
            assert_eq!(store.put(digest, Some(size), streamed(&content, 300_000)).await?, size);
            is_there(store, digest, &content).await?;
            assert_eq!(store.usage().await?, Usage::new(1, size));
            assert!(store.remove(digest).await?);
        }
    }
    Ok(())
}

pub(super) async fn are_read_in_parts(store: &dyn BlobStore) -> Result<(), Error> {
    let content = content((1 << 20) + 3, 2);
    let (digest, size) = (sha256(&content), content.len() as u64);
    store.put(digest, Some(size), streamed(&content, 100_000)).await?;
    let edge = 256 * 1024;
    for (first, last) in [
        (0, 0),
        (0, 99),
        (edge - 1, edge),
        (5, 3 * edge),
        (edge, 2 * edge - 1),
        (size - 1, size - 1),
        (0, size - 1),
    ] {
        let range = ByteRange::new(first, last);
        let expected = range.and_then(|range| range.slice(&content)).unwrap_or_default();
        let found = read(store, digest, range).await?;
        let is_right = found == Some((size, Some(last - first + 1), expected));
        assert!(is_right, "the bytes {first}-{last} came back as something else");
    }
    for (first, last) in [(0, size), (size, size), (size + 10, size + 20)] {
        let answer = store.get(digest, ByteRange::new(first, last)).await;
        let error = answer.err().map(|error| (error.kind(), error.content_size()));
        assert_eq!(error, Some((ErrorKind::RangeNotSatisfiable, Some(size))), "{first}-{last}");
    }
    store.remove(digest).await?;

    let nothing = sha256(b"");
    store.put(nothing, Some(0), Body::empty()).await?;
    let answer = store.get(nothing, ByteRange::new(0, 0)).await;
    let error = answer.err().map(|error| (error.kind(), error.content_size()));
    assert_eq!(error, Some((ErrorKind::RangeNotSatisfiable, Some(0))));
    store.remove(nothing).await?;
    Ok(())
}

pub(super) async fn are_listed(store: &dyn BlobStore) -> Result<(), Error> {
    let mut all = Vec::new();
    for seed in 0..20_u8 {
        let content = content(usize::from(seed) + 1, seed);
        let algorithm = if seed % 3 == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &content);
        store.put(digest, None, Body::from(content)).await?;
        all.push((digest, u64::from(seed) + 1));
    }
    all.sort_unstable();
    assert_eq!(store.usage().await?, Usage::new(20, 210));
    for max in [1, 7, 20, 1000] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(after, max).await?;
            assert!(page.len() <= max);
            let Some(last) = page.last() else { break };
            after = Some(last.digest);
            listed.extend(page.iter().map(|blob| (blob.digest, blob.size)));
            assert!(listed.len() <= all.len(), "the list in pages of {max} goes on and on");
        }
        assert_eq!(listed, all, "in pages of {max}");
    }
    assert_eq!(store.list(None, 0).await?, []);

    // Touching one moves its time on, and no other's.
    let before = store.list(None, 2).await?;
    if let [one, other] = before.as_slice() {
        assert!(store.touch(one.digest).await?);
        let after = store.list(None, 2).await?;
        assert!(after.first().is_some_and(|blob| blob.used >= one.used));
        assert_eq!(after.get(1), Some(other));
    }

    // What is removed while somebody goes through the list doesn't hide what stays.
    for (digest, _) in all {
        assert_eq!(store.list(None, 1).await?.first().map(|blob| blob.digest), Some(digest));
        assert!(store.remove(digest).await?);
        assert!(store.list(Some(digest), 1).await?.iter().all(|blob| blob.digest > digest));
    }
    Ok(())
}

pub(super) async fn are_read_to_their_end_when_removed(store: &dyn BlobStore) -> Result<(), Error> {
    let content = content(1 << 20, 3);
    let digest = sha256(&content);
    store.put(digest, None, streamed(&content, 100_000)).await?;
    let reader = store.get(digest, None).await?.map(|blob| blob.body).unwrap_or_default();
    assert!(store.remove(digest).await?);
    is_absent(store, digest, "after a removal with a reader").await?;
    assert!(reader.read(1 << 20).await? == content, "a removed blob changed for its reader");
    Ok(())
}

/// Eight bring the same blob at once, of which every other one is wrong.
pub(super) async fn come_from_several_at_once(store: &dyn BlobStore) -> Result<(), Error> {
    let (right, wrong) = (content(600_000, 4), content(600_000, 5));
    let digest = sha256(&right);
    let puts = (0..8).map(|number: usize| {
        let content: &Bytes = if number.is_multiple_of(2) { &right } else { &wrong };
        store.put(digest, Some(600_000), streamed(content, 10_000 + number))
    });
    for (number, put) in join_all(puts).await.into_iter().enumerate() {
        let answer = put.map_err(|error| error.kind());
        let expected = if number.is_multiple_of(2) { Ok(600_000) } else { Err(ErrorKind::Corrupt) };
        assert_eq!(answer, expected, "put {number}");
    }
    is_there(store, digest, &right).await?;
    assert_eq!(store.usage().await?, Usage::new(1, 600_000));
    assert!(store.remove(digest).await?);
    Ok(())
}
