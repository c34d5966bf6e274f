//! Leaves an upstream alone that is out of order, and says so at once.
//!
//! A `Retry-After` of an upstream holds it: nothing is asked of it before. Five failures in a row open its circuit for a
//! back-off of a second, which doubles up to a minute. Meanwhile every request fails at once with
//! [`Unavailable`](crate::error::ErrorKind::Unavailable), the upstream's last words, and the time to come back. Then one
//! request at a time is let through, and the first one that is answered closes the circuit.
//!
//! Failures are those of kinds [`Unavailable`](crate::error::ErrorKind::Unavailable),
//! [`TimedOut`](crate::error::ErrorKind::TimedOut), [`BadGateway`](crate::error::ErrorKind::BadGateway) and
//! [`TooManyRequests`](crate::error::ErrorKind::TooManyRequests). Whatever else an upstream refuses or doesn't have, it is
//! alive. A body that breaks off behind its head isn't seen here.
//!
//! Each [`UpstreamId`](crate::operation::UpstreamId) has a circuit of its own, shared by all requests and by all services
//! that one layer and its clones have made. It stands next to the leaf, since what a layer above answers by itself says
//! nothing of the upstream. [`CacheLayer`](super::cache::CacheLayer) has one under it by default, and serves what is stale
//! while it is open.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::error::{Error, ErrorKind};
//! use tower_oci::layer::breaker::BreakerLayer;
//! use tower_oci::operation::{Handlers, Ping, Pong, Registry, Request};
//!
//! let registry = ServiceBuilder::new().layer(BreakerLayer::new().failures(1)).service(
//!     Handlers::new().on(|_: Request<Ping>| async { Err::<Pong, _>(Error::timed_out("it took too long")) }),
//! );
//! let first = registry.send(Request::new(Ping::new())).await.unwrap_err();
//! assert_eq!(first.kind(), ErrorKind::TimedOut);
//! let second = registry.send(Request::new(Ping::new())).await.unwrap_err();
//! assert_eq!((second.kind(), second.retry_after().is_some()), (ErrorKind::Unavailable, true));
//! # Ok(()) }
//! ```

mod circuit;
mod layer;
mod service;

pub use self::layer::BreakerLayer;
pub use self::service::Breaker;
