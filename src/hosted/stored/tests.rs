mod collecting;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::stream;

use super::super::Memory;
use super::*;
use crate::body::Body;
use crate::error::{BoxError, ErrorCode};
use crate::operation::{
    Call, CancelUpload, FinishUpload, ListTags, Registry as _, SingleUpload, StartUpload, UploadChunk,
    UploadId, UploadStarted, UploadStatus,
};
use crate::spec::digest::Algorithm;
use crate::spec::image::Descriptor;
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::name::Repository;

async fn send<O: Call>(hosted: &Hosted, operation: O) -> Result<O::Reply, Error> {
    hosted.send(Request::new(operation)).await.map(Response::into_reply)
}

fn a() -> Repository {
    "a".parse().unwrap()
}

pub(super) async fn push_blob(hosted: &Hosted, repository: &Repository, content: &'static str) -> Descriptor {
    let descriptor = Descriptor::of(MediaType::OCTET_STREAM, content.as_bytes());
    let mut start = StartUpload::new(repository.clone());
    start.single = Some(SingleUpload::new(*descriptor.digest(), None, content.into()));
    send(hosted, start).await.unwrap();
    descriptor
}

fn manifest(config: &Descriptor, layers: &[Descriptor]) -> bytes::Bytes {
    let mut object = Object::new();
    object.set("schemaVersion", Raw::of(&2));
    object.set("config", config.object().to_raw());
    object.set("layers", Raw::list(&layers.iter().map(|layer| layer.object().to_raw()).collect::<Vec<_>>()));
    object.to_raw().bytes().clone()
}

async fn push_manifest(hosted: &Hosted, reference: &str, content: &bytes::Bytes) -> Digest {
    let put = PutManifest::new(a(), reference.parse().unwrap(), MediaType::OCI_MANIFEST, content.clone());
    send(hosted, put).await.unwrap().digest
}

async fn read(hosted: &Hosted, digest: Digest) -> bytes::Bytes {
    let blob = send(hosted, GetBlob::new(a(), digest)).await.unwrap();
    blob.into_whole().unwrap().read(16 << 20).await.unwrap()
}

async fn open(hosted: &Hosted) -> UploadId {
    let UploadStarted::Open(state) = send(hosted, StartUpload::new(a())).await.unwrap() else { panic!() };
    state.upload
}

async fn chunk(hosted: &Hosted, id: &UploadId, body: impl Into<Body>) -> Result<u64, Error> {
    Ok(send(hosted, UploadChunk::new(a(), id.clone(), body.into())).await?.received)
}

async fn received(hosted: &Hosted, id: &UploadId) -> Result<u64, Error> {
    Ok(send(hosted, UploadStatus::new(a(), id.clone())).await?.received)
}

async fn finish(hosted: &Hosted, id: &UploadId, digest: Digest, body: impl Into<Body>) -> Result<(), Error> {
    send(hosted, FinishUpload::new(a(), id.clone(), digest, body.into())).await.map(drop)
}

fn unknown(error: &Error) -> bool {
    (error.status().as_u16(), error.code()) == (404, ErrorCode::BlobUploadUnknown)
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("uploads")).unwrap().count()
}

#[tokio::test]
async fn what_was_pushed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let (config, layer) = (push_blob(&hosted, &a(), "{}").await, push_blob(&hosted, &a(), "layer").await);
    let content = manifest(&config, std::slice::from_ref(&layer));
    let digest = push_manifest(&hosted, "latest", &content).await;
    let error = Hosted::open(directory.path()).await.unwrap_err();
    let path = directory.path().join("index.redb");
    assert_eq!(error.to_string(), format!("the index `{}` is open elsewhere", path.display()));
    let before = hosted.usage().await.unwrap();
    drop(hosted);

    let hosted = Hosted::builder(directory.path()).sync(true).open().await.unwrap();
    assert_eq!(hosted.usage().await.unwrap(), before);
    let found = send(&hosted, GetManifest::new(a(), "latest".parse().unwrap())).await.unwrap();
    let found = found.full().unwrap();
    assert_eq!(
        (found.digest, found.media_type, found.content),
        (digest, MediaType::OCI_MANIFEST, Some(content))
    );
    assert_eq!(read(&hosted, *layer.digest()).await, "layer");
    assert_eq!(send(&hosted, ListTags::new(a())).await.unwrap().tags.len(), 1);
}

#[tokio::test]
async fn uploads_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    // Long enough that it is written in between, and hashed in several processes.
    let content: bytes::Bytes = (0..900_000_u32).map(|index| (index % 251) as u8).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, &content);
        let mut id = None;
        for (number, start) in (0..content.len()).step_by(300_000).enumerate() {
            let hosted = Hosted::builder(directory.path()).sync(number == 1).open().await.unwrap();
            let id = match &id {
                Some(id) => id,
                None => {
                    let mut upload = StartUpload::new(a());
                    upload.algorithm = Some(algorithm);
                    let UploadStarted::Open(state) = send(&hosted, upload).await.unwrap() else { panic!() };
                    &*id.insert(state.upload)
                }
            };
            assert_eq!(received(&hosted, id).await.unwrap(), start as u64);
            chunk(&hosted, id, content.slice(start..start + 300_000)).await.unwrap();
        }
        let hosted = Hosted::open(directory.path()).await.unwrap();
        let id = id.unwrap();
        finish(&hosted, &id, digest, "").await.unwrap();
        assert!(read(&hosted, digest).await == content);
        assert!(unknown(&received(&hosted, &id).await.unwrap_err()));
        assert_eq!(files(directory.path()), 0);
    }
}

#[tokio::test]
async fn what_the_record_does_not_say_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let (id, cancelled) = (open(&hosted).await, open(&hosted).await);
    chunk(&hosted, &id, "abcdef").await.unwrap();
    chunk(&hosted, &cancelled, "x").await.unwrap();
    send(&hosted, CancelUpload::new(a(), cancelled.clone())).await.unwrap();
    drop(hosted);
    let file = directory.path().join("uploads").join(id.as_str());
    std::fs::write(&file, "abcdefghi").unwrap();
    std::fs::write(directory.path().join("uploads/stray"), "x").unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    assert_eq!(files(directory.path()), 1);
    assert!(unknown(&received(&hosted, &cancelled).await.unwrap_err()));
    assert_eq!(received(&hosted, &id).await.unwrap(), 6);
    finish(&hosted, &id, Digest::sha256(b"abcdef"), "").await.unwrap();
    assert_eq!(read(&hosted, Digest::sha256(b"abcdef")).await, "abcdef");

    // One that lost some of its bytes, as power does it, never becomes a blob.
    let id = open(&hosted).await;
    chunk(&hosted, &id, "abcdefgh").await.unwrap();
    std::fs::write(directory.path().join("uploads").join(id.as_str()), "abc").unwrap();
    let error = finish(&hosted, &id, Digest::sha256(b"abcdefgh"), "").await.unwrap_err();
    assert_eq!(error.to_string(), "a part of the upload was lost; start again");
    assert_eq!(hosted.inner.blobs.stat(Digest::sha256(b"abcdefgh")).await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_whose_file_has_become_a_blob_unsaid_goes_on() {
    for (last, algorithm) in [("", Algorithm::Sha256), ("def", Algorithm::Sha256), ("", Algorithm::Sha512)] {
        let directory = tempfile::tempdir().unwrap();
        let hosted = Hosted::open(directory.path()).await.unwrap();
        let id = open(&hosted).await;
        chunk(&hosted, &id, "abc").await.unwrap();
        let content = format!("abc{last}");
        let digest = Digest::of(algorithm, content.as_bytes());
        // What is done before the index is written for the last time.
        let mut lease = hosted.inner.uploads.take(&a(), &id).unwrap();
        let upload = lease.upload().unwrap();
        upload.push(last.into());
        assert_eq!(upload.seal(algorithm, false).unwrap(), digest);
        if !(last.is_empty() && algorithm == Algorithm::Sha256) {
            hosted.inner.put_record(&a(), upload, Some(digest)).unwrap();
        }
        hosted.inner.blobs.adopt(&upload.path(), digest).unwrap();
        drop((lease, hosted));

        let hosted = Hosted::open(directory.path()).await.unwrap();
        let error = send(&hosted, GetBlob::new(a(), digest)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::BlobUnknown, "nobody was told that it is there");
        assert_eq!(received(&hosted, &id).await.unwrap(), content.len() as u64);
        chunk(&hosted, &id, "more").await.unwrap();
        let whole = format!("{content}more");
        finish(&hosted, &id, Digest::sha256(whole.as_bytes()), "").await.unwrap();
        assert_eq!(read(&hosted, Digest::sha256(whole.as_bytes())).await, whole);
        assert_eq!(hosted.inner.blobs.fsck().await.unwrap().damaged, []);
    }
}

#[tokio::test]
async fn what_came_with_a_client_that_left_lasts_once_it_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let id = open(&hosted).await;
    {
        use futures_util::StreamExt as _;
        let first = stream::iter([Ok::<_, BoxError>(bytes::Bytes::from_static(b"abc"))]);
        let body = Body::from_stream(first.chain(stream::pending()));
        let mut left = Box::pin(chunk(&hosted, &id, body));
        assert!(futures_util::poll!(left.as_mut()).is_pending());
    }
    assert_eq!(received(&hosted, &id).await.unwrap(), 3);
    drop(hosted);
    let hosted = Hosted::open(directory.path()).await.unwrap();
    assert_eq!(received(&hosted, &id).await.unwrap(), 3);
}

#[tokio::test]
async fn an_upload_expires_while_nobody_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let builder = || {
        let now = Arc::clone(&now);
        let clock =
            Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_secs(now.load(Ordering::Relaxed)));
        Hosted::builder(directory.path()).clock(clock).upload_timeout(Duration::from_secs(600))
    };
    let hosted = builder().open().await.unwrap();
    let id = open(&hosted).await;
    chunk(&hosted, &id, "abc").await.unwrap();
    drop(hosted);
    now.fetch_add(599, Ordering::Relaxed);
    assert_eq!(received(&builder().open().await.unwrap(), &id).await.unwrap(), 3);
    now.fetch_add(1, Ordering::Relaxed);
    let hosted = builder().open().await.unwrap();
    assert!(unknown(&received(&hosted, &id).await.unwrap_err()));
    assert_eq!((files(directory.path()), hosted.usage().await.unwrap().uploads), (0, 0));
}

#[tokio::test]
async fn a_blob_that_the_disk_has_lost_is_absent_and_can_be_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let digest = *push_blob(&hosted, &a(), "lost").await.digest();
    std::fs::remove_file(hosted.inner.blobs.path(digest)).unwrap();
    for get in [GetBlob::new(a(), digest), GetBlob::head(a(), digest)] {
        assert_eq!(send(&hosted, get).await.unwrap_err().code(), ErrorCode::BlobUnknown);
    }
    let mut mount = StartUpload::new("b".parse().unwrap());
    mount.mount = Some(crate::operation::Mount::new(digest, Some(a())));
    assert!(matches!(send(&hosted, mount).await.unwrap(), UploadStarted::Open(_)));
    push_blob(&hosted, &a(), "lost").await;
    assert_eq!(read(&hosted, digest).await, "lost");
}
