//! Clients of the tests of interoperation.

#[path = "../interop/client/containerd.rs"]
pub(crate) mod containerd;
#[path = "../interop/client/containers.rs"]
pub(crate) mod containers;
#[path = "../interop/client/docker.rs"]
pub(crate) mod docker;
