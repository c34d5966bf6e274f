use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;

mod leaf;

use self::leaf::{Kind, Leaf, leaf, tests_of_both};
use super::*;
use crate::body::Body;
use crate::error::{BoxError, Error, ErrorCode};
use crate::operation::{
    BlobContent, BlobCreated, Call, CancelUpload, Conditional, DeleteBlob, DeleteManifest, EntityTags,
    FinishUpload, GetBlob, GetManifest, ListReferrers, ListRepositories, ListTags, Mount, PutManifest,
    Request, SingleUpload, StartUpload, UploadChunk, UploadId, UploadStarted, UploadStatus, Verified,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::Descriptor;
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::name::{Repository, Tag};
use crate::spec::page::Page;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

async fn send<O: Call>(memory: &Leaf, operation: O) -> Result<O::Reply, Error> {
    memory.send(Request::new(operation)).await.map(|response| response.into_reply())
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, ErrorCode) {
    let error = result.unwrap_err();
    (error.status().as_u16(), error.code())
}

fn manifest(config: &Descriptor, layers: &[Descriptor], more: &[(&'static str, Raw)]) -> Bytes {
    let mut object = Object::new();
    object.set("schemaVersion", Raw::of(&2));
    object.set("config", config.object().to_raw());
    object.set("layers", Raw::list(&layers.iter().map(|l| l.object().to_raw()).collect::<Vec<_>>()));
    for (key, value) in more {
        object.set(*key, value.clone());
    }
    object.to_raw().bytes().clone()
}

/// A repository with one image under `latest`.
async fn image(memory: &Leaf, repository: &Repository) -> (Digest, Bytes) {
    let config = memory.push_blob(repository, MediaType::OCI_CONFIG, "{}").await.unwrap();
    let layer = memory.push_blob(repository, MediaType::OCI_LAYER, "layer").await.unwrap();
    let content = manifest(&config, &[layer], &[]);
    let reference = tag("latest").into();
    let digest =
        memory.push_manifest(repository, &reference, MediaType::OCI_MANIFEST, content.clone()).await.unwrap();
    (digest, content)
}

async fn open(memory: &Leaf, repository: &Repository) -> UploadId {
    match send(memory, StartUpload::new(repository.clone())).await.unwrap() {
        UploadStarted::Open(state) => state.upload,
        UploadStarted::Created(created) => panic!("{created:?}"),
    }
}

async fn chunk(memory: &Leaf, id: &UploadId, range: Option<&str>, body: Body) -> Result<u64, Error> {
    let mut chunk = UploadChunk::new(name("a"), id.clone(), body);
    chunk.range = range.map(|range| range.parse().unwrap());
    Ok(send(memory, chunk).await?.received)
}

async fn finish(memory: &Leaf, id: &UploadId, digest: Digest) -> Result<BlobCreated, Error> {
    send(memory, FinishUpload::new(name("a"), id.clone(), digest, Body::empty())).await
}

async fn received(memory: &Leaf, id: &UploadId) -> Result<u64, Error> {
    Ok(send(memory, UploadStatus::new(name("a"), id.clone())).await?.received)
}

async fn what_is_pushed_is_pulled_to_the_byte(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a/b"));
    let (digest, content) = image(&memory, &a).await;
    for reference in [tag("latest").into(), digest.into()] {
        let get = GetManifest::new(a.clone(), reference);
        let response = memory.send(Request::new(get.clone())).await.unwrap();
        assert!(response.extensions().get::<Verified>().is_some());
        let found = response.into_reply().full().unwrap();
        assert_eq!((found.digest, &found.media_type), (digest, &MediaType::OCI_MANIFEST));
        assert_eq!(found.content.as_ref(), Some(&content));

        let mut head = get;
        head.head = true;
        let found = send(&memory, head.clone()).await.unwrap().full().unwrap();
        assert_eq!((found.size, found.content), (content.len() as u64, None));
        head.conditions.if_none_match = Some(EntityTags::Digests(vec![digest]));
        assert_eq!(send(&memory, head).await.unwrap(), Conditional::NotModified(digest));
    }
    let unknown = GetManifest::new(a, tag("other").into());
    let error = send(&memory, unknown).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown));
    assert_eq!(error.message(), "no manifest `other` in `a/b`");
}

async fn blobs_are_answered_whole_in_parts_and_not_at_all(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let digest = *memory.push_blob(&a, MediaType::OCTET_STREAM, "0123456789").await.unwrap().digest();
    let get = |range: &str| GetBlob::ranges(a.clone(), digest, range.parse().unwrap());

    let whole = send(&memory, GetBlob::new(a.clone(), digest)).await.unwrap();
    assert_eq!(whole.size, Some(10));
    assert_eq!(whole.into_whole().unwrap().read(10).await.unwrap(), "0123456789");
    let head = send(&memory, GetBlob::head(a.clone(), digest)).await.unwrap();
    assert_eq!((head.size, head.into_whole().unwrap().size()), (Some(10), Some(0)));

    for (range, first, text) in [("bytes=2-4", 2, "234"), ("bytes=8-", 8, "89"), ("bytes=-1", 9, "9")] {
        let BlobContent::Part(part) = send(&memory, get(range)).await.unwrap().content else {
            panic!("{range} is not one part")
        };
        assert_eq!(part.range.first(), first);
        assert_eq!(part.body.read(10).await.unwrap(), text);
    }
    let BlobContent::Parts(parts) = send(&memory, get("bytes=0-1,-2")).await.unwrap().content else {
        panic!("not several parts")
    };
    let ranges: Vec<String> = parts.iter().map(|part| part.range.to_string()).collect();
    assert_eq!(ranges, ["0-1", "8-9"]);
    assert_eq!(
        refused(send(&memory, get("bytes=10-")).await),
        (StatusCode::RANGE_NOT_SATISFIABLE.as_u16(), ErrorCode::SizeInvalid)
    );

    let mut other = get("bytes=2-4");
    other.conditions.if_range = Some(EntityTags::parse("\"something else\""));
    assert!(matches!(send(&memory, other).await.unwrap().content, BlobContent::Whole(_)));
    let mut known = get("bytes=2-4");
    known.conditions.if_none_match = Some(EntityTags::Any);
    assert!(matches!(send(&memory, known).await.unwrap().content, BlobContent::NotModified));
    assert_eq!(
        refused(send(&memory, GetBlob::new(name("b"), digest)).await),
        (404, ErrorCode::BlobUnknown),
        "visible in one repository is not visible in another"
    );
}

async fn manifests_that_lie_are_refused(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let config = memory.push_blob(&a, MediaType::OCI_CONFIG, "{}").await.unwrap();
    let good = manifest(&config, &[], &[]);
    let absent = Descriptor::of(MediaType::OCI_LAYER, b"absent");
    let wrong_size = Descriptor::new(MediaType::OCI_CONFIG, *config.digest(), 3);
    let index = Raw::of(&MediaType::OCI_INDEX);
    let mut both = Object::new();
    both.set("manifests", Raw::list([]));
    both.set("layers", Raw::list([]));
    let (latest, other) = ("latest".to_owned(), Digest::sha256(b"other").to_string());
    let oci = Some(MediaType::OCI_MANIFEST);
    for (reference, media_type, content, expected) in [
        (&other, oci.clone(), good.clone(), (400, ErrorCode::DigestInvalid)),
        (&latest, oci.clone(), manifest(&absent, &[], &[]), (400, ErrorCode::ManifestBlobUnknown)),
        (&latest, oci.clone(), manifest(&config, &[absent], &[]), (400, ErrorCode::ManifestBlobUnknown)),
        (&latest, oci.clone(), manifest(&wrong_size, &[], &[]), (400, ErrorCode::SizeInvalid)),
        (
            &latest,
            oci.clone(),
            manifest(&config, &[], &[("mediaType", index)]),
            (400, ErrorCode::ManifestInvalid),
        ),
        (&latest, None, both.to_raw().bytes().clone(), (400, ErrorCode::ManifestInvalid)),
        (&latest, oci.clone(), Bytes::from_static(b"[]"), (400, ErrorCode::ManifestInvalid)),
        (&latest, None, Bytes::from_static(b"{}"), (400, ErrorCode::ManifestInvalid)),
        (&latest, oci, vec![b' '; (4 << 20) + 1].into(), (413, ErrorCode::SizeInvalid)),
    ] {
        let mut put = PutManifest::new(a.clone(), reference.parse().unwrap(), MediaType::JSON, content);
        put.media_type = media_type;
        let shown = format!("{put:?}").chars().take(300).collect::<String>();
        assert_eq!(refused(send(&memory, put).await), expected, "{shown}");
    }
    let error = send(&memory, ListTags::new(a)).await.unwrap();
    assert_eq!(error.tags, []);
}

async fn a_foreign_layer_need_not_be_there_and_an_index_may_be_sparse(kind: Kind) {
    let a = name("a");
    let memory = leaf!(kind, sparse_indexes(false));
    let config = memory.push_blob(&a, MediaType::OCI_CONFIG, "{}").await.unwrap();
    let foreign = [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ]
    .map(|media_type| Descriptor::of(media_type.parse().unwrap(), b"elsewhere"));
    let content = manifest(&config, &foreign, &[]);
    let child = Descriptor::of(MediaType::OCI_MANIFEST, &content);
    let mut index = Object::new();
    index.set("manifests", Raw::list([&child.object().to_raw()]));
    let index = index.to_raw().bytes().clone();

    let (reference, index_type) = (tag("index").into(), MediaType::OCI_INDEX);
    let put = async |leaf: &Leaf| leaf.push_manifest(&a, &reference, index_type.clone(), index.clone()).await;
    assert_eq!(refused(put(&memory).await), (400, ErrorCode::ManifestBlobUnknown));
    let digest = Digest::sha256(&content);
    memory.push_manifest(&a, &digest.into(), MediaType::OCI_MANIFEST, content).await.unwrap();
    assert_eq!(put(&memory).await.unwrap(), Digest::sha256(&index));
    assert_eq!(put(&leaf!(kind)).await.unwrap(), Digest::sha256(&index));
}

async fn tags_come_with_a_manifest_and_go_with_it(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let config = memory.push_blob(&a, MediaType::OCI_CONFIG, "{}").await.unwrap();
    let content = manifest(&config, &[], &[]);
    let digest = Digest::of(Algorithm::Sha512, &content);
    let mut put = PutManifest::new(a.clone(), digest.into(), MediaType::OCI_MANIFEST, content);
    put.tags = ["b", "C", "a"].map(tag).to_vec();
    let mut by_tag = put.clone();
    by_tag.reference = tag("x").into();
    let mut too_many = put.clone();
    too_many.tags = vec![tag("t"); PutManifest::MAX_TAGS + 1];
    assert_eq!(refused(send(&memory, by_tag).await), (400, ErrorCode::ManifestInvalid));
    assert_eq!(refused(send(&memory, too_many).await), (414, ErrorCode::ManifestInvalid));

    let created = send(&memory, put).await.unwrap();
    assert_eq!(
        (created.digest, created.tags, created.subject),
        (digest, ["b", "C", "a"].map(tag).to_vec(), None)
    );
    let list = |n, last: Option<&str>| {
        let mut list = ListTags::new(a.clone());
        list.page = Page::new(n, last.map(str::to_owned));
        send(&memory, list)
    };
    assert_eq!(list(None, None).await.unwrap().tags, ["C", "a", "b"].map(tag));
    let page = list(Some(2), None).await.unwrap();
    assert_eq!((page.tags, page.next.as_deref()), (["C", "a"].map(tag).to_vec(), Some("a")));
    assert_eq!(list(Some(2), Some("a")).await.unwrap().tags, ["b"].map(tag));

    let delete = |reference: &str| DeleteManifest::new(a.clone(), reference.parse().unwrap());
    send(&memory, delete("b")).await.unwrap();
    assert_eq!(refused(send(&memory, delete("b")).await), (404, ErrorCode::ManifestUnknown));
    send(&memory, delete(&digest.to_string())).await.unwrap();
    assert_eq!(list(None, None).await.unwrap().tags, []);
    assert_eq!(
        refused(send(&memory, DeleteManifest::new(name("z"), tag("x").into())).await),
        (404, ErrorCode::NameUnknown)
    );
    assert_eq!(refused(send(&memory, ListTags::new(name("z"))).await), (404, ErrorCode::NameUnknown));
}

async fn nothing_is_left_of_what_is_deleted(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let (digest, _) = image(&memory, &a).await;
    let layer = Digest::sha256(b"layer");
    let delete = |digest| send(&memory, DeleteBlob::new(a.clone(), digest));
    let error = delete(layer).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (405, ErrorCode::Unsupported));
    assert_eq!(
        error.message(),
        format!("{layer} is needed by 1 manifest(s) of this repository; delete those first")
    );
    send(&memory, DeleteManifest::new(a.clone(), digest.into())).await.unwrap();
    delete(layer).await.unwrap();
    assert_eq!(refused(delete(layer).await), (404, ErrorCode::BlobUnknown));
    delete(Digest::sha256(b"{}")).await.unwrap();
    memory.is_empty().await;

    let memory = leaf!(kind, deletes(false));
    image(&memory, &a).await;
    let before = memory.usage().await;
    assert_eq!(
        refused(send(&memory, DeleteManifest::new(a.clone(), tag("latest").into())).await),
        (405, ErrorCode::Unsupported)
    );
    assert_eq!(refused(send(&memory, DeleteBlob::new(a, layer)).await), (405, ErrorCode::Unsupported));
    assert_eq!(memory.usage().await, before);
}

async fn a_blob_is_shared_but_seen_only_where_it_was_put(kind: Kind) {
    let memory = leaf!(kind);
    let digest = *memory.push_blob(&name("a"), MediaType::OCTET_STREAM, "shared").await.unwrap().digest();
    let mount = |to: &str, from: Option<&str>| {
        let mut start = StartUpload::new(name(to));
        start.mount = Some(Mount::new(digest, from.map(name)));
        start
    };
    for refused in [mount("b", None), mount("b", Some("c"))] {
        let UploadStarted::Open(state) = send(&memory, refused).await.unwrap() else { panic!("mounted") };
        send(&memory, CancelUpload::new(name("b"), state.upload)).await.unwrap();
    }
    let mounted = UploadStarted::Created(BlobCreated::new(digest));
    assert_eq!(send(&memory, mount("b", Some("a"))).await.unwrap(), mounted);
    assert_eq!(send(&memory, mount("b", None)).await.unwrap(), mounted, "it is there already");
    assert_eq!((memory.usage().await.blobs, memory.usage().await.repositories), (1, 2));
    send(&memory, DeleteBlob::new(name("a"), digest)).await.unwrap();
    assert!(send(&memory, GetBlob::new(name("b"), digest)).await.is_ok());
    assert!(send(&memory, GetBlob::new(name("a"), digest)).await.is_err());

    let anywhere = leaf!(kind, mount_from_anywhere(true));
    anywhere.push_blob(&name("a"), MediaType::OCTET_STREAM, "shared").await.unwrap();
    assert_eq!(send(&anywhere, mount("b", None)).await.unwrap(), mounted);
}

async fn uploads_come_in_chunks_in_order(kind: Kind) {
    let (memory, a) = (leaf!(kind, min_chunk(3)), name("a"));
    let UploadStarted::Open(state) = send(&memory, StartUpload::new(a.clone())).await.unwrap() else {
        panic!("created")
    };
    assert_eq!((state.received, state.min_chunk), (0, Some(3)));
    let id = state.upload;
    assert_eq!((id.as_str().len(), memory.usage().await.uploads), (32, 1));
    assert_eq!(chunk(&memory, &id, Some("0-2"), "abc".into()).await.unwrap(), 3);
    let out_of_order = (416, ErrorCode::BlobUploadInvalid);
    assert_eq!(refused(chunk(&memory, &id, Some("0-2"), "abc".into()).await), out_of_order);
    assert_eq!(refused(chunk(&memory, &id, Some("4-6"), "efg".into()).await), out_of_order);
    let size_invalid = (400, ErrorCode::SizeInvalid);
    assert_eq!(refused(chunk(&memory, &id, Some("3-4"), "def".into()).await), size_invalid);
    assert_eq!(received(&memory, &id).await.unwrap(), 3);
    assert_eq!(chunk(&memory, &id, None, "def".into()).await.unwrap(), 6);

    let mut last = FinishUpload::new(a.clone(), id.clone(), Digest::sha256(b"abcdefgh"), "gh".into());
    last.range = Some("5-6".parse().unwrap());
    assert_eq!(refused(send(&memory, last).await), out_of_order);
    let mut last = FinishUpload::new(a.clone(), id.clone(), Digest::sha256(b"abcdefgh"), "gh".into());
    last.range = Some("6-7".parse().unwrap());
    assert_eq!(send(&memory, last).await.unwrap().digest, Digest::sha256(b"abcdefgh"));
    let blob = send(&memory, GetBlob::new(a, Digest::sha256(b"abcdefgh"))).await.unwrap();
    assert_eq!(blob.into_whole().unwrap().read(8).await.unwrap(), "abcdefgh");
    assert_eq!(refused(received(&memory, &id).await), (404, ErrorCode::BlobUploadUnknown));
}

async fn a_chunk_that_is_not_what_was_announced_leaves_nothing(kind: Kind) {
    let memory = leaf!(kind);
    let id = open(&memory, &name("a")).await;
    chunk(&memory, &id, None, "abc".into()).await.unwrap();
    let before = memory.usage().await;
    for (announced, frames) in [(3, vec!["d", "efgh"]), (9, vec!["def"]), (1, vec![])] {
        let body = Body::from_stream(stream::iter(
            frames.into_iter().map(|frame| Ok::<_, BoxError>(Bytes::from_static(frame.as_bytes()))),
        ));
        let mut chunk = UploadChunk::new(name("a"), id.clone(), body);
        chunk.length = Some(announced);
        assert_eq!(refused(send(&memory, chunk).await), (400, ErrorCode::SizeInvalid), "{announced}");
        assert_eq!(memory.usage().await, before);
    }
    chunk(&memory, &id, None, "def".into()).await.unwrap();
    finish(&memory, &id, Digest::sha256(b"abcdef")).await.unwrap();
}

async fn a_chunk_that_breaks_off_leaves_what_has_come(kind: Kind) {
    let memory = leaf!(kind);
    let id = open(&memory, &name("a")).await;
    let frames = [Ok(Bytes::from_static(b"abc")), Err(BoxError::from("reset"))];
    let broken = chunk(&memory, &id, Some("0-8"), Body::from_stream(stream::iter(frames))).await;
    let error = broken.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (400, ErrorCode::BlobUploadInvalid));
    assert_eq!(error.message(), "the request broke off after 3 bytes; the upload has 3 now");

    let waiting = || {
        use futures_util::StreamExt as _;
        let first = stream::iter([Ok::<_, BoxError>(Bytes::from_static(b"de"))]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let stalled = chunk(&memory, &id, Some("3-8"), waiting()).await;
    assert_eq!(refused(stalled), (408, ErrorCode::BlobUploadInvalid));
    assert_eq!(received(&memory, &id).await.unwrap(), 5);

    // A client that leaves: the future is dropped, and while it lives nobody else may write.
    {
        let mut left = Box::pin(chunk(&memory, &id, None, waiting()));
        assert!(futures_util::poll!(left.as_mut()).is_pending());
        assert_eq!(refused(chunk(&memory, &id, None, "x".into()).await), (409, ErrorCode::BlobUploadInvalid));
    }
    assert_eq!(received(&memory, &id).await.unwrap(), 7);
    finish(&memory, &id, Digest::sha256(b"abcdede")).await.unwrap();
}

async fn an_upload_cancelled_under_a_writer_is_gone(kind: Kind) {
    let memory = leaf!(kind);
    let id = open(&memory, &name("a")).await;
    let mut writing =
        Box::pin(chunk(&memory, &id, None, Body::from_stream(stream::pending::<Result<_, BoxError>>())));
    assert!(futures_util::poll!(writing.as_mut()).is_pending());
    send(&memory, CancelUpload::new(name("a"), id.clone())).await.unwrap();
    drop(writing);
    memory.is_empty().await;
    assert_eq!(
        refused(send(&memory, CancelUpload::new(name("a"), id)).await),
        (404, ErrorCode::BlobUploadUnknown)
    );
}

async fn an_upload_with_the_wrong_digest_is_gone(kind: Kind) {
    let memory = leaf!(kind);
    let id = open(&memory, &name("a")).await;
    chunk(&memory, &id, None, "abc".into()).await.unwrap();
    let error = finish(&memory, &id, Digest::sha256(b"abd")).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (400, ErrorCode::DigestInvalid));
    memory.is_empty().await;

    let mut start = StartUpload::new(name("a"));
    start.single = Some(SingleUpload::new(Digest::sha256(b"abd"), None, "abc".into()));
    assert_eq!(refused(send(&memory, start).await), (400, ErrorCode::DigestInvalid));
    memory.is_empty().await;
}

async fn every_algorithm_and_the_empty_blob_can_be_uploaded(kind: Kind) {
    let memory = leaf!(kind);
    for (announced, algorithm) in [
        (None, Algorithm::Sha256),
        (None, Algorithm::Sha512),
        (Some(Algorithm::Sha512), Algorithm::Sha512),
        (Some(Algorithm::Sha512), Algorithm::Sha256),
    ] {
        for content in ["", "content"] {
            let mut start = StartUpload::new(name("a"));
            start.algorithm = announced;
            let UploadStarted::Open(state) = send(&memory, start).await.unwrap() else { panic!("created") };
            chunk(&memory, &state.upload, None, content.into()).await.unwrap();
            let digest = Digest::of(algorithm, content.as_bytes());
            assert_eq!(finish(&memory, &state.upload, digest).await.unwrap().digest, digest);
            let blob = send(&memory, GetBlob::new(name("a"), digest)).await.unwrap();
            assert_eq!(blob.into_whole().unwrap().read(16).await.unwrap(), content);
        }
    }
    let mut start = StartUpload::new(name("a"));
    let digest = Digest::of(Algorithm::Sha512, b"single");
    start.single = Some(SingleUpload::new(digest, Some(6), "single".into()));
    assert_eq!(send(&memory, start).await.unwrap(), UploadStarted::Created(BlobCreated::new(digest)));
}

async fn open_uploads_are_bounded_and_expire(kind: Kind) {
    let memory = leaf!(kind, max_uploads(2), upload_timeout(Duration::from_secs(600)));
    let (first, second) = (open(&memory, &name("a")).await, open(&memory, &name("a")).await);
    let error = send(&memory, StartUpload::new(name("a"))).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (429, ErrorCode::TooManyRequests));
    tokio::time::advance(Duration::from_secs(90)).await;
    chunk(&memory, &first, None, "x".into()).await.unwrap();
    let third = open(&memory, &name("a")).await;
    assert_eq!(refused(received(&memory, &second).await), (404, ErrorCode::BlobUploadUnknown));
    assert_eq!(received(&memory, &first).await.unwrap(), 1);
    tokio::time::advance(Duration::from_secs(600)).await;
    for id in [first, third] {
        assert_eq!(refused(received(&memory, &id).await), (404, ErrorCode::BlobUploadUnknown));
    }
    // On disk, the next one takes along what the others left.
    let last = open(&memory, &name("a")).await;
    send(&memory, CancelUpload::new(name("a"), last)).await.unwrap();
    memory.is_empty().await;
}

async fn an_upload_belongs_to_its_repository(kind: Kind) {
    let memory = leaf!(kind);
    let id = open(&memory, &name("b")).await;
    assert_eq!(refused(chunk(&memory, &id, None, "x".into()).await), (404, ErrorCode::BlobUploadUnknown));
    assert_eq!(refused(finish(&memory, &id, Digest::sha256(b"")).await), (404, ErrorCode::BlobUploadUnknown));
    let forged = "..%2f".parse::<UploadId>();
    assert!(forged.is_err());
    let forged: UploadId = "f".repeat(2000).parse().unwrap();
    let error = received(&memory, &forged).await.unwrap_err();
    assert_eq!(error.message(), format!("no upload `{}` is open here", "f".repeat(64)));
}

async fn sizes_are_limited(kind: Kind) {
    let memory = leaf!(kind, max_blob(4));
    let id = open(&memory, &name("a")).await;
    let before = memory.usage().await;
    let stream = |frames: &[&'static str]| {
        let frames: Vec<_> =
            frames.iter().map(|f| Ok::<_, BoxError>(Bytes::from_static(f.as_bytes()))).collect();
        Body::from_stream(stream::iter(frames))
    };
    let too_large = (413, ErrorCode::SizeInvalid);
    assert_eq!(refused(chunk(&memory, &id, None, "12345".into()).await), too_large);
    assert_eq!(refused(chunk(&memory, &id, None, stream(&["123", "45"])).await), too_large);
    assert_eq!(memory.usage().await, before);
    assert_eq!(chunk(&memory, &id, None, stream(&["12", "34"])).await.unwrap(), 4);
    finish(&memory, &id, Digest::sha256(b"1234")).await.unwrap();
}

#[tokio::test]
async fn the_memory_is_limited() {
    let memory = Leaf::Memory(Memory::builder().max_bytes(3000).build());
    memory.push_blob(&name("a"), MediaType::OCTET_STREAM, "1234").await.unwrap();
    let full = (413, ErrorCode::Denied);
    let before = memory.usage().await;
    assert_eq!(refused(memory.push_blob(&name("a"), MediaType::OCTET_STREAM, vec![0; 2000]).await), full);
    assert_eq!(memory.usage().await, before);
    for repository in ["b", "c"] {
        open(&memory, &name(repository)).await;
    }
    assert_eq!(memory.usage().await.bytes, before.bytes + 2 * 512);
    assert_eq!(refused(send(&memory, StartUpload::new(name("d"))).await), full);
}

async fn referrers_are_listed_by_subject_and_type(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let (subject, _) = image(&memory, &a).await;
    let config = memory.push_blob(&a, MediaType::OCI_EMPTY, "{}").await.unwrap();
    let subject_member = Descriptor::new(MediaType::OCI_MANIFEST, subject, 1).object().to_raw();
    let put = |index: u32, artifact_type: Option<&str>| {
        let mut more = vec![("subject", subject_member.clone())];
        more.push((
            "annotations",
            Raw::of(&[("n", index.to_string())].into_iter().collect::<std::collections::BTreeMap<_, _>>()),
        ));
        more.extend(artifact_type.map(|artifact_type| ("artifactType", Raw::of(artifact_type))));
        let content = manifest(&config, &[], &more);
        let reference = Digest::sha256(&content).into();
        send(&memory, PutManifest::new(name("a"), reference, MediaType::OCI_MANIFEST, content))
    };
    let first = put(1, Some("a/sbom")).await.unwrap();
    assert_eq!(first.subject, Some(subject));
    let second = put(2, None).await.unwrap();
    let list = |repository: &str, artifact_type: Option<&str>, page: Page| {
        let mut list = ListReferrers::new(name(repository), subject);
        list.artifact_type = artifact_type.map(str::to_owned);
        list.page = page;
        send(&memory, list)
    };
    let all = list("a", None, Page::default()).await.unwrap();
    let mut digests = vec![first.digest, second.digest];
    digests.sort_by_key(Digest::to_string);
    assert_eq!(all.manifests.iter().map(|d| *d.digest()).collect::<Vec<_>>(), digests);
    assert!(!all.filtered);

    let some = list("a", Some("a/sbom"), Page::default()).await.unwrap();
    let [only] = some.manifests.as_slice() else { panic!("{some:?}") };
    assert_eq!((some.filtered, only.digest()), (true, &first.digest));
    assert_eq!(only.annotation("n").as_deref(), Some("1"));
    assert_eq!(only.artifact_type().unwrap().as_deref(), Some("a/sbom"));
    let by_config = list("a", Some(MediaType::OCI_EMPTY.as_str()), Page::default()).await.unwrap();
    assert_eq!(by_config.manifests.len(), 1);

    let page = list("a", None, Page::new(Some(1), None)).await.unwrap();
    assert_eq!((page.manifests.len(), page.next.as_deref()), (1, Some(&*digests[0].to_string())));
    let rest = list("a", None, Page::new(Some(1), page.next)).await.unwrap();
    assert_eq!((rest.manifests[0].digest(), rest.next), (&digests[1], None));
    assert!(list("unknown", Some("x"), Page::default()).await.unwrap().filtered);

    send(&memory, DeleteManifest::new(a, first.digest.into())).await.unwrap();
    assert_eq!(list("a", None, Page::default()).await.unwrap().manifests.len(), 1);
}

async fn a_long_list_of_referrers_comes_in_pages_by_its_bytes(kind: Kind) {
    let (memory, a) = (leaf!(kind), name("a"));
    let config = memory.push_blob(&a, MediaType::OCI_EMPTY, "{}").await.unwrap();
    let subject = Digest::sha256(b"subject");
    let subject_member = Descriptor::new(MediaType::OCI_MANIFEST, subject, 1).object().to_raw();
    for index in 0..5 {
        let annotation = format!("{{\"a\":\"{index}{}\"}}", "x".repeat(1 << 20));
        let annotations: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&annotation).unwrap();
        let more = [("subject", subject_member.clone()), ("annotations", Raw::of(&annotations))];
        let content = manifest(&config, &[], &more);
        let reference = Digest::sha256(&content).into();
        memory.push_manifest(&a, &reference, MediaType::OCI_MANIFEST, content).await.unwrap();
    }
    let (mut seen, mut pages, mut last) = (Vec::new(), 0, None);
    loop {
        let mut list = ListReferrers::new(a.clone(), subject);
        list.page = Page::new(None, last);
        let page = send(&memory, list).await.unwrap();
        seen.extend(page.manifests.iter().map(|d| d.digest().to_string()));
        pages += 1;
        last = page.next;
        if last.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (5, 5));
    assert!(seen.is_sorted());
}

async fn the_catalog_is_off_unless_asked_for(kind: Kind) {
    let memory = leaf!(kind);
    assert_eq!(refused(send(&memory, ListRepositories::new()).await), (405, ErrorCode::Unsupported));
    let memory = leaf!(kind, catalog(true));
    for repository in ["b/c", "a"] {
        memory.push_blob(&name(repository), MediaType::OCTET_STREAM, "x").await.unwrap();
    }
    let list = send(&memory, ListRepositories::new()).await.unwrap();
    assert_eq!((list.repositories, list.next), (vec![name("a"), name("b/c")], None));
}

tests_of_both! {
    what_is_pushed_is_pulled_to_the_byte,
    blobs_are_answered_whole_in_parts_and_not_at_all,
    manifests_that_lie_are_refused,
    a_foreign_layer_need_not_be_there_and_an_index_may_be_sparse,
    tags_come_with_a_manifest_and_go_with_it,
    nothing_is_left_of_what_is_deleted,
    a_blob_is_shared_but_seen_only_where_it_was_put,
    uploads_come_in_chunks_in_order,
    a_chunk_that_is_not_what_was_announced_leaves_nothing,
    a_chunk_that_breaks_off_leaves_what_has_come (start_paused = true),
    an_upload_cancelled_under_a_writer_is_gone,
    an_upload_with_the_wrong_digest_is_gone,
    every_algorithm_and_the_empty_blob_can_be_uploaded,
    open_uploads_are_bounded_and_expire (start_paused = true),
    an_upload_belongs_to_its_repository,
    sizes_are_limited,
    referrers_are_listed_by_subject_and_type,
    a_long_list_of_referrers_comes_in_pages_by_its_bytes,
    the_catalog_is_off_unless_asked_for,
}
