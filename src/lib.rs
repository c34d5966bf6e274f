//! An embedded OCI registry proxy made of composable tower services.

pub mod error;
pub mod rt;
pub mod secret;

pub mod spec;

pub mod body;

pub mod operation;

pub mod http;
pub mod store;

#[cfg(feature = "client")]
pub mod client;
pub mod hosted;

pub mod layer;

#[cfg(feature = "wave")]
pub mod wave;

#[cfg(feature = "testing")]
pub mod testing;
