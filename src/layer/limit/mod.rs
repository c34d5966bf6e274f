//! How much each caller may ask for.
//!
//! A [`Limiter`] has a [`Rate`] for each caller: a token bucket, in the memory of this process. A [`LimitLayer`] asks it
//! about operations; whatever else is to be limited asks it by [`Limiter::check`].
//!
//! - A caller is the [`Identity`](crate::operation::Identity) among the facts of the request, and where that is anonymous
//!   the [`ClientAddress`](crate::operation::ClientAddress), of IPv6 the network of 64 bits. All callers of whom neither
//!   is known are one. So the layer stands below the one that finds out who calls, and the embedder's HTTP layer says
//!   from where.
//! - Who has had as many as it may have gets a `429` with `TOOMANYREQUESTS`, a message that says the limit, and
//!   `Retry-After`. That isn't counted.
//! - How many callers are remembered is bounded, names apart from addresses.
//! - An operation that the layer doesn't know is counted.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::hosted::Memory;
//! use tower_oci::layer::limit::{LimitLayer, Limiter, Rate};
//! use tower_oci::operation::{GetManifest, Registry, Request};
//!
//! let limiter = Limiter::new(Rate::per_minute(100).burst(20)).anonymous(Rate::per_hour(1)).of("pulls");
//! let registry = ServiceBuilder::new().layer(LimitLayer::pulls(limiter)).service(Memory::new());
//!
//! let get = || Request::new(GetManifest::new("a/b".parse().expect("a name"), "v1".parse().expect("a tag")));
//! assert_eq!(registry.send(get()).await.unwrap_err().status(), 404);
//! assert_eq!(registry.send(get()).await.unwrap_err().status(), 429);
//! # Ok(()) }
//! ```

mod layer;
mod limiter;
mod rate;

pub use self::layer::{Limit, LimitLayer};
pub use self::limiter::Limiter;
pub use self::rate::Rate;

#[cfg(test)]
mod tests;
