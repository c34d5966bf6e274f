//! Proxies of a registry, and of poor ones.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tower_oci::client::{Upstream, UpstreamBuilder};
use tower_oci::hosted::{Memory, MemoryBuilder};
use tower_oci::http::OciService;
use tower_oci::testing::conformance::{Feature, Target};
use tower_oci::testing::{Fault, Faulty, Kind, Served, When, serve};

use crate::row::{BY_DEFAULT, on_a_socket, passes};

/// A registry in memory, and what stands between it and its clients.
pub(crate) struct Setting {
    pub(crate) behind: Served,
    faulty: Faulty<OciService<Memory>>,
}

impl Setting {
    pub(crate) fn new(memory: MemoryBuilder) -> Self {
        let faulty = Faulty::new(OciService::new(memory.build()));
        Self { behind: serve(faulty.clone()).unwrap(), faulty }
    }

    pub(crate) fn poor(faults: impl IntoIterator<Item = (When, Fault)>) -> Self {
        let setting = Self::new(Memory::builder());
        for (when, fault) in faults {
            setting.faulty.inject(when, fault);
        }
        setting
    }

    pub(crate) fn upstream(&self) -> UpstreamBuilder {
        Upstream::builder(self.behind.addr().to_string().parse().unwrap()).plain_http(true).writes(true)
    }

    async fn passes(self, row: &str, expected: usize, target: impl Fn(Target) -> Target) {
        let served = on_a_socket(self.upstream().build().unwrap());
        let target = target(Target::new(served.url("")).without(BY_DEFAULT));
        passes(row, expected, target).await;
        served.stop().await;
    }
}

fn as_it_is(target: Target) -> Target {
    target
}

#[tokio::test]
async fn upstream() {
    Setting::new(Memory::builder()).passes("Upstream → memory", 169, as_it_is).await;
}

#[tokio::test]
async fn upstream_that_reads_only() {
    let setting = Setting::new(Memory::builder());
    let served = on_a_socket(setting.upstream().writes(false).build().unwrap());
    let target = Target::new(served.url("")).read_only(setting.behind.url("")).without(BY_DEFAULT);
    passes("Upstream → memory, reads", 88, target).await;
    served.stop().await;
}

#[tokio::test]
async fn upstream_with_other_switches() {
    let memory = Memory::builder().deletes(false).sparse_indexes(false).min_chunk(1000);
    let setting = Setting::new(memory.mount_from_anywhere(true).catalog(true));
    let served = on_a_socket(setting.upstream().build().unwrap());
    let target = Target::new(served.url(""))
        .without([Feature::TagDeletes, Feature::ManifestDeletes, Feature::BlobDeletes])
        .without([Feature::SparseIndexes])
        .min_chunk(1000);
    passes("Upstream → memory with other switches", 155, target).await;
    served.stop().await;
}

#[tokio::test]
async fn upstream_that_pages_in_small_pages() {
    let setting = Setting::poor([(When::kind(Kind::Tags), Fault::PageCap(2))]);
    setting.passes("Upstream → pages of two", 169, as_it_is).await;
}

#[tokio::test]
async fn upstream_that_knows_no_pages() {
    let setting = Setting::poor([(When::kind(Kind::Tags), Fault::PagingIgnored)]);
    setting.passes("Upstream → paging ignored", 169, as_it_is).await;
}

#[tokio::test]
async fn upstream_without_links() {
    let setting = Setting::poor([(When::kind(Kind::Tags), Fault::NoLink)]);
    setting.passes("Upstream → no Link", 168, |target| target.without([Feature::TagLinks])).await;
}

#[tokio::test]
async fn upstream_that_tells_no_digests() {
    let setting = Setting::poor([(When::any(), Fault::NoDigest)]);
    setting.passes("Upstream → no digests", 169, as_it_is).await;
}

#[tokio::test]
async fn upstream_without_referrers() {
    let setting = Setting::poor([
        (When::kind(Kind::Referrers), Fault::NoSuchApi),
        (When::kind(Kind::Manifest), Fault::NoHeader(HeaderName::from_static("oci-subject"))),
    ]);
    let target = |target: Target| target.without([Feature::Subject]);
    setting.passes("Upstream → no referrers API", 165, target).await;
}

#[tokio::test]
async fn upstream_that_refuses_head() {
    let refused = Fault::Status(StatusCode::METHOD_NOT_ALLOWED);
    let setting = Setting::poor([
        (When::kind(Kind::Manifest).method(Method::HEAD), refused.clone()),
        (When::kind(Kind::Blob).method(Method::HEAD), refused),
    ]);
    setting.passes("Upstream → no HEAD", 169, as_it_is).await;
}

#[tokio::test]
async fn upstream_without_ranges() {
    let setting = Setting::poor([(When::kind(Kind::Blob), Fault::RangeIgnored)]);
    setting.passes("Upstream → no ranges", 161, |target| target.without([Feature::Ranges])).await;
}

#[tokio::test]
async fn upstream_that_warns_and_says_little() {
    let warning = HeaderValue::from_static("299 - \"this registry is closing down\"");
    let setting = Setting::poor([
        (When::any(), Fault::Header(header::WARNING, warning)),
        (When::any(), Fault::NoHeader(header::ETAG)),
        (When::any(), Fault::NoHeader(HeaderName::from_static("docker-upload-uuid"))),
        (When::any(), Fault::NoHeader(HeaderName::from_static("docker-distribution-api-version"))),
    ]);
    setting.passes("Upstream → warnings, few headers", 169, as_it_is).await;
}
