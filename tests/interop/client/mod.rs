//! The clients, each with a private configuration, and the shortest way to see what they pulled.

pub(crate) mod buildah;
pub(crate) mod containerd;
pub(crate) mod containers;
pub(crate) mod docker;
pub(crate) mod podman;
pub(crate) mod skopeo;
pub(crate) mod umoci;
