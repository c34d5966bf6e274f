//! The cache over an upstream that is watched: what readers get, what the upstream is asked, and what is kept.
#![cfg(all(feature = "client", feature = "disk", feature = "testing"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is meant to stop"
)]

mod answers;
mod blobs;
mod breaker;
mod crowd;
mod faults;
mod flawed;
mod leaving;
mod lists;
mod manifests;
mod origin;
mod principals;
mod registry;
mod restart;
mod rewritten;
mod sendfile;
mod slow;
mod spool;
mod stale;
mod statuses;
mod upstream;
