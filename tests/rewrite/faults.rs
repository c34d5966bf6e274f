//! Sources that are slow, full, inconsistent or gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tower::ServiceBuilder;
use tower_oci::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use tower_oci::layer::rewrite::{Plan, Rewrite, RewriteLayer};
use tower_oci::operation::middleware::{Next, from_fn};
use tower_oci::operation::{
    GetBlob, GetManifest, Handlers, Manifest, Operation, Registry, Request, UpstreamId,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::media_type::MediaType;
use tower_oci::store::MemoryRecords;
use tower_service::Service as _;

use crate::source::*;

#[tokio::test]
async fn the_layer_is_ready_and_waits_for_the_source_within_the_call() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let rewrite = Rewrite::new(plan());
    let mut registry = ServiceBuilder::new()
        .layer(RewriteLayer::new(move |_| Some(rewrite.clone())))
        .concurrency_limit(1)
        .service(source.memory.clone());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(registry.poll_ready(&mut context), Poll::Ready(Ok(()))));
    // Four at a time go through a source that takes one.
    let registry = registry.boxed_registry();
    let all = join_all((0..4).map(|_| get(&registry, "v1"))).await;
    assert!(all.into_iter().all(|manifest| manifest.is_ok()));
}

#[tokio::test]
async fn when_the_one_who_derives_leaves_another_takes_over() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let rewrite = Rewrite::new(plan());
    let stalled = Arc::new(AtomicUsize::new(0));
    let stall = Arc::clone(&stalled);
    let registry = ServiceBuilder::new()
        .layer(RewriteLayer::new(move |_| Some(rewrite.clone())))
        .layer(from_fn(move |request: Request, next: Next| {
            // The first one to read the manifest never gets it.
            let is_read = matches!(request.operation(), Operation::GetManifest(asked) if !asked.head);
            let stalls = is_read && stall.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if stalls {
                    std::future::pending::<()>().await;
                }
                next.run(request).await
            }
        }))
        .service(source.memory.clone())
        .boxed_registry();
    let mut first = Box::pin(get(&registry, "v1"));
    let mut second = Box::pin(get(&registry, "v1"));
    for _ in 0..10 {
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
    }
    drop(first);
    assert_ne!(second.await.unwrap().digest, digest);
    assert_eq!(stalled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failure_of_the_source_is_told_to_all_who_wait_and_not_remembered() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let rewrite = Rewrite::new(plan());
    let registry = ServiceBuilder::new()
        .layer(RewriteLayer::new(move |_| Some(rewrite.clone())))
        .layer(from_fn(move |request: Request, next: Next| {
            let fails = matches!(request.operation(), Operation::GetBlob(_))
                && count.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                tokio::task::yield_now().await;
                if !fails {
                    return next.run(request).await;
                }
                let error = Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, "slow down");
                Err(error.with_retry_after(RetryAfter::Delay(Duration::from_secs(7))))
            }
        }))
        .service(source.memory.clone())
        .boxed_registry();
    for result in join_all((0..8).map(|_| get(&registry, "v1"))).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::TooManyRequests, "slow down"));
        assert_eq!(error.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(7))));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert!(get(&registry, "v1").await.is_ok());
}

#[tokio::test]
async fn an_index_that_names_what_is_not_there_says_so() {
    let source = Source::new();
    let amd64 = source.image(None, "linux/amd64", false);
    let gone = Digest::sha256(b"gone");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        [amd64, gone]
            .map(|digest| {
                let raw = Descriptor::new(MediaType::OCI_MANIFEST, digest, 1).object().to_raw();
                String::from_utf8(raw.bytes().to_vec()).unwrap()
            })
            .join(","),
    );
    let content = Bytes::from(index);
    let digest = Digest::sha256(&content);
    let memory = source.memory.clone();
    let rewrite = Rewrite::new(plan());
    let registry = ServiceBuilder::new()
        .layer(RewriteLayer::new(move |_| Some(rewrite.clone())))
        .service(
            Handlers::new()
                .on(move |request: Request<GetManifest>| {
                    let (memory, content) = (memory.clone(), content.clone());
                    async move {
                        let asked = request.operation().reference.clone();
                        if asked.tag().is_some() || asked.digest() == Some(&digest) {
                            return Ok(Manifest::new(MediaType::OCI_INDEX, digest, content).into());
                        }
                        memory.send(request).await
                    }
                })
                .on({
                    let memory = source.memory.clone();
                    move |request: Request<GetBlob>| {
                        let memory = memory.clone();
                        async move { memory.send(request).await }
                    }
                }),
        )
        .boxed_registry();
    let error = get(&registry, "v1").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ManifestUnknown);
    assert!(error.to_string().starts_with(&format!("in {gone}: ")), "{error}");
}

#[tokio::test]
async fn content_that_is_something_else_is_not_rewritten() {
    let lying = Handlers::new().on(|request: Request<GetManifest>| async move {
        let digest = match request.operation().reference.digest() {
            Some(digest) => *digest,
            None => Digest::sha256(b"named"),
        };
        Ok(Manifest::new(MediaType::OCI_MANIFEST, digest, Bytes::from_static(b"{}")))
    });
    let rewrite = Rewrite::new(plan());
    let registry =
        ServiceBuilder::new().layer(RewriteLayer::new(move |_| Some(rewrite.clone()))).service(lying);
    let error = get(&registry.boxed_registry(), "v1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, ErrorCode::DigestInvalid));
}

#[tokio::test]
async fn a_config_over_the_limit_is_not_read() {
    let source = Source::new();
    let repository = repository();
    let large = source.memory.push_blob(&repository, MediaType::OCI_CONFIG, vec![b' '; 4 * 1024 * 1024 + 1]);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":4194305}},"layers":[]}}"#,
        MediaType::OCI_CONFIG,
        large.unwrap().digest(),
    );
    let reference = "v1".parse().unwrap();
    source.memory.push_manifest(&repository, &reference, MediaType::OCI_MANIFEST, manifest).unwrap();
    let error = get(&source.stack(Rewrite::new(plan())), "v1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, ErrorCode::SizeInvalid));
    assert_eq!(source.asked().len(), 2, "the config isn't asked for");
}

#[tokio::test(start_paused = true)]
async fn a_derived_digest_is_forgotten_when_its_time_has_come() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let rewrite = Rewrite::new(plan());
    let layer = RewriteLayer::new(move |_| Some(rewrite.clone())).record_lifetime(Duration::from_secs(60));
    let registry = source.under(layer);
    let manifest = get(&registry, "v1").await.unwrap();
    tokio::time::advance(Duration::from_secs(40)).await;
    assert!(get(&registry, manifest.digest).await.is_ok());
    // A pull by tag renews it.
    get(&registry, "v1").await.unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(get(&registry, manifest.digest).await.is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(get(&registry, manifest.digest).await.unwrap_err().code(), ErrorCode::ManifestUnknown);
}

#[tokio::test]
async fn records_that_are_full_stop_nobody() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let rewrite = Rewrite::new(plan());
    let layer = RewriteLayer::new(move |_| Some(rewrite.clone()));
    let registry = source.under(layer.records(Arc::new(MemoryRecords::with_capacity(0))));
    let manifest = get(&registry, "v1").await.unwrap();
    assert_eq!(walk(&registry, &manifest).await, 4);
}

#[tokio::test]
async fn without_memory_everything_is_derived_anew() {
    let source = Source::new();
    source.index("v1");
    let rewrite = Rewrite::new(plan());
    let registry = source.under(RewriteLayer::new(move |_| Some(rewrite.clone())).memo_bytes(0));
    let manifest = get(&registry, "v1").await.unwrap();
    source.asked();
    assert_eq!(get(&registry, manifest.digest).await.unwrap(), manifest);
    assert_eq!(source.asked().len(), 5);
    // All who wait for it at the same time share it all the same.
    let all = join_all((0..4).map(|_| get(&registry, "v1"))).await;
    assert!(all.into_iter().all(|found| found.unwrap() == manifest));
    assert_eq!(source.asked().len(), 4 + 5);
}

#[tokio::test]
async fn what_one_registry_derived_is_not_another_s() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let registry = source.stack(Rewrite::new(plan()));
    let ask = async |reference: &str, host: &str| {
        let mut request = Request::new(GetManifest::new(repository(), reference.parse().unwrap()));
        request.extensions_mut().insert(UpstreamId::new(host.parse().unwrap()));
        registry.send(request).await?.into_reply().full()
    };
    let manifest = ask("v1", "one.example").await.unwrap();
    let derived = manifest.digest.to_string();
    assert_eq!(ask(&derived, "one.example").await.unwrap(), manifest);
    source.asked();
    assert!(ask(&derived, "two.example").await.is_err());
    assert_eq!(source.asked().len(), 1, "the other one is asked for the digest itself");
    assert_ne!(manifest.digest, digest);
}

#[tokio::test]
async fn a_plan_is_carried_out_once() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let registry = ServiceBuilder::new()
        .layer(RewriteLayer::by_extension())
        .layer(RewriteLayer::by_extension())
        .layer(source.recorder())
        .service(source.memory.clone())
        .boxed_registry();
    let ask = async |rewrite: Option<Rewrite>| {
        let mut request = Request::new(GetManifest::new(repository(), "v1".parse().unwrap()));
        if let Some(rewrite) = rewrite {
            request.extensions_mut().insert(rewrite);
        }
        registry.send(request).await.unwrap().into_reply().full().unwrap().digest
    };
    let once = get(&source.stack(Rewrite::new(plan())), "v1").await.unwrap().digest;
    assert_eq!(ask(Some(Rewrite::new(plan()))).await, once);
    assert_ne!(ask(None).await, once);
    assert_eq!(ask(Some(Rewrite::new(Plan::default()))).await, ask(None).await);
}

#[tokio::test]
async fn an_index_of_too_many_manifests_is_refused_before_they_are_read() {
    let source = Source::new();
    let amd64 = source.image(None, "linux/amd64", false);
    let entries = |count| vec![source.descriptor(MediaType::OCI_MANIFEST, amd64, Some("linux/amd64")); count];
    source.push_index(Some("most"), &entries(64));
    source.push_index(Some("more"), &entries(65));
    let registry = source.stack(Rewrite::new(plan()));
    assert!(get(&registry, "most").await.is_ok());
    source.asked();
    let error = get(&registry, "more").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image's index has more than 64 manifests to rewrite; choose platforms"
    );
    assert_eq!(source.asked().len(), 2);
}
