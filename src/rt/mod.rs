//! The one place that spawns, and the one place that reads the environment.
//!
//! Work that must outlive the request that asked for it is handed to [`Tasks`], which counts it and ends it at
//! shutdown. Nothing else in the crate spawns.

mod blocking;
mod clock;
#[cfg(feature = "client")]
pub(crate) mod env;
mod tasks;

#[cfg(feature = "disk")]
pub(crate) use self::blocking::Begun;
pub(crate) use self::blocking::blocking;
pub use self::clock::Clock;
pub use self::tasks::Tasks;
