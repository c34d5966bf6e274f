//! The Docker engine from a private daemon.

use tower_oci::build::engine::{Docker, Program};
use tower_oci::rt::Tasks;

use crate::builds::{Site, check_builds, check_cache, check_cancelling, check_failure};
use crate::client::docker;
use crate::support::need;

fn engine(site: &Site, daemon: &docker::Docker, tasks: &Tasks) -> Docker {
    let program = Program::new(need::program("docker"))
        .directory(site.private.path())
        .tasks(tasks.clone())
        .arg("--network=host");
    Docker::new(program).host(daemon.host())
}

#[tokio::test]
async fn docker_builds_and_pushes() {
    need!("docker", "dockerd", "containerd", "ctr", "docker-registry", "busybox", "buildah", "runc");
    let (site, daemon, tasks) = (Site::new(), docker::Docker::start(), Tasks::new());
    let engine = engine(&site, &daemon, &tasks);
    check_builds(&site, &engine).await;
    check_failure(&site, &engine).await;
    check_builds(&site, &engine.classic()).await;
}

#[tokio::test]
async fn docker_keeps_its_steps_in_a_repository() {
    need!("docker", "dockerd", "containerd", "ctr", "docker-registry", "busybox", "buildah", "runc");
    let (site, tasks) = (Site::new(), Tasks::new());
    let (one, other) = (docker::Docker::start(), docker::Docker::start());
    check_cache(&site, &engine(&site, &one, &tasks), &engine(&site, &other, &tasks)).await;
}

#[tokio::test]
async fn a_cancelled_docker_leaves_nothing() {
    need!("docker", "dockerd", "containerd", "ctr", "docker-registry", "busybox", "buildah", "runc");
    let (site, daemon, tasks) = (Site::new(), docker::Docker::start(), Tasks::new());
    check_cancelling(&site, &engine(&site, &daemon, &tasks), &tasks).await;
}
