//! The server edge: what clients see on the wire, and what stands around and inside of it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed test is meant to panic"
)]

#[path = "http_edge/answers.rs"]
mod answers;
#[path = "http_edge/requests.rs"]
mod requests;
#[path = "http_edge/secrets.rs"]
mod secrets;
#[path = "http_edge/stack.rs"]
mod stack;
#[path = "http_edge/wire.rs"]
mod wire;
