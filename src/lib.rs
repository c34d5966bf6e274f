//! An embedded OCI registry proxy made of composable tower services.

pub mod error;
pub mod rt;
pub mod secret;

pub mod spec;
