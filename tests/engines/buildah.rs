//! Buildah, with a private storage.

use tower_oci::build::engine::{Buildah, Program};
use tower_oci::rt::Tasks;

use crate::builds::{Site, check_builds, check_cache, check_cancelling, check_failure};
use crate::client::containers::Containers;
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
