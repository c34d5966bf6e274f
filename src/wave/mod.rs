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
//! # The API
//!
//! | path | what it is |
//! |---|---|
//! | `POST /container-token`, `POST /v1alpha2/container` | asks for an image: see below |
//! | `GET`, `DELETE /container-token/{token}` | what a token is for; revokes it |
//! | `GET /v1alpha2/container/{id}`, `…/status` | what was asked for, and how far it is |
//! | `GET /v1alpha1/builds/{id}`, `…/status`, `…/logs`, `…/condalock` | a build; `logs?follow=true` is read to its end |
//! | `POST /validate-creds`, `POST /v1alpha2/validate-creds` | whether a user name and a password open a registry |
//! | `POST /pairing` | a platform gets the key that it encrypts credentials with (feature `platform`) |
//! | `GET /service-info` | the version |
//!
//! A request names a `containerImage`, or brings what one is built of: a `containerFile`, a `condaFile`, a `spackFile`, or
//! `packages`. Builds, and `freeze`, need a [`Building`](WaveBuilder::building) (feature `build`). A `towerAccessToken`
//! stands for credentials that a [platform](WaveBuilder::trusted_platforms) keeps (feature `platform`).
//!
//! # What isn't there
//!
//! `mirror`, `scanMode`, `format`, `buildContext`, `containerIncludes`, `dryRun`, packages of CRAN, and the paths of
//! inspections, mirrors and scans get a 501 that says so. `nameStrategy` is taken and means nothing: the tag of what is
//! made is a digest of what it is made of.

mod builder;
#[cfg(feature = "build")]
mod building;
mod caller;
mod endpoints;
mod grant;
mod grants;
mod images;
mod layers;
mod limits;
mod noted;
mod plan_record;
#[cfg(feature = "platform")]
pub mod platform;
mod pulls;
mod request;
mod service;
mod settings;
mod submission;
mod token;

pub use self::builder::WaveBuilder;
#[cfg(feature = "build")]
pub use self::building::Building;
pub use self::endpoints::{Endpoints, EndpointsFuture, EndpointsLayer};
pub use self::images::{Images, ImagesLayer};
pub use self::limits::Limits;
pub use self::service::Wave;
pub use self::settings::{Action, HttpLayers};
