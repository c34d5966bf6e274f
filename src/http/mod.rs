//! HTTP to operations and back: the codec in both directions, and the server edge.

mod asked;
pub mod challenge;
mod headers;
mod marker;
pub mod request;
pub mod response;
pub mod uri;

pub use self::asked::Asked;
