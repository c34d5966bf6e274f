//! The way to upstreams: HTTP over guarded connections.
//!
//! An [`HttpService`] is what an upstream is reached over, its type erased, so that any tower service that speaks HTTP
//! can stand in its place. A [`Guard`] says which addresses may be connected to.

mod address;
mod guard;
mod service;

pub use self::guard::Guard;
pub use self::service::HttpService;
