use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::{content, is_absent, is_empty, is_there, sha256};
use crate::error::{Error, ErrorKind};
use crate::spec::digest::{Algorithm, Digest};
use crate::store::blobs::{BlobStore, BlobWriter, Spool, Usage};

/// Reads from `offset` to the `end`, waiting for what isn't there yet.
async fn follow(spool: &dyn Spool, offset: u64, end: u64) -> Result<Bytes, Error> {
    let mut read = BytesMut::new();
    loop {
        let at = offset + read.len() as u64;
        if at >= end {
            return Ok(read.freeze());
        }
        let written = spool.written();
        let piece = spool.read_back(at, 70_000).await?;
        assert!(piece.len() <= 70_000, "more bytes than were asked for");
        assert!(!piece.is_empty() || at >= written, "nothing at {at} of {written} bytes");
        if piece.is_empty() {
            tokio::task::yield_now().await;
        }
        read.extend_from_slice(&piece);
    }
}

async fn write(writer: &mut dyn BlobWriter, content: &Bytes, frame: usize) -> Result<(), Error> {
    for start in (0..content.len()).step_by(frame) {
        let piece = content.slice(start..content.len().min(start + frame));
        let end = start + piece.len();
        writer.write(piece).await?;
        assert_eq!(writer.written(), end as u64);
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// One writes, several read from their own offsets, all at once; what is written is there for readers at once.
pub(super) async fn can_be_followed(store: &dyn BlobStore) -> Result<(), Error> {
    let content = content(900_001, 8);
    let (digest, size) = (sha256(&content), content.len() as u64);
    let mut writer = store.create(Algorithm::Sha256, Some(size)).await?;
    let spool = writer.spool();
    assert_eq!((writer.written(), spool.written()), (0, 0));
    assert_eq!(spool.read_back(0, 10).await?, "");
    writer.write(Bytes::new()).await?;
    writer.write(content.slice(..10)).await?;
    assert_eq!((writer.written(), spool.written()), (10, 10));
    assert_eq!(spool.read_back(2, 3).await?, content.slice(2..5));
    assert_eq!(spool.read_back(10, 10).await?, "");
    assert_eq!(spool.read_back(11, 10).await?, "");
    assert_eq!(spool.read_back(0, 0).await?, "");

    let offsets = [0, 1, 9, 10, 262_143, 262_144, 500_000, 900_000];
    let followers = join_all(offsets.map(|offset| follow(&*spool, offset, size)));
    let rest = content.slice(10..);
    let writing = async {
        for start in (0..rest.len()).step_by(7777) {
            writer.write(rest.slice(start..rest.len().min(start + 7777))).await?;
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(())
    };
    let (written, followed) = futures_util::future::join(writing, followers).await;
    written?;
    for (offset, read) in offsets.into_iter().zip(followed) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        assert!(read? == content.slice(start..), "a follower from {offset} read something else");
    }

    is_absent(store, digest, "before the commit").await?;
    writer.commit(digest, size).await?;
    is_there(store, digest, &content).await?;
    // Who lags behind reads to the end, even when the blob goes.
    assert!(store.remove(digest).await?);
    assert_eq!(spool.written(), size);
    assert!(follow(&*spool, 0, size).await? == content, "the spool changed after the commit");
    Ok(())
}

/// Nothing shows before the commit, which takes digests of either algorithm.
pub(super) async fn is_seen_when_committed(store: &dyn BlobStore) -> Result<(), Error> {
    for length in [0, 3000, 600_000] {
        let content = content(length, 9);
        let size = length as u64;
        for created in [Algorithm::Sha256, Algorithm::Sha512] {
            for committed in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = Digest::of(committed, &content);
                let mut writer = store.create(created, None).await?;
                write(&mut *writer, &content, 50_000).await?;
                is_absent(store, digest, "while it is written").await?;
                is_empty(store, "while a blob is written").await?;
                writer.commit(digest, size).await?;
                is_there(store, digest, &content).await?;
                assert_eq!(store.usage().await?, Usage::new(1, size));
                assert!(store.remove(digest).await?);
            }
        }
    }
    Ok(())
}

/// After an abort, a drop, and a commit that fails nothing is left, and followers know.
pub(super) async fn goes_when_given_up(store: &dyn BlobStore) -> Result<(), Error> {
    for length in [3000, 600_000] {
        let content = content(length, 10);
        let (digest, size) = (sha256(&content), length as u64);
        for how in ["an abort", "a drop", "a wrong digest", "a wrong size", "a dropped commit"] {
            let mut writer = store.create(Algorithm::Sha256, Some(size)).await?;
            let spool = writer.spool();
            write(&mut *writer, &content, 50_000).await?;
            assert!(follow(&*spool, 0, size).await? == content, "before {how}");
            match how {
                "an abort" => writer.abort().await,
                "a drop" => drop(writer),
                "a dropped commit" => drop(writer.commit(digest, size)),
                _ => {
                    let wrong = how == "a wrong digest";
                    let answer = if wrong {
                        writer.commit(sha256(b"else"), size).await
                    } else {
                        writer.commit(digest, size - 1).await
                    };
                    let answer = answer.map_err(|error| error.kind());
                    assert_eq!(answer, Err(ErrorKind::Corrupt), "{how}");
                }
            }
            is_absent(store, digest, how).await?;
            for offset in [0, size - 1, size] {
                assert!(spool.read_back(offset, 10).await.is_err(), "the spool can be read after {how}");
            }
        }
    }
    Ok(())
}
