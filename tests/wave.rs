//! The container-token API through its front door: HTTP requests into the endpoints, operations into the images.
#![cfg(feature = "wave")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that finds a fault is meant to stop"
)]

#[path = "wave/answers.rs"]
mod answers;
#[cfg(all(feature = "build", feature = "platform", feature = "testing"))]
#[path = "wave/attributes.rs"]
mod attributes;
#[cfg(all(feature = "build", feature = "testing"))]
#[path = "wave/building/mod.rs"]
mod building;
#[path = "wave/layers.rs"]
mod layers;
#[path = "wave/names.rs"]
mod names;
#[cfg(feature = "testing")]
#[path = "wave/pulls.rs"]
mod pulls;
#[path = "wave/requests.rs"]
mod requests;
#[path = "wave/secrets.rs"]
mod secrets;
#[path = "wave/support.rs"]
mod support;
#[path = "wave/tokens.rs"]
mod tokens;
