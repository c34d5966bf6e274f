//! Images that are made: built of recipes, frozen, waited for.

pub(crate) mod bed;
pub(crate) mod engine;
mod freezes;
mod network;
#[cfg(feature = "platform")]
pub(crate) mod platform;
mod recipes;
mod refusals;
mod restart;
mod shared;
mod waiting;
mod watching;
