//! Interoperation: real clients pull, through the whole service, images that a real registry keeps, and push and pull
//! what registries of this crate keep.
//!
//! Each test starts what it needs on loopback, in a temporary directory of its own: `docker-registry`
//! as upstream, the example `wave` or `mirror` in front of it, or the example `registry` alone, and the client with a
//! private configuration. A client that isn't installed is a visible skip, or a failure where
//! `TOWER_OCI_REQUIRE_CLIENTS=1`.
//!
//! `cargo test --all-features` builds the examples as well. `cargo test --test interop` doesn't, and runs
//! what lies there from an earlier build: `cargo build --all-features --examples` goes before it.

#![cfg(all(target_os = "linux", feature = "client", feature = "wave"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness for tests: what goes wrong is meant to end the test"
)]

#[macro_use]
mod support;

mod client;

#[cfg(all(feature = "build", feature = "redb"))]
mod builds;
mod credentials;
mod harness;
mod hosted;
mod logins;
mod matrix;
mod mirror;
mod pushes;
mod registry;
