//! HTTP to operations and back: the codec in both directions, and the server edge.

mod asked;
pub mod challenge;
mod edge;
mod headers;
mod marker;
pub mod request;
pub mod response;
mod service;
pub mod uri;

pub use self::asked::Asked;
pub use self::edge::HTTP10_BUFFER;
pub use self::service::{Oci, OciFuture, OciLayer, OciLayerFuture, OciService};
