//! The container-token API over HTTP.

mod answer;
mod future;
mod layer;
mod service;
mod submit;

pub use self::future::EndpointsFuture;
pub use self::layer::EndpointsLayer;
pub use self::service::Endpoints;
