//! What upstream registries are asked, as exact sequences, and what our client gets: the economy of the leaf
//! `Upstream`, its authentication, and every attack and fault that concerns it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is meant to stop")]

mod attacks;
mod auth;
mod economy;
mod faults;
mod lists;
mod resumed;
mod retries;
mod web;
