//! Images with more in them: injected layers and another configuration, by pure functions of source and plan.

pub mod apply;
mod inflate;
mod injected;
mod plan;
mod request;

pub use self::inflate::Limits;
pub use self::injected::{HttpMode, InjectedLayer, LayerKind, LayerSource};
pub use self::plan::{Plan, PlanBuilder};
pub use self::request::{DerivedFrom, Pin, Rewrite};
