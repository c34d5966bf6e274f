//! The container-token API over HTTP.

mod answer;
#[cfg(feature = "build")]
mod builds;
mod credential;
mod description;
mod future;
mod layer;
#[cfg(feature = "build")]
mod make;
mod requests;
mod service;
mod submit;
mod submitted;

pub use self::future::EndpointsFuture;
pub use self::layer::EndpointsLayer;
pub use self::service::Endpoints;
pub(super) use self::submitted::Submitted;
