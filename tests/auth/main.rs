//! Access control through the edge: who is asked for what, who gets what, and which tokens open what.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test is meant to panic")]

mod challenges;
mod endpoint;
mod guesses;
mod matrix;
mod secrets;
mod support;
mod tokens;
#[cfg(feature = "testing")]
mod upstream;
