//! For tests, ours and our users': a registry in one line, an upstream that misbehaves as told, and what it takes to
//! watch it.
//!
//! - [`Registry`] is a registry on a free port, with switches for what poor registries lack.
//! - [`Faulty`] goes around any HTTP service, has a [`Fault`] for each way in which registries are known to fail, and a
//!   [`Recorder`] of the requests that arrive.
//! - [`BearerAuth`] and [`BasicAuth`] ask who is there, as registries do.
//! - [`Hosts`] stands for the network, in memory: one service per host. [`serve`] puts a service on a real socket.
//! - [`image`] builds small images and puts them into a [`Memory`](crate::hosted::Memory) registry.
//! - `PlatformStandIn` (feature `platform`) is a Seqera Platform that keeps credentials.
//! - [`blobs`] is the suite that every [`BlobStore`](crate::store::blobs::BlobStore) passes.
//! - [`records`] is the suite that every store of [`Records`](crate::store::Records) passes.
//! - [`conformance`] is the suite for registries: what the distribution specification says, over HTTP.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use http::StatusCode;
//! use tower::ServiceExt;
//! use tower_oci::body::Body;
//! use tower_oci::error::Error;
//! use tower_oci::testing::{Fault, Faulty, Kind, When};
//!
//! let upstream = tower::service_fn(async |_: http::Request<Body>| {
//!     Ok::<_, Error>(http::Response::new(Body::from("content")))
//! });
//! let faulty = Faulty::new(upstream);
//! faulty.inject(When::kind(Kind::Blob).times(1), Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
//!
//! let request = || http::Request::get("/v2/a/blobs/sha256:00").body(Body::empty()).unwrap_or_default();
//! assert_eq!(faulty.clone().oneshot(request()).await?.status(), 503);
//! assert_eq!(faulty.clone().oneshot(request()).await?.status(), 200);
//! assert_eq!(faulty.recorder().lines(), ["GET /v2/a/blobs/sha256:00", "GET /v2/a/blobs/sha256:00"]);
//! # Ok(()) }
//! ```

mod auth;
pub mod blobs;
pub mod conformance;
mod damage;
mod fault;
mod faulty;
mod hosts;
pub mod image;
#[cfg(feature = "platform")]
mod platform;
mod recorder;
pub mod records;
mod registry;
mod serve;
mod token;
mod when;

pub use self::auth::{BasicAuth, BearerAuth};
pub use self::fault::Fault;
pub use self::faulty::Faulty;
pub use self::hosts::{Hosts, echo};
#[cfg(feature = "platform")]
pub use self::platform::PlatformStandIn;
pub use self::recorder::{Recorded, Recorder};
pub use self::registry::{Registry, RegistryBuilder};
pub use self::serve::{ServeOptions, Served, serve, serve_with};
pub use self::token::{Account, TokenField, TokenSettings};
pub use self::when::{Kind, When};

#[cfg(test)]
mod tests;
