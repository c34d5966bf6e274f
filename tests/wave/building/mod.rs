//! Images that are made: built of recipes, frozen, waited for.

pub(crate) mod bed;
pub(crate) mod engine;
mod recipes;
