//! Images that are made: built of a recipe, or frozen.

mod freeze;
mod order;
mod settings;

pub(super) use self::order::{Order, Ordered};
pub use self::settings::Building;
pub(super) use self::settings::Made;
