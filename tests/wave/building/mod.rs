//! Images that are made: built of recipes, frozen, waited for.

pub(crate) mod bed;
pub(crate) mod engine;
mod freezes;
mod recipes;
mod refusals;
mod shared;
mod waiting;
mod watching;
