use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{content, is_absent, is_there, sha256, streamed};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::spec::digest::{Algorithm, Digest};
use crate::store::blobs::BlobStore;

/// A put that must fail: what is wrong, the declared size, the body, and how it fails.
type Wrong = (&'static str, Option<u64>, Body, ErrorKind);

/// Everything that `content` can be put wrongly with.
fn wrong(content: &Bytes) -> Vec<Wrong> {
    let size = content.len() as u64;
    let mut flipped = content.to_vec();
    if let Some(byte) = flipped.last_mut() {
        *byte ^= 1;
    }
    let flipped = Bytes::from(flipped);
    let short = content.slice(..content.len() - 1);
    let long: Bytes = content.iter().copied().chain([0]).collect();
    let broken = stream::iter([Ok(short.clone()), Err(Error::timed_out("the upstream stalled"))]);
    let endless = stream::iter([content.clone(), content.clone()]).chain(stream::repeat(content.clone()));
    let corrupt = ErrorKind::Corrupt;
    vec![
        ("a flipped bit", Some(size), Body::from(flipped.clone()), corrupt),
        ("a flipped bit, streamed", Some(size), streamed(&flipped, 1000), corrupt),
        ("a flipped bit, size unknown", None, streamed(&flipped, 1000), corrupt),
        ("a size that is too small", Some(size - 1), Body::from(content.clone()), corrupt),
        ("a size that is too large", Some(size + 1), Body::from(content.clone()), corrupt),
        ("a size that is too large, streamed", Some(size + 1), streamed(content, 1000), corrupt),
        ("a body that is cut off", Some(size), streamed(&short, 1000), corrupt),
        ("a body that is cut off, size unknown", None, streamed(&short, 1000), corrupt),
        ("an empty body", Some(size), Body::empty(), corrupt),
        ("a body that is too long", Some(size), streamed(&long, 1000), corrupt),
        ("a body that is too long, size unknown", None, Body::from(long), corrupt),
        ("a body without an end", Some(size), Body::from_stream(endless.map(Ok::<_, Error>)), corrupt),
        ("a body that fails", Some(size), Body::from_stream(broken), ErrorKind::TimedOut),
    ]
}

pub(super) async fn leaves_nothing(store: &dyn BlobStore) -> Result<(), Error> {
    for length in [5000, 300_000] {
        let content = content(length, 6);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, &content);
            for (what, size, body, kind) in wrong(&content) {
                let answer = store.put(digest, size, body).await.map_err(|error| error.kind());
                assert_eq!(answer, Err(kind), "{what}");
                is_absent(store, digest, what).await?;
                assert_eq!(store.usage().await?.blobs, 0, "{what}");
            }
        }
    }
    // The wrong content isn't under its own digest either.
    let (declared, other) = (sha256(b"declared"), sha256(b"other"));
    let answer = store.put(declared, None, Body::from("other")).await.map_err(|error| error.kind());
    assert_eq!(answer, Err(ErrorKind::Corrupt));
    is_absent(store, other, "after content of another digest").await
}

/// A wrong put doesn't touch the blob that is there.
pub(super) async fn harms_nothing(store: &dyn BlobStore) -> Result<(), Error> {
    let content = content(300_000, 7);
    let digest = sha256(&content);
    store.put(digest, None, streamed(&content, 50_000)).await?;
    for (what, size, body, kind) in wrong(&content) {
        let answer = store.put(digest, size, body).await.map_err(|error| error.kind());
        assert_eq!(answer, Err(kind), "{what}");
        is_there(store, digest, &content).await?;
    }
    assert!(store.remove(digest).await?);
    Ok(())
}
