//! The way to upstreams: HTTP over guarded connections.
//!
//! A [`Transport`] holds what all upstreams share: trusted roots, an HTTP proxy, time-outs, the cap on exchanges per
//! host. [`Transport::connect`] makes an [`HttpService`] of it: a pool of connections with a [`Guard`] of its own, which
//! judges every address where it is connected to. An [`HttpService`] is erased, so that any tower service that speaks
//! HTTP can stand in its place.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use tower::ServiceExt;
//! use tower_oci::body::Body;
//! use tower_oci::client::transport::{Guard, Transport};
//!
//! let service = Transport::builder().build()?.connect(Guard::public_only());
//! let request = http::Request::get("https://registry.example/v2/").body(Body::empty())?;
//! let response = service.oneshot(request).await?;
//! # let _ = response; Ok(()) }
//! ```

mod address;
mod builder;
mod cap;
mod connect;
mod dial;
mod exchange;
mod guard;
mod proxy;
mod service;
mod stream;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod tunnel;

pub use self::builder::{Transport, TransportBuilder};
pub(in crate::client) use self::exchange::never_sent;
pub use self::guard::Guard;
pub use self::service::HttpService;
#[cfg(feature = "tls")]
pub use self::tls::TlsProvider;

#[cfg(test)]
mod tests;
