//! Builds through the public API: shared, in turn, bounded, ended, known after a restart.
#![cfg(feature = "build")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that finds a fault is meant to stop")]

#[path = "builds/bed.rs"]
mod bed;
#[path = "builds/logs.rs"]
mod logs;
#[path = "builds/restart.rs"]
mod restart;
#[path = "builds/secrets.rs"]
mod secrets;
#[path = "builds/share.rs"]
mod share;
