use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::body::Body;
use crate::error::ErrorKind;

fn content(length: usize) -> Bytes {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// All files below a directory, as paths from there.
fn files(root: &Path) -> Vec<String> {
    let (mut found, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What is being written: files in the places of `partial`, without their locks.
fn partials(root: &Path) -> Vec<String> {
    files(&root.join("partial")).into_iter().filter(|file| !file.ends_with(".lock")).collect()
}

async fn opened() -> (TempDir, DiskBlobs) {
    let root = tempfile::tempdir().unwrap();
    let store = DiskBlobs::open(root.path()).await.unwrap();
    (root, store)
}

async fn put(store: &DiskBlobs, content: &Bytes) -> Digest {
    let digest = Digest::sha256(content);
    store.put(digest, None, Body::from(content.clone())).await.unwrap();
    digest
}

/// Waits until what was written so far is in a file, or can't be.
async fn settled(writer: &dyn BlobWriter) {
    while !format!("{writer:?}").contains("is_idle: true") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(store: &DiskBlobs, digest: Digest) -> Bytes {
    store.get(digest, None).await.unwrap().unwrap().body.read(16 << 20).await.unwrap()
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn it_does_what_every_store_does() {
    use crate::testing::blobs::conformance;

    for (sync, verify_on_read) in [(false, false), (true, true)] {
        let root = tempfile::tempdir().unwrap();
        let builder = DiskBlobs::builder(root.path().join("a/b")).sync(sync).verify_on_read(verify_on_read);
        let store = builder.open().await.unwrap();
        conformance(&store).await.unwrap();
        assert_eq!(partials(&root.path().join("a/b")), [""; 0]);
        drop(store);
        assert_eq!(files(root.path()), ["a/b/lock"]);
    }
}

#[cfg(feature = "testing")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_on_several_threads() {
    let (root, store) = opened().await;
    crate::testing::blobs::conformance(&store).await.unwrap();
    assert_eq!(partials(root.path()), [""; 0]);
}

#[tokio::test]
async fn a_blob_has_its_place_for_its_owner_only() {
    let (root, store) = opened().await;
    let digest = put(&store, &"hello".into()).await;
    let path = format!("blobs/sha256/2c/{}", digest.hex());
    assert_eq!(fs::read(root.path().join(&path)).unwrap(), b"hello");
    #[cfg(unix)]
    for (path, mode) in
        [("blobs", 0o40700), ("blobs/sha256/2c", 0o40700), ("partial", 0o40700), (&path, 0o100_600)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(root.path().join(path)).unwrap().permissions().mode(), mode, "{path}");
    }
}

#[tokio::test]
async fn small_blobs_are_in_no_file_before_the_commit() {
    let (root, store) = opened().await;
    let content = content(300_000);
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    writer.write(content.slice(..200_000)).await.unwrap();
    assert_eq!(partials(root.path()), [""; 0]);
    writer.write(content.slice(200_000..)).await.unwrap();
    settled(&*writer).await;
    assert_eq!(partials(root.path()).len(), 1);
    writer.commit(Digest::sha256(&content), 300_000).await.unwrap();
    assert_eq!(partials(root.path()), [""; 0]);

    // Very small pieces go there sooner: each costs more than its bytes.
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    for _ in 0..1023 {
        writer.write(Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(partials(root.path()), [""; 0]);
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    settled(&*writer).await;
    assert_eq!(partials(root.path()).len(), 1);
    assert_eq!(writer.spool().read_back(0, 2000).await.unwrap(), "x".repeat(1024));
    drop(writer);
    assert_eq!(partials(root.path()), [""; 0]);
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept_and_what_it_committed_stays() {
    let root = tempfile::tempdir().unwrap();
    let kept = content(400_000);
    let digest = put(&DiskBlobs::open(root.path()).await.unwrap(), &kept).await;
    // As after a kill: places whose locks nobody holds, one without a lock, a lock without a place.
    let partial = root.path().join("partial");
    for id in ["0123456789abcdef", "aaaaaaaaaaaaaaaa"] {
        fs::create_dir(partial.join(id)).unwrap();
        fs::write(partial.join(id).join("0"), "part").unwrap();
    }
    fs::write(partial.join("0123456789abcdef.lock"), "").unwrap();
    fs::write(partial.join("bbbbbbbbbbbbbbbb.lock"), "").unwrap();
    // This is nothing of ours.
    fs::write(partial.join("notes.lock"), "").unwrap();

    let store = DiskBlobs::open(root.path()).await.unwrap();
    assert_eq!(read(&store, digest).await, kept);
    assert_eq!(partials(root.path()), [""; 0]);
    assert_eq!(files(&partial).len(), 2, "the store's own lock, and what is none of ours");
    drop(store);
    assert_eq!(files(&partial), ["notes.lock"]);
}

#[tokio::test]
async fn several_stores_share_a_directory() {
    let (root, one) = opened().await;
    let content = content(400_000);
    let digest = Digest::sha256(&content);
    let mut writer = one.create(Algorithm::Sha256, None).await.unwrap();
    writer.write(content.clone()).await.unwrap();
    settled(&*writer).await;
    assert_eq!(partials(root.path()).len(), 1);

    // Another comes in and leaves what is being written alone.
    let two = DiskBlobs::open(root.path()).await.unwrap();
    assert_eq!(partials(root.path()).len(), 1);
    assert_eq!(two.stat(digest).await.unwrap(), None);
    writer.commit(digest, 400_000).await.unwrap();
    assert_eq!(read(&two, digest).await, content);

    // Both bring the same blob; one removes what the other reads.
    assert_eq!(put(&two, &content).await, digest);
    assert_eq!(one.usage().await.unwrap(), Usage::new(1, 400_000));
    let body = one.get(digest, None).await.unwrap().unwrap().body;
    assert!(two.remove(digest).await.unwrap());
    assert_eq!(one.stat(digest).await.unwrap(), None);
    assert_eq!(body.read(400_000).await.unwrap(), content);

    // A store lives as long as its writers.
    let mut writer = two.create(Algorithm::Sha256, None).await.unwrap();
    drop(two);
    writer.write(content.clone()).await.unwrap();
    let three = DiskBlobs::open(root.path()).await.unwrap();
    writer.commit(digest, 400_000).await.unwrap();
    assert_eq!(read(&three, digest).await, content);
    assert_eq!(files(&root.path().join("partial")).len(), 2);
}

#[tokio::test]
async fn fsck_removes_what_is_wrong_and_says_so() {
    let (root, store) = opened().await;
    let sound = put(&store, &content(300_000)).await;
    let flipped = put(&store, &"flipped".into()).await;
    let short = put(&store, &content(500_000)).await;
    fs::write(store.inner.layout.blob(flipped), "flopped").unwrap();
    fs::write(store.inner.layout.blob(short), content(499_999)).unwrap();
    fs::write(root.path().join("blobs/sha256/notes"), "").unwrap();
    fs::write(store.inner.layout.blob(sound).with_file_name("notes"), "").unwrap();

    let report = store.fsck().await.unwrap();
    assert_eq!((report.checked, report.bytes), (3, 800_006));
    let shard = &sound.hex()[..2];
    assert_eq!(report.strangers, [format!("sha256/{shard}/notes"), "sha256/notes".to_owned()]);
    let mut damaged = [
        (flipped, format!("its content is {}", Digest::sha256(b"flopped")), true),
        (short, format!("its content is {}", Digest::sha256(&content(499_999))), true),
    ];
    damaged.sort();
    let found = report.damaged.into_iter().map(|damage| (damage.digest, damage.reason, damage.removed));
    assert_eq!(found.collect::<Vec<_>>(), damaged);

    assert_eq!(store.stat(flipped).await.unwrap(), None);
    assert_eq!(read(&store, sound).await, content(300_000));
    assert_eq!(store.fsck().await.unwrap().damaged, []);
}

#[tokio::test]
async fn damage_shows_on_reading_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let store = DiskBlobs::builder(root.path()).verify_on_read(true).open().await.unwrap();
    for length in [1000, 600_000] {
        let sound = content(length);
        let mut wrong = sound.to_vec();
        wrong[length - 1] ^= 1;
        // A range, and of a small blob the whole, is looked at first.
        let digest = put(&store, &sound).await;
        assert_eq!(read(&store, digest).await, sound);
        fs::write(store.inner.layout.blob(digest), &wrong).unwrap();
        assert!(store.get(digest, ByteRange::new(0, 1)).await.unwrap().is_none());
        assert_eq!(store.stat(digest).await.unwrap(), None);

        put(&store, &sound).await;
        fs::write(store.inner.layout.blob(digest), &wrong).unwrap();
        let got = store.get(digest, None).await.unwrap();
        match got {
            None => assert_eq!(length, 1000),
            Some(blob) => {
                assert_eq!(blob.body.size(), Some(length as u64));
                let error = blob.body.read(length).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert_eq!(
                    error.to_string(),
                    format!("the content of {digest} is {}", Digest::sha256(&wrong))
                );
            }
        }
        assert_eq!(store.stat(digest).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_file_that_shrinks_under_a_reader_breaks_off() {
    let (_root, store) = opened().await;
    let digest = put(&store, &content(600_000)).await;
    let body = store.get(digest, None).await.unwrap().unwrap().body;
    let file = fs::File::options().write(true).open(store.inner.layout.blob(digest)).unwrap();
    file.set_len(300_000).unwrap();
    let error = body.read(600_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.to_string(), format!("{digest} broke off after 300000 of 303104 bytes"));
}

#[tokio::test]
async fn a_reader_is_given_little_until_it_has_read() {
    use http_body_util::BodyExt as _;

    let (_root, store) = opened().await;
    let digest = put(&store, &content(9 << 20)).await;
    let mut body = store.get(digest, None).await.unwrap().unwrap().body;
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().data_ref().unwrap().len());
    }
    // 8 MiB is more than is on its way to a client that reads nothing.
    assert_eq!(frames, [vec![8 << 10; 1024], vec![64 << 10; 16]].concat());
}

#[tokio::test]
async fn more_is_taken_in_while_something_is_written_and_only_so_much() {
    let (root, store) = opened().await;
    let (piece, mut all) = (content(300_000), Vec::new());
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    for written in 1..=20_u64 {
        writer.write(piece.clone()).await.unwrap();
        all.extend_from_slice(&piece);
        assert_eq!(writer.written(), written * 300_000);
    }
    settled(&*writer).await;
    let file = partials(root.path()).remove(0);
    let in_file = fs::metadata(root.path().join("partial").join(file)).unwrap().len();
    assert!(in_file >= 6_000_000 - (1 << 20) - 300_000, "{in_file}");
    let digest = Digest::sha256(&all);
    writer.commit(digest, 6_000_000).await.unwrap();
    assert!(read(&store, digest).await == all);
}

#[tokio::test]
async fn a_disk_that_fails_gives_errors_and_nothing_stays() {
    let (root, store) = opened().await;
    let content = content(300_000);
    let digest = Digest::sha256(&content);
    let place = store.inner.instance.partial(0).parent().unwrap().to_owned();
    fs::remove_dir(&place).unwrap();
    let why = "No such file or directory (os error 2)";
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    // It is written behind the call, and the next one is told.
    writer.write(content.clone()).await.unwrap();
    settled(&*writer).await;
    for _ in 0..2 {
        let error = writer.write(content.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), format!("the blob store's disk: writing a blob failed: {why}"));
    }
    // Who follows still gets what there is.
    assert_eq!(writer.written(), 300_000);
    assert_eq!(writer.spool().read_back(299_999, 9).await.unwrap(), content.slice(299_999..));
    writer.commit(digest, 300_000).await.unwrap_err();
    fs::create_dir(&place).unwrap();
    assert_eq!(put(&store, &content).await, digest);

    // The name among the blobs can't be had.
    let other = Digest::sha256(b"other");
    let shard = root.path().join("blobs/sha256").join(&other.hex()[..2]);
    fs::write(&shard, "").unwrap();
    let error = store.put(other, None, "other".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the blob store's disk: keeping {other} failed: Not a directory (os error 20)")
    );
    assert_eq!(store.stat(other).await.unwrap(), None);
    assert!(store.get(other, None).await.unwrap().is_none());
    assert!(!store.remove(other).await.unwrap());
    assert_eq!(partials(root.path()), [""; 0]);

    // Who follows can read it all the same: it may be right.
    let large = self::content(600_000);
    let other = Digest::sha256(&large);
    let shard = root.path().join("blobs/sha256").join(&other.hex()[..2]);
    fs::write(&shard, "").unwrap();
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    let spool = writer.spool();
    writer.write(large.slice(..500_000)).await.unwrap();
    writer.write(large.slice(500_000..)).await.unwrap();
    assert_eq!(writer.commit(other, 600_000).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(partials(root.path()), [""; 0]);
    assert_eq!(spool.read_back(1, 60_000).await.unwrap(), large.slice(1..60_001));
    assert_eq!(spool.read_back(599_990, 100).await.unwrap(), large.slice(599_990..));

    let error = DiskBlobs::open(&shard).await.unwrap_err();
    let text =
        format!("the blob store's disk: opening `{}` failed: Not a directory (os error 20)", shard.display());
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_commit_that_is_dropped_leaves_all_or_nothing() {
    let (root, store) = opened().await;
    let content = content(600_000);
    let digest = Digest::sha256(&content);
    let mut writer = store.create(Algorithm::Sha256, None).await.unwrap();
    writer.write(content.clone()).await.unwrap();
    let spool = writer.spool();
    let commit = tokio::time::timeout(Duration::ZERO, writer.commit(digest, 600_000)).await;
    // The thread that works on it lives as long as the runtime; wait for its traces to go.
    while !partials(root.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    let read = spool.read_back(0, 1).await;
    if commit.is_ok() {
        assert_eq!(read.unwrap(), content.slice(..1));
    }
    if store.stat(digest).await.unwrap().is_some() {
        assert_eq!(super::tests::read(&store, digest).await, content);
    }
    assert_eq!(store.fsck().await.unwrap().damaged, []);
}
