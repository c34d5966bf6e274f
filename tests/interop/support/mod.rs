//! What the tests stand on: processes, a place for their files, a registry, images, a token service.

#[macro_use]
pub(crate) mod need;

pub(crate) mod agree;
pub(crate) mod embedded;
pub(crate) mod guarded;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod layer;
#[cfg(feature = "build")]
pub(crate) mod maker;
pub(crate) mod mirror;
pub(crate) mod process;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod room;
pub(crate) mod standalone;
pub(crate) mod token;
#[path = "../../../examples/support/units.rs"]
pub(crate) mod units;
pub(crate) mod wave;
