//! An embedded OCI registry proxy made of composable tower services.
//!
//! # Mounting it
//!
//! A registry is a tower service from [operations](operation::Operation) to [replies](operation::Reply); see
//! [`operation::Registry`]. Stack [layers](layer) over a leaf, and put an [edge](http) around it:
//!
//! ```
//! # #[cfg(feature = "client")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower::ServiceBuilder;
//! use tower_oci::client::Upstreams;
//! use tower_oci::http::OciLayer;
//! use tower_oci::layer::route::{RouteLayer, Routes};
//!
//! let images = ServiceBuilder::new()
//!     // Which registry does a name mean?
//!     .layer(RouteLayer::new(Routes::new().default_host("docker.io".parse()?)))
//!     // Registries reached over HTTP.
//!     .service(Upstreams::builder().any_host(true).build()?);
//!
//! let app: axum::Router = axum::Router::new()
//!     .route("/healthz", axum::routing::get(|| async { "ok" }))
//!     // Answers /v2, passes the rest on.
//!     .layer(OciLayer::new(images));
//! # Ok(()) }
//! # #[cfg(not(feature = "client"))] fn main() {}
//! ```
//!
//! Under plain hyper, or as axum's `fallback_service`, it is [`http::OciService`].
//!
//! # Finding your way
//!
//! | you want to | look at |
//! |---|---|
//! | answer images from other registries | [`client`]: endpoints, credentials, redirects, retries, the address guard |
//! | pass pushes and deletes on to them | [`UpstreamBuilder::writes`](client::UpstreamBuilder::writes) |
//! | say which registry a name means | [`layer::route`] |
//! | inject image layers, variables, an entry point | [`layer::rewrite`] |
//! | offer Wave's container-token API | [`wave`] |
//! | build images, with an engine of the machine's or your own | [`build`] |
//! | use credentials that a Seqera Platform keeps | [`wave::platform`] |
//! | limit how much a caller may ask for | [`layer::limit`] |
//! | know callers by passwords or tokens, and let them log in | [`layer::auth`] |
//! | say who may pull, push and delete what | [`layer::authorize`] |
//! | write a guard or any other layer | [`operation::middleware`] |
//! | write a leaf of your own | [`operation::Handlers`], and [`layer::verify`] over it |
//! | keep images in this process, or in a directory | [`hosted`] |
//! | copy an image, or a rewritten one, to another registry | [`transfer`] |
//! | keep blobs in memory, on disk, or in a store of your own | [`store::blobs`] |
//! | log requests without secrets | [`layer::trace`] |
//! | test against a registry that misbehaves | [`testing`] |
//!
//! # What always holds
//!
//! - A manifest or a whole blob that doesn't have its digest never ends as a complete response: the last frame is held
//!   back until size and digest agree ([`body::Body::verified`]).
//! - A rewrite is a pure function of source and plan: the same digests on every node and after every restart.
//! - Memory is bounded by the number of streams, not by the size of blobs.
//! - Credentials go to their upstream's own origin and to its token service; clients never see an upstream's challenge.
//! - Nothing reads the environment but functions whose names say so, no process default is set or assumed, and no task
//!   is spawned outside of [`rt`].

#![cfg_attr(
    not(all(
        feature = "client",
        feature = "wave",
        feature = "testing",
        feature = "build",
        feature = "platform"
    )),
    allow(rustdoc::broken_intra_doc_links, reason = "the overview links to rooms that are behind features")
)]

pub mod error;
pub mod rt;
pub mod secret;

pub mod spec;

pub mod body;

pub mod operation;

pub mod http;
pub mod store;

#[cfg(feature = "client")]
pub mod client;
pub mod hosted;

pub mod layer;

pub mod transfer;

#[cfg(feature = "build")]
pub mod build;

#[cfg(feature = "wave")]
pub mod wave;

#[cfg(feature = "testing")]
pub mod testing;

/// The README's snippets are tests too.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
