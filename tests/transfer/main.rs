//! Images copied from one registry to another: what is asked of both, and what is there in the end.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds a fault is meant to stop"
)]

mod copies;
mod faults;
mod freezes;
mod support;
