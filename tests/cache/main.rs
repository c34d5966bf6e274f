//! The cache over an upstream that is watched: what readers get, what the upstream is asked, and what is kept.
#![cfg(all(feature = "client", feature = "disk", feature = "testing"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is meant to stop")]

mod blobs;
mod manifests;
mod origin;
mod registry;
