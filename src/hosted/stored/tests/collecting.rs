//! What goes, and what stays.

use std::sync::Mutex;

use super::*;

/// A registry whose clock stands at a second that the test moves.
async fn hosted(directory: &Path) -> (Hosted, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let time = Arc::clone(&now);
    let clock =
        Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_secs(time.load(Ordering::Relaxed)));
    (Hosted::builder(directory).clock(clock).open().await.unwrap(), now)
}

fn hour() -> Collect {
    Collect::new().grace(Duration::from_secs(3600))
}

fn collected(uploads: u64, manifests: u64, links: u64, blobs: u64, bytes: u64, checked: u64) -> Collected {
    Collected { uploads, manifests, links, blobs, bytes, checked }
}

#[tokio::test]
async fn what_no_manifest_needs_goes_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let (hosted, now) = hosted(directory.path()).await;
    let (config, layer) = (push_blob(&hosted, &a(), "{}").await, push_blob(&hosted, &a(), "layer").await);
    let digest = push_manifest(&hosted, "latest", &manifest(&config, &[layer])).await;
    let idle = push_blob(&hosted, &a(), "idle").await;
    push_blob(&hosted, &"b".parse().unwrap(), "layer").await;
    now.fetch_add(3599, Ordering::Relaxed);
    let late = push_blob(&hosted, &a(), "late").await;
    assert_eq!(hosted.collect(hour()).await.unwrap(), collected(0, 0, 0, 0, 0, 4));

    // Of `b` only the link goes, since `a` needs that blob; of `a` what isn't needed.
    now.fetch_add(1, Ordering::Relaxed);
    let expected = collected(0, 0, 2, 1, 4, 4);
    assert_eq!(hosted.collect(hour().dry_run(true)).await.unwrap(), expected);
    assert_eq!(hosted.collect(hour().dry_run(true)).await.unwrap(), expected, "a dry run changes nothing");
    let told = Arc::new(Mutex::new(Vec::new()));
    let place = Arc::clone(&told);
    let tell = move |done: &Collected| place.lock().unwrap().push(*done);
    assert_eq!(hosted.collect(hour().progress(tell)).await.unwrap(), expected);
    assert_eq!(told.lock().unwrap().last(), Some(&expected));
    assert_eq!(
        send(&hosted, GetBlob::new(a(), *idle.digest())).await.unwrap_err().code(),
        ErrorCode::BlobUnknown
    );
    assert_eq!(read(&hosted, *late.digest()).await, "late");
    assert_eq!(hosted.usage().await.unwrap().repositories, 1);

    send(&hosted, DeleteManifest::new(a(), digest.into())).await.unwrap();
    now.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(hosted.collect(hour()).await.unwrap(), collected(0, 0, 3, 3, 11, 3));
    assert_eq!(hosted.usage().await.unwrap(), Memory::new().usage());
}

#[tokio::test]
async fn what_no_tag_leads_to_goes_when_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (hosted, now) = hosted(directory.path()).await;
    let config = push_blob(&hosted, &a(), "{}").await;
    let image = |number: usize, subject: Option<Digest>| {
        let mut object = crate::spec::json::Document::parse(manifest(&config, &[])).unwrap().object().clone();
        object.set("annotations", Raw::of(&std::collections::BTreeMap::from([("n", number.to_string())])));
        if let Some(subject) = subject {
            object.set("subject", Descriptor::new(MediaType::OCI_MANIFEST, subject, 1).object().to_raw());
        }
        object.to_raw().bytes().clone()
    };
    let put = async |content: &bytes::Bytes| {
        push_manifest(&hosted, &Digest::sha256(content).to_string(), content).await
    };
    let (child, lonely) = (put(&image(1, None)).await, put(&image(2, None)).await);
    // Of a child of a tagged index, and of one that has no tag.
    let (referrer, other) = (put(&image(3, Some(child))).await, put(&image(4, Some(lonely))).await);
    let mut index = Object::new();
    let entry = Descriptor::new(MediaType::OCI_MANIFEST, child, image(1, None).len() as u64);
    index.set("manifests", Raw::list([&entry.object().to_raw()]));
    let index =
        PutManifest::new(a(), "index".parse().unwrap(), MediaType::OCI_INDEX, index.to_raw().bytes().clone());
    send(&hosted, index.clone()).await.unwrap();
    now.fetch_add(3600, Ordering::Relaxed);
    let young = put(&image(5, None)).await;

    let has = async |digest: Digest| send(&hosted, GetManifest::head(a(), digest.into())).await.is_ok();
    assert_eq!(hosted.collect(hour()).await.unwrap(), collected(0, 0, 0, 0, 0, 1));
    let untagged = || hour().untagged(true);
    assert_eq!(hosted.collect(untagged().dry_run(true)).await.unwrap(), collected(0, 2, 0, 0, 0, 1));
    assert!(has(lonely).await);
    assert_eq!(hosted.collect(untagged()).await.unwrap(), collected(0, 2, 0, 0, 0, 1));
    for (digest, stays) in [(child, true), (referrer, true), (young, true), (lonely, false), (other, false)] {
        assert_eq!(has(digest).await, stays, "{digest}");
    }
    send(&hosted, DeleteManifest::new(a(), index.reference)).await.unwrap();
    now.fetch_add(3600, Ordering::Relaxed);
    let expected = collected(0, 4, 1, 1, 2, 1);
    assert_eq!(hosted.collect(untagged().dry_run(true)).await.unwrap(), expected);
    assert_eq!(hosted.collect(untagged()).await.unwrap(), expected);
    assert_eq!(hosted.usage().await.unwrap(), Memory::new().usage());
}

#[tokio::test(start_paused = true)]
async fn abandoned_uploads_go() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let id = open(&hosted).await;
    chunk(&hosted, &id, "abc").await.unwrap();
    tokio::time::advance(Duration::from_secs(3599)).await;
    let other = open(&hosted).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    for dry_run in [true, false] {
        let collect = Collect::new().dry_run(dry_run);
        assert_eq!(hosted.collect(collect).await.unwrap(), collected(1, 0, 0, 0, 0, 0));
        assert_eq!(files(directory.path()), usize::from(dry_run));
    }
    assert!(unknown(&received(&hosted, &id).await.unwrap_err()));
    assert_eq!(received(&hosted, &other).await.unwrap(), 0);
    drop(hosted);
    assert!(unknown(&received(&Hosted::open(directory.path()).await.unwrap(), &id).await.unwrap_err()));
}

#[tokio::test]
async fn a_blob_that_is_asked_for_or_mounted_stays_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let (hosted, now) = hosted(directory.path()).await;
    let digest = *push_blob(&hosted, &a(), "x").await.digest();
    let two_hours = || Collect::new().grace(Duration::from_secs(7200));
    for _ in 0..3 {
        now.fetch_add(7200, Ordering::Relaxed);
        send(&hosted, GetBlob::head(a(), digest)).await.unwrap();
        assert_eq!(hosted.collect(two_hours()).await.unwrap(), collected(0, 0, 0, 0, 0, 1));
        now.fetch_add(7200, Ordering::Relaxed);
        let mut mount = StartUpload::new(a());
        mount.mount = Some(crate::operation::Mount::new(digest, None));
        send(&hosted, mount).await.unwrap();
        assert_eq!(hosted.collect(two_hours()).await.unwrap(), collected(0, 0, 0, 0, 0, 1));
    }
    now.fetch_add(7200, Ordering::Relaxed);
    send(&hosted, GetBlob::new(a(), digest)).await.unwrap();
    assert_eq!(hosted.collect(two_hours()).await.unwrap(), collected(0, 0, 1, 1, 1, 1));
}

#[tokio::test]
async fn a_blob_between_store_and_index_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let hosted = Hosted::open(directory.path()).await.unwrap();
    let digest = Digest::sha256(b"x");
    hosted.inner.blobs.put(digest, None, "x".into()).await.unwrap();
    let hold = hosted.inner.holds.put(digest).await;
    let now = || Collect::new().grace(Duration::ZERO);
    assert_eq!(hosted.collect(now()).await.unwrap(), collected(0, 0, 0, 0, 0, 1));
    drop(hold);
    assert_eq!(hosted.collect(now()).await.unwrap(), collected(0, 0, 0, 1, 1, 1));
}
