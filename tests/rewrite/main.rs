//! The rewrite layer over registries in memory: what clients get, and which requests the source gets for it.
#![expect(clippy::unwrap_used, reason = "a test that finds a fault is meant to stop")]

mod faults;
mod images;
mod layers;
mod pins;
mod processes;
mod source;
