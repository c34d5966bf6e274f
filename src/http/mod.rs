//! HTTP to operations and back: the codec in both directions, and the server edge.
//!
//! [`request`] and [`response`] are one grammar, read and written: `http → operation` at the edge, `operation → http`
//! where a registry is asked over HTTP, and the same for answers. What an answer means depends on what was asked;
//! [`Asked`] is what has to be remembered of it.
//!
//! [`OciService`] and [`OciLayer`] put a [`Registry`](crate::operation::Registry) behind any server that speaks
//! `http`: axum, plain hyper, whatever runs tower services.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::body::Body;
//! use tower_oci::http::{Asked, request, response};
//! use tower_oci::operation::{ListTags, Operation, Tags};
//!
//! // As a client: an operation becomes a request …
//! let operation = Operation::from(ListTags::new("library/busybox".parse()?));
//! let asked = Asked::of(&operation);
//! let sent = request::encode(operation)?;
//! assert_eq!(sent.uri(), "/v2/library/busybox/tags/list");
//!
//! // … and the response a reply.
//! let answer = http::Response::new(Body::from(r#"{"name":"library/busybox","tags":["1.36"]}"#));
//! let reply = response::decode(&asked, answer).await?.into_reply();
//! assert_eq!(Tags::try_from(reply)?.tags, ["1.36".parse()?]);
//! # Ok(()) }
//! ```

mod asked;
pub mod challenge;
mod edge;
pub(crate) mod headers;
mod marker;
pub mod request;
pub mod response;
pub mod scope;
mod service;
pub mod uri;

pub use self::asked::Asked;
pub use self::edge::HTTP10_BUFFER;
pub(crate) use self::edge::is_ours;
pub(crate) use self::response::failure;
pub use self::service::{Oci, OciFuture, OciLayer, OciLayerFuture, OciService};
