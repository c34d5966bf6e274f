//! Layers over registries: a cache, and some that have nothing to do.

use std::time::Duration;

use http::StatusCode;
use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::hosted::Memory;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::rewrite::{Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::layer::verify::VerifyLayer;
use tower_oci::spec::name::Host;
use tower_oci::store::blobs::MemoryBlobs;
use tower_oci::testing::Registry;
use tower_oci::testing::conformance::{Feature, Target};

use crate::proxy::{memory, upstream};
use crate::row::{BY_DEFAULT, on_a_socket, passes};

/// A plan that changes nothing, for every request.
fn nothing() -> RewriteLayer {
    let rewrite = Rewrite::new(Plan::builder().build().unwrap());
    RewriteLayer::new(move |_| Some(rewrite.clone()))
}

fn cache() -> CacheLayer {
    CacheLayer::new(MemoryBlobs::with_capacity(1 << 30))
}

async fn cached(row: &str, cache: CacheLayer, registry: Registry) {
    cached_with(row, 169, cache, registry, |target| target).await;
}

async fn cached_with(
    row: &str,
    expected: usize,
    cache: CacheLayer,
    registry: Registry,
    target: impl Fn(Target) -> Target,
) {
    let cached = ServiceBuilder::new().layer(cache.clone()).service(upstream(&registry).build().unwrap());
    let served = on_a_socket(cached);
    passes(row, expected, target(Target::new(served.url("")).without(BY_DEFAULT))).await;
    served.stop().await;
    assert!(cache.figures().hits > 0, "{:?}", cache.figures());
}

#[tokio::test]
async fn cache_over_upstream() {
    cached("cache → Upstream → memory", cache(), memory(Memory::builder())).await;
}

#[tokio::test]
async fn cache_that_keeps_lists() {
    let cache = cache().lists_for(Duration::from_secs(60));
    cached("cache of lists → Upstream → memory", cache, memory(Memory::builder())).await;
}

#[tokio::test]
async fn cache_over_a_poor_upstream() {
    let registry = Registry::builder().page_size(2).without_ranges().without_digests().start().unwrap();
    // Parts come out of what the cache has fetched whole.
    cached("cache → Upstream → no ranges, no digests, small pages", cache(), registry).await;
}

#[tokio::test]
async fn cache_over_a_poorer_upstream() {
    let registry = Registry::builder()
        .without_head(StatusCode::UNAUTHORIZED)
        .without_referrers()
        .without_paging()
        .without_chunks()
        .without_digests();
    let target = |target: Target| target.without([Feature::Subject, Feature::Chunks]);
    let row = "cache → Upstream → no HEAD, no referrers, no paging, no chunks, no digests";
    cached_with(row, 149, cache(), registry.start().unwrap(), target).await;
}

#[cfg(feature = "redb")]
#[tokio::test]
async fn cache_on_disk_over_a_registry_on_disk() {
    use tower_oci::client::Upstream;
    use tower_oci::hosted::Hosted;
    use tower_oci::store::blobs::DiskBlobs;

    let directory = tempfile::tempdir().unwrap();
    let behind = on_a_socket(Hosted::open(directory.path().join("registry")).await.unwrap());
    let cache = CacheLayer::new(DiskBlobs::open(directory.path().join("cache")).await.unwrap());
    let host = behind.addr().to_string().parse().unwrap();
    let upstream = Upstream::builder(host).plain_http(true).writes(true).build().unwrap();
    let served = on_a_socket(ServiceBuilder::new().layer(cache.clone()).service(upstream));
    let target = Target::new(served.url("")).without(BY_DEFAULT);
    passes("cache on disk → Upstream → disk", 169, target).await;
    served.stop().await;
    assert!(cache.figures().hits > 0, "{:?}", cache.figures());
}

#[tokio::test]
async fn route_and_rewrite() {
    let host: Host = "registry.example".parse().unwrap();
    let registry = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(nothing())
        .layer(VerifyLayer::new())
        .service(Memory::new());
    let served = on_a_socket(registry);
    passes("route, rewrite, verify → memory", 169, Target::new(served.url("")).without(BY_DEFAULT)).await;
    served.stop().await;
}

#[tokio::test]
async fn the_whole_stack() {
    whole_stack("route, rewrite, cache, verify → Upstreams → memory", Registry::start().unwrap()).await;
    let poor = Registry::builder().page_size(2).without_digests().without_head(StatusCode::FORBIDDEN);
    let row = "route, rewrite, cache, verify → Upstreams → no digests, no HEAD, small pages";
    whole_stack(row, poor.start().unwrap()).await;
}

async fn whole_stack(row: &str, behind: Registry) {
    let host: Host = behind.host().clone();
    let registry = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(nothing())
        .layer(cache())
        .layer(VerifyLayer::new())
        .service(Upstreams::builder().upstream(upstream(&behind)).build().unwrap());
    let served = on_a_socket(registry);
    let target = Target::new(served.url("")).without(BY_DEFAULT);
    passes(row, 169, target).await;
    served.stop().await;
}
