//! Proxies of a registry, and of poor ones.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};
use tower_oci::client::{RetryPolicy, UpstreamBuilder};
use tower_oci::error::RetryAfter;
use tower_oci::hosted::{Memory, MemoryBuilder};
use tower_oci::testing::conformance::{Feature, Target};
use tower_oci::testing::{Fault, Registry, RegistryBuilder, When};

use crate::row::{BY_DEFAULT, on_a_socket, passes};

/// What passes writes on to a registry.
pub(crate) fn upstream(registry: &Registry) -> UpstreamBuilder {
    registry.upstream().writes(true)
}

/// A registry with these switches.
pub(crate) fn memory(memory: MemoryBuilder) -> Registry {
    Registry::builder().memory(memory.build()).start().unwrap()
}

/// A proxy of a registry that isn't as good as it should be.
async fn proxied(row: &str, expected: usize, registry: RegistryBuilder, target: impl Fn(Target) -> Target) {
    let registry = registry.start().unwrap();
    let served = on_a_socket(upstream(&registry).build().unwrap());
    let target = target(Target::new(served.url("")).without(BY_DEFAULT));
    passes(row, expected, target).await;
    served.stop().await;
}

fn as_it_is(target: Target) -> Target {
    target
}

#[tokio::test]
async fn upstream_that_is_as_it_should_be() {
    proxied("Upstream → memory", 169, Registry::builder(), as_it_is).await;
}

#[tokio::test]
async fn upstream_that_reads_only() {
    let registry = Registry::start().unwrap();
    let served = on_a_socket(registry.upstream().build().unwrap());
    let target = Target::new(served.url("")).read_only(registry.url("")).without(BY_DEFAULT);
    passes("Upstream → memory, reads", 88, target).await;
    served.stop().await;
}

#[tokio::test]
async fn upstream_with_other_switches() {
    let switches = Memory::builder().deletes(false).sparse_indexes(false).min_chunk(1000);
    let registry = memory(switches.mount_from_anywhere(true).catalog(true));
    let served = on_a_socket(upstream(&registry).build().unwrap());
    let target = Target::new(served.url(""))
        .without([Feature::TagDeletes, Feature::ManifestDeletes, Feature::BlobDeletes])
        .without([Feature::SparseIndexes])
        .min_chunk(1000);
    passes("Upstream → memory with other switches", 155, target).await;
    served.stop().await;
}

#[tokio::test]
async fn upstream_that_pages_in_small_pages() {
    proxied("Upstream → pages of two", 169, Registry::builder().page_size(2), as_it_is).await;
}

#[tokio::test]
async fn upstream_that_knows_no_pages() {
    proxied("Upstream → paging ignored", 169, Registry::builder().without_paging(), as_it_is).await;
}

#[tokio::test]
async fn upstream_without_links() {
    let target = |target: Target| target.without([Feature::TagLinks]);
    proxied("Upstream → no Link", 168, Registry::builder().without_links(), target).await;
}

#[tokio::test]
async fn upstream_that_tells_no_digests() {
    proxied("Upstream → no digests", 169, Registry::builder().without_digests(), as_it_is).await;
}

#[tokio::test]
async fn upstream_without_referrers() {
    let target = |target: Target| target.without([Feature::Subject]);
    proxied("Upstream → no referrers API", 165, Registry::builder().without_referrers(), target).await;
}

#[tokio::test]
async fn upstream_that_refuses_head() {
    // 403 below, and 401 with the cache.
    let registry = Registry::builder().without_head(StatusCode::METHOD_NOT_ALLOWED);
    proxied("Upstream → no HEAD", 169, registry, as_it_is).await;
}

#[tokio::test]
async fn upstream_without_ranges() {
    let target = |target: Target| target.without([Feature::Ranges]);
    proxied("Upstream → no ranges", 161, Registry::builder().without_ranges(), target).await;
}

#[tokio::test]
async fn upstream_that_takes_no_chunks() {
    let target = |target: Target| target.without([Feature::Chunks]);
    proxied("Upstream → no chunks", 153, Registry::builder().without_chunks(), target).await;
}

#[tokio::test]
async fn upstream_that_is_slow() {
    let registry = Registry::builder().slow(Duration::from_millis(3));
    proxied("Upstream → slow", 169, registry, as_it_is).await;
}

#[tokio::test]
async fn upstream_that_is_poor_in_every_way() {
    let registry = Registry::builder()
        .page_size(2)
        .without_digests()
        .without_referrers()
        .without_head(StatusCode::FORBIDDEN)
        .without_ranges()
        .without_chunks();
    let target = |target: Target| target.without([Feature::Subject, Feature::Ranges, Feature::Chunks]);
    proxied("Upstream → as poor as can be", 141, registry, target).await;
}

#[tokio::test]
async fn upstream_that_limits_rates() {
    for retry_after in [Some(RetryAfter::Delay(Duration::ZERO)), None] {
        let memory = Memory::new();
        let seed = Registry::builder().memory(memory.clone()).start().unwrap();
        let limited = Registry::builder().memory(memory).rate_limited(When::any().every(8), retry_after);
        let limited = limited.start().unwrap();
        let retry = RetryPolicy::new().first_delay(Duration::from_millis(1));
        let served = on_a_socket(limited.upstream().retry(retry).build().unwrap());
        let target = Target::new(served.url("")).read_only(seed.url("")).without(BY_DEFAULT);
        passes(&format!("Upstream → each eighth is 429, {retry_after:?}"), 88, target).await;
        served.stop().await;
    }
}

#[tokio::test]
async fn upstream_that_warns_and_says_little() {
    let warning = HeaderValue::from_static("299 - \"this registry is closing down\"");
    let registry = Registry::builder()
        .fault(When::any(), Fault::Header(header::WARNING, warning))
        .fault(When::any(), Fault::NoHeader(header::ETAG))
        .fault(When::any(), Fault::NoHeader(HeaderName::from_static("docker-upload-uuid")))
        .fault(When::any(), Fault::NoHeader(HeaderName::from_static("docker-distribution-api-version")));
    proxied("Upstream → warnings, few headers", 169, registry, as_it_is).await;
}
