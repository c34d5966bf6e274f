//! Fetches once, streams at once, and keeps what is verified.
//!
//! The layer answers blobs and manifests from a [`BlobStore`](crate::store::blobs::BlobStore) and from memory, and asks
//! the registry below for what isn't there: once, however many want it at the same time.
//!
//! It stands below everything that decides who asks whom, [`route`](super::route) and
//! [`credential`](super::credential), since what one credential may read another may not; and below
//! [`rewrite`](super::rewrite), which derives from what is cached here.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::layer::cache::CacheLayer;
//! use tower_oci::operation::Handlers;
//! use tower_oci::store::blobs::MemoryBlobs;
//!
//! let cache = CacheLayer::new(MemoryBlobs::with_capacity(1 << 30));
//! let registry = ServiceBuilder::new().layer(cache.clone()).service(Handlers::new());
//! assert_eq!(cache.figures().hits, 0);
//! # let _ = registry; Ok(()) }
//! ```

mod account;
mod blob;
mod figures;
mod flight;
mod layer;
mod list;
mod manifest;
mod moment;
mod notes;
mod scope;
mod service;
mod settings;
mod visibility;

pub use self::figures::Figures;
pub use self::layer::CacheLayer;
pub use self::service::Cache;
pub use self::settings::{Abandoned, TagPattern};
