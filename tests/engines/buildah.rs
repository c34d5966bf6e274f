//! Buildah, with a private storage.

use tower_oci::build::BuildContext;
use tower_oci::build::engine::{Buildah, Program};
use tower_oci::rt::Tasks;
use tower_oci::spec::platform::Platform;

use crate::builds::{Site, build, check_builds, check_cache, check_cancelling, check_failure};
use crate::client::containers::Containers;
use crate::support::image::{Kind, image};
use crate::support::need;

fn engine(site: &Site, containers: &Containers, tasks: &Tasks) -> Buildah {
    let program = Program::new(need::program("buildah"))
        .env("CONTAINERS_CONF", containers.room().join("containers.conf"))
        .env("CONTAINERS_STORAGE_CONF", containers.room().join("storage.conf"))
        .directory(site.private.path())
        .tasks(tasks.clone())
        .arg("--runtime=runc");
    Buildah::new(program)
}

#[tokio::test]
async fn buildah_builds_and_pushes() {
    need!("buildah", "docker-registry", "busybox", "runc");
    let (site, containers, tasks) = (Site::new(), Containers::new(), Tasks::new());
    let engine = engine(&site, &containers, &tasks);
    check_builds(&site, &engine).await;
    check_failure(&site, &engine).await;
}

#[tokio::test]
async fn buildah_keeps_its_steps_in_a_repository() {
    need!("buildah", "docker-registry", "busybox", "runc");
    let (site, tasks) = (Site::new(), Tasks::new());
    let (one, other) = (Containers::new(), Containers::new());
    check_cache(&site, &engine(&site, &one, &tasks), &engine(&site, &other, &tasks)).await;
}

#[tokio::test]
async fn a_cancelled_buildah_leaves_nothing() {
    need!("buildah", "docker-registry", "busybox", "runc");
    let (site, containers, tasks) = (Site::new(), Containers::new(), Tasks::new());
    check_cancelling(&site, &engine(&site, &containers, &tasks), &tasks).await;
}

#[tokio::test]
async fn buildah_makes_an_index_of_several_platforms() {
    need!("buildah", "docker-registry", "busybox", "runc");
    let (site, containers, tasks) = (Site::new(), Containers::new(), Tasks::new());
    let base = image(Kind::DockerList);
    site.registry.push(base);
    let context = BuildContext::new(format!("FROM {}\nCOPY conf.txt /conf\n", site.registry.name(base)))
        .file("conf.txt", "from the context\n");
    let mut request = site.request(context, "index");
    request.platforms = vec![Platform::LINUX_AMD64, Platform::LINUX_ARM64];
    let ended = build(&engine(&site, &containers, &tasks), request).await;
    let digest = ended.outcome.unwrap_or_else(|error| panic!("{error}\n{}", ended.log));
    assert_eq!(digest, site.digest("index"));
    let index: serde_json::Value = serde_json::from_slice(&site.manifest("index")).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let mut architectures: Vec<_> =
        entries.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap()).collect();
    architectures.sort_unstable();
    assert_eq!(architectures, ["amd64", "arm64"]);
    site.check_nothing_left();
}

/// What other builds have left in the storage, and what the machine has, is nobody's base.
#[tokio::test]
async fn buildah_takes_images_from_registries_only() {
    need!("buildah", "docker-registry", "busybox", "runc");
    let (site, containers, tasks) = (Site::new(), Containers::new(), Tasks::new());
    let engine = engine(&site, &containers, &tasks);
    let base = site.base();
    // Leaves the base image in the storage.
    build(&engine, site.request(BuildContext::new(format!("FROM {base}\n")), "one")).await.outcome.unwrap();
    let context = BuildContext::new(format!("ARG FROM=containers-storage:{base}\nFROM $FROM\n"));
    let error = build(&engine, site.request(context, "refused")).await.outcome.unwrap_err();
    assert!(error.message().contains("is rejected by policy"), "{error}");
    site.check_nothing_left();
}
