//! What upstream registries are asked, as exact sequences, and what our client gets: the economy of the leaf
//! `Upstream`, its authentication, and every attack and fault that concerns it.
#![cfg(all(feature = "client", feature = "testing"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is meant to stop")]

mod attacks;
mod auth;
mod corners;
mod economy;
mod edge;
mod faults;
mod holding;
mod lists;
mod resumed;
mod retries;
mod secrets;
mod sockets;
mod web;
mod writes;
