//! The leaf that reaches registries over HTTP.

pub mod credentials;
pub mod transport;
