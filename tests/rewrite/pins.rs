use std::sync::Arc;

use tower_oci::error::{ErrorCode, ErrorKind};
use tower_oci::layer::rewrite::{DerivedFrom, InjectedLayer, Pin, Plan, Rewrite, RewriteLayer};
use tower_oci::operation::{
    GetManifest, ListReferrers, ListRepositories, ListTags, Ping, PutManifest, Registry, Request, StartUpload,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Manifest as Document;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::page::Page;
use tower_oci::spec::platform::Platform;
use tower_oci::store::MemoryRecords;

use crate::source::*;

#[tokio::test]
async fn a_pin_serves_its_image_and_nothing_else() {
    let source = Source::new();
    let digest = source.index("v1");
    let other = source.image(Some("v2"), "linux/s390x", false);
    let rewrite = Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest));
    let registry = source.stack(rewrite);
    let manifest = get(&registry, "v1").await.unwrap();
    assert_eq!(source.asked().len(), 5, "no tag is resolved");
    assert_eq!(walk(&registry, &manifest).await, 1 + 2 * 4);
    source.asked();

    let Document::Index(index) = Document::parse(None, content(&source.memory, digest)).unwrap() else {
        unreachable!()
    };
    let unknown = [
        "v2".to_owned(),
        "latest".to_owned(),
        digest.to_string(),
        other.to_string(),
        index.manifests()[0].digest().to_string(),
    ];
    for reference in unknown {
        let error = get(&registry, &reference).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ManifestUnknown, "{reference}");
        assert_eq!(error.to_string(), format!("no manifest `{reference}` in `demo/app`"));
    }
    let foreign = source.memory.push_blob(&repository(), MediaType::OCI_LAYER, "another image's").unwrap();
    let error = blob(&registry, *foreign.digest()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BlobUnknown);
    assert_eq!(source.asked(), Vec::<String>::new(), "nothing of this reaches the source");

    let tags = registry.send(Request::new(ListTags::new(repository()))).await.unwrap().into_reply();
    assert_eq!(tags.tags, ["v1".parse().unwrap()]);
    let mut after = ListTags::new(repository());
    after.page = Page::new(Some(1), Some("v1".to_owned()));
    let tags = registry.send(Request::new(after)).await.unwrap().into_reply();
    assert_eq!((tags.tags, tags.next), (Vec::new(), None));
    for digest in [manifest.digest, digest] {
        let request = Request::new(ListReferrers::new(repository(), digest));
        assert_eq!(registry.send(request).await.unwrap().into_reply().manifests, []);
    }
    assert_eq!(source.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn under_a_pin_what_is_not_known_fails_closed() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let pinned = source.stack(Rewrite::new(plan()).pinned(Pin::new(None, digest)));
    let free = source.stack(Rewrite::new(plan()));
    let put = || {
        let content = content(&source.memory, digest);
        PutManifest::new(repository(), "v3".parse().unwrap(), MediaType::OCI_MANIFEST, content)
    };
    for error in [
        pinned.send(Request::new(put())).await.unwrap_err(),
        pinned.send(Request::new(StartUpload::new(repository()))).await.unwrap_err(),
        pinned.send(Request::new(ListRepositories::new())).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }
    assert_eq!(source.asked(), Vec::<String>::new());
    assert!(pinned.send(Request::new(Ping::new())).await.is_ok(), "guards below can challenge it");
    free.send(Request::new(put())).await.unwrap();
    free.send(Request::new(StartUpload::new(repository()))).await.unwrap();
    assert_eq!(source.asked(), ["Ping", "PutManifest", "StartUpload"]);
}

#[tokio::test]
async fn who_may_not_see_the_source_sees_nothing_derived_from_it() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    for rewrite in
        [Rewrite::new(plan()), Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest))]
    {
        let registry = source.stack(rewrite);
        let manifest = get(&registry, "v1").await.unwrap();
        let Document::Image(image) = parse(&manifest) else { unreachable!() };
        *source.denied.lock().unwrap() = true;
        for error in [
            get(&registry, "v1").await.unwrap_err(),
            get(&registry, manifest.digest).await.unwrap_err(),
            head(&registry, manifest.digest).await.unwrap_err(),
            blob(&registry, *image.config_digest()).await.unwrap_err(),
            blob(&registry, *image.layers()[0].digest()).await.unwrap_err(),
            blob(&registry, *image.layers()[1].digest()).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Denied, "not yours"));
        }
        *source.denied.lock().unwrap() = false;
    }
}

#[tokio::test]
async fn another_process_rebuilds_what_was_derived_elsewhere() {
    let source = Source::new();
    let digest = source.index("v1");
    let records = Arc::new(MemoryRecords::with_capacity(100));
    let process = |with_records: bool| {
        let rewrite = Rewrite::new(plan());
        let layer = RewriteLayer::new(move |_| Some(rewrite.clone()));
        source.under(if with_records { layer.records(records.clone()) } else { layer })
    };
    let manifest = get(&process(true), "v1").await.unwrap();
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    source.asked();

    // Each of these is asked of a process of its own, which has derived nothing yet.
    assert_eq!(get(&process(true), manifest.digest).await.unwrap(), manifest);
    assert_eq!(source.asked().len(), 5, "reading the source is the check");
    let child = get(&process(true), index.manifests()[1].digest()).await.unwrap();
    let Document::Image(image) = parse(&child) else { unreachable!() };
    assert!(blob(&process(true), *image.config_digest()).await.is_ok());
    assert!(blob(&process(true), *image.layers()[1].digest()).await.is_ok());
    assert!(get(&process(false), manifest.digest).await.is_err());
    let request = ListReferrers::new(repository(), manifest.digest);
    source.asked();
    assert_eq!(process(true).send(Request::new(request)).await.unwrap().into_reply().manifests, []);
    assert_eq!(source.asked(), Vec::<String>::new());

    // A pin needs no record.
    let pinned = || source.stack(Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest)));
    assert_eq!(get(&pinned(), manifest.digest).await.unwrap(), manifest);
    assert!(blob(&pinned(), *image.layers()[1].digest()).await.is_ok());
}

#[tokio::test]
async fn a_digest_names_the_source_only_for_who_says_so() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let plain = source.stack(Rewrite::new(plan()));
    assert_eq!(get(&plain, digest).await.unwrap().digest, digest);
    assert_eq!(source.asked(), [format!("GET {}", short(&digest))]);

    let resolving = source.stack(Rewrite::new(plan()).resolving());
    let request = Request::new(GetManifest::head(repository(), digest.into()));
    let response = resolving.send(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&DerivedFrom::new(digest)));
    let derived = response.into_reply().full().unwrap().digest;
    assert_eq!(derived, get(&plain, "v1").await.unwrap().digest);
    assert_ne!(derived, digest);
}

#[tokio::test]
async fn a_pin_serves_what_a_derived_index_still_names() {
    let source = Source::new();
    let digest = source.index("v1");
    // The attestation is of amd64, which this plan leaves as it is.
    let layer = InjectedLayer::from_tar(tar()).unwrap().for_platforms([Platform::LINUX_ARM64]);
    let plan = Plan::builder().layer(layer).build().unwrap();
    let registry = source.stack(Rewrite::new(plan).pinned(Pin::new(None, digest)));
    let request = Request::new(ListTags::new(repository()));
    assert_eq!(registry.send(request).await.unwrap().into_reply().tags, []);
    let Document::Index(index) = Document::parse(None, content(&source.memory, digest)).unwrap() else {
        unreachable!()
    };
    let attestation = get(&registry, index.manifests()[2].digest()).await.unwrap();
    assert_eq!(walk(&registry, &attestation).await, 3);
    source.asked();
    let error = blob(&registry, Digest::sha256(b"other")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BlobUnknown);
    assert_eq!(source.asked(), Vec::<String>::new(), "its blobs are known by now");
    let first = get(&registry, index.manifests()[0].digest()).await.unwrap();
    assert_eq!(walk(&registry, &first).await, 3);
}

#[tokio::test]
async fn a_pin_with_a_plan_that_narrows_reads_no_configs() {
    let source = Source::new();
    let digest = source.index("v1");
    let plan = Plan::builder().platforms([Platform::LINUX_ARM64]).build().unwrap();
    let registry = source.stack(Rewrite::new(plan).pinned(Pin::new(Some("v1".parse().unwrap()), digest)));
    let manifest = get(&registry, "v1").await.unwrap();
    assert_eq!(source.asked().len(), 2, "the index and one manifest");
    assert_eq!(walk(&registry, &manifest).await, 1 + 3);
    let single = source.image(Some("v2"), "linux/arm64", false);
    let registry =
        source.stack(Rewrite::new(Plan::default()).pinned(Pin::new(Some("v2".parse().unwrap()), single)));
    assert_eq!(get(&registry, "v2").await.unwrap().digest, single);
    assert!(blob(&registry, Digest::sha256(b"other")).await.is_err());
}
