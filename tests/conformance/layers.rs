//! Layers over registries: a cache, and some that have nothing to do.

use std::time::Duration;

use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::hosted::Memory;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::rewrite::{Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::layer::verify::VerifyLayer;
use tower_oci::spec::name::Host;
use tower_oci::store::blobs::MemoryBlobs;
use tower_oci::testing::conformance::Target;
use tower_oci::testing::{Fault, Kind, When};

use crate::proxy::Setting;
use crate::row::{BY_DEFAULT, on_a_socket, passes};

/// A plan that changes nothing, for every request.
fn nothing() -> RewriteLayer {
    let rewrite = Rewrite::new(Plan::builder().build().unwrap());
    RewriteLayer::new(move |_| Some(rewrite.clone()))
}

fn cache() -> CacheLayer {
    CacheLayer::new(MemoryBlobs::with_capacity(1 << 30))
}

async fn cached(row: &str, setting: Setting) {
    let cache = cache();
    let registry = ServiceBuilder::new().layer(cache.clone()).service(setting.upstream().build().unwrap());
    let served = on_a_socket(registry);
    passes(row, 169, Target::new(served.url("")).without(BY_DEFAULT)).await;
    served.stop().await;
    assert!(cache.figures().hits > 0, "{:?}", cache.figures());
}

#[tokio::test]
async fn cache_over_upstream() {
    cached("cache → Upstream → memory", Setting::new(Memory::builder())).await;
}

#[tokio::test]
async fn cache_that_keeps_lists() {
    let setting = Setting::new(Memory::builder());
    let cache = cache().lists_for(Duration::from_secs(60));
    let registry = ServiceBuilder::new().layer(cache).service(setting.upstream().build().unwrap());
    let served = on_a_socket(registry);
    let target = Target::new(served.url("")).without(BY_DEFAULT);
    passes("cache of lists → Upstream → memory", 169, target).await;
    served.stop().await;
}

#[tokio::test]
async fn cache_over_a_poor_upstream() {
    let setting = Setting::poor([
        (When::kind(Kind::Tags), Fault::PageCap(2)),
        (When::kind(Kind::Blob), Fault::RangeIgnored),
        (When::any(), Fault::NoDigest),
    ]);
    // Parts come out of what the cache has fetched whole.
    cached("cache → Upstream → no ranges, no digests, small pages", setting).await;
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
    let setting = Setting::new(Memory::builder());
    let host: Host = setting.behind.addr().to_string().parse().unwrap();
    let registry = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(nothing())
        .layer(cache())
        .layer(VerifyLayer::new())
        .service(Upstreams::builder().upstream(setting.upstream()).build().unwrap());
    let served = on_a_socket(registry);
    let target = Target::new(served.url("")).without(BY_DEFAULT);
    passes("route, rewrite, cache, verify → Upstreams → memory", 169, target).await;
    served.stop().await;
}
