//! Credentials that a platform keeps: what a stand-in for one is asked, and what comes of its answers.
#![cfg(all(feature = "platform", feature = "testing"))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test is meant to panic")]

mod amazon;
mod credentials;
mod faults;
mod packets;
mod pairings;
mod renewals;
mod support;
mod users;
