//! Fetches once, streams at once, and keeps what is verified.
//!
//! The layer answers blobs and manifests from a [`BlobStore`](crate::store::blobs::BlobStore) and from memory, and asks
//! the registry below for what isn't there: once, however many want it at the same time.
//!
//! # Manifests
//!
//! By digest they are kept for ever, by tag for as long as the embedder says ([`CacheLayer::fresh_tags`]); then one `HEAD`
//! finds out whether the tag means the same. While the upstream can't be reached, takes too long or answers with 5xx or
//! 429, an old tag serves and says so, in `Cache-Status` with a `ttl` below zero and in a `Warning`; never after a 401,
//! 403 or 404. An upstream that keeps failing is left alone for a while ([`CacheLayer::breaker`]). With
//! [`CacheLayer::records`] a process that starts meanwhile serves what an earlier one has kept.
//!
//! # Who may see it
//!
//! What is kept goes without a question only to a credential that the upstream has let read that repository within
//! [`CacheLayer::visible_for`]. For a stranger the upstream is asked for the very thing that the stranger asked for,
//! whatever is kept. One that was let in before costs a `HEAD` first, whatever is kept.
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
pub(crate) mod flight;
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
