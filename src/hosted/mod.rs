//! Registries that keep what they serve: the leaf [`Memory`], and `Hosted` (feature `redb`) in a directory.
//!
//! They answer every operation of the distribution specification: pulls with ranges and conditions, uploads in one
//! request, two, or chunks, mounts, tags, referrers, deletes. [`Memory`] is what the examples and the tests run against,
//! and a registry for other people's tests in one line; `Hosted` keeps what was pushed, whatever becomes of the process.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::hosted::Memory;
//! use tower_oci::operation::{GetManifest, Registry, Request};
//! use tower_oci::spec::json::{Object, Raw};
//! use tower_oci::spec::media_type::MediaType;
//! use tower_oci::spec::name::Repository;
//!
//! let registry = Memory::new();
//! let repository: Repository = "demo/hello".parse()?;
//!
//! let config = registry.push_blob(&repository, MediaType::OCI_CONFIG, r#"{"os":"linux"}"#)?;
//! let mut manifest = Object::new();
//! manifest.set("schemaVersion", Raw::of(&2));
//! manifest.set("config", config.object().to_raw());
//! manifest.set("layers", Raw::list([]));
//! let manifest = manifest.to_raw().bytes().clone();
//! let digest = registry.push_manifest(&repository, &"v1".parse()?, MediaType::OCI_MANIFEST, manifest)?;
//!
//! let request = Request::new(GetManifest::new(repository, "v1".parse()?));
//! assert_eq!(registry.send(request).await?.into_reply().full()?.digest, digest);
//! # Ok(()) }
//! ```

mod answer;
mod budget;
mod builder;
mod chunk;
mod content;
mod manifest;
mod memory;
mod repository;
mod settings;
mod state;
#[cfg(feature = "disk")]
mod stored;
mod upload;
mod uploads;

pub use self::builder::MemoryBuilder;
pub use self::memory::{Memory, Usage};
#[cfg(feature = "disk")]
pub use self::stored::{Collect, Collected, Hosted, HostedBuilder};

#[cfg(test)]
mod tests;
