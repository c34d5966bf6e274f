//! The build engines: real programs build images from a real registry and push to it.
//!
//! An engine that isn't installed is a visible skip, or a failure where `TOWER_OCI_REQUIRE_CLIENTS=1`.

#![cfg(all(target_os = "linux", feature = "build", feature = "client", feature = "wave"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness for tests: what goes wrong is meant to end the test"
)]

#[expect(dead_code, reason = "a part of what the tests of interoperation have")]
#[macro_use]
mod support;

#[expect(dead_code, reason = "a part of what the tests of interoperation have")]
mod client;

mod buildah;
mod buildkit;
mod builds;
mod docker;
mod standin;
