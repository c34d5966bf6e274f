//! The container-token API: images with more in them, for whoever has a token.
//!
//! A client posts the name of an image with a configuration and layers, and gets the name of another image,
//! `<authority>/wt/<token>/<repository>:<tag>`, that it pulls as it would pull any. The source's digest is pinned when
//! it asks; what is made of the source follows from that digest and the request alone, so that each process with the
//! same [records](crate::store::Records) serves it alike.
//!
//! [`Wave::images`] is a layer over operations that resolves such names; [`Wave::endpoints`] is an HTTP layer for
//! the API. Either is mounted without the other.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use tower_oci::body::Body;
//! use tower_oci::operation::Handlers;
//! use tower_oci::wave::Wave;
//!
//! let wave = Wave::builder("https://wave.example.com").build()?;
//! let images = ServiceBuilder::new()
//!     .layer(wave.images())
//!     // … route, credentials, `RewriteLayer::by_extension()` …
//!     .service(Handlers::new());
//! let service = ServiceBuilder::new()
//!     .layer(wave.endpoints(images))
//!     .service(tower::service_fn(|_: http::Request<Body>| async {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(Body::from("something else")))
//!     }));
//!
//! let request = http::Request::post("/container-token").body(Body::from("{}")).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), 400);
//! let message = response.into_body().read(1024).await?;
//! assert_eq!(message, r#"{"message":"neither `containerImage` nor `containerFile` is given"}"#);
//! # Ok(()) }
//! ```
//!
//! # What isn't there
//!
//! What needs a builder (`containerFile`, `condaFile`, `spackFile`) and `freeze` get a 501. Credentials of the platform
//! (`towerAccessToken` and its kin) are accepted, since clients that have some send them with every request, and not
//! used: images are looked up with the credentials of the service itself, and an error says so.

mod builder;
mod endpoints;
mod grant;
mod grants;
mod images;
mod layers;
mod limits;
#[cfg(feature = "platform")]
pub mod platform;
mod request;
mod settings;
mod submission;
mod token;

pub use self::builder::{Wave, WaveBuilder};
pub use self::endpoints::{Endpoints, EndpointsFuture, EndpointsLayer};
pub use self::images::{Images, ImagesLayer};
pub use self::limits::Limits;
pub use self::settings::{Action, HttpLayers};
