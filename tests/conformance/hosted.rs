//! The registries that keep what they serve, with their switches.

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_oci::body::Body;
use tower_oci::client::transport::HttpService;
use tower_oci::hosted::{Memory, MemoryBuilder};
use tower_oci::operation::Registry;
use tower_oci::testing::conformance::{Feature, Target};

use crate::row::{BY_DEFAULT, on_a_socket, passes};

const DELETES: [Feature; 3] = [Feature::TagDeletes, Feature::ManifestDeletes, Feature::BlobDeletes];

async fn row(row: &str, expected: usize, registry: impl Registry, target: impl Fn(Target) -> Target) {
    let served = on_a_socket(registry);
    passes(row, expected, target(Target::new(served.url("")))).await;
    served.stop().await;
}

fn by_default(target: Target) -> Target {
    target.without(BY_DEFAULT)
}

/// With what is off by default, and without what is on.
fn switched(memory: MemoryBuilder) -> Memory {
    memory
        .deletes(false)
        .sparse_indexes(false)
        .min_chunk(1000)
        .mount_from_anywhere(true)
        .catalog(true)
        .build()
}

fn as_switched(target: Target) -> Target {
    target.without(DELETES).without([Feature::SparseIndexes]).min_chunk(1000)
}

#[tokio::test]
async fn memory() {
    row("memory", 169, Memory::new(), by_default).await;
}

#[tokio::test]
async fn memory_over_http_2() {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let http = HttpService::new(client);
    row("memory, over HTTP/2", 169, Memory::new(), |target| by_default(target).http(http.clone())).await;
}

#[tokio::test]
async fn memory_with_other_switches() {
    let memory = switched(Memory::builder());
    row("memory with other switches", 155, memory, as_switched).await;
}

#[cfg(feature = "redb")]
mod disk {
    use tower_oci::hosted::Hosted;

    use super::*;

    #[tokio::test]
    async fn disk() {
        let directory = tempfile::tempdir().unwrap();
        let hosted = Hosted::open(directory.path()).await.unwrap();
        row("disk", 169, hosted, by_default).await;
    }

    #[tokio::test]
    async fn disk_with_other_switches() {
        let directory = tempfile::tempdir().unwrap();
        let hosted = Hosted::builder(directory.path()).deletes(false).sparse_indexes(false);
        let hosted = hosted.min_chunk(1000).mount_from_anywhere(true).catalog(true).open().await.unwrap();
        row("disk with other switches", 155, hosted, as_switched).await;
    }
}
