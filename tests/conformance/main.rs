//! The suite for registries, run over real sockets against a matrix of registries that are built from this crate. Each
//! row prints its counts: `cargo test --all-features --test conformance -- --nocapture`.
#![cfg(all(feature = "client", feature = "testing"))]
#![expect(clippy::unwrap_used, reason = "a failed test is meant to panic")]

mod hosted;
mod layers;
mod proxy;
mod row;
