//! Manifests, indexes, configs and descriptors as views over documents
//! ([image-spec](https://github.com/opencontainers/image-spec)), of both families.
//!
//! A view reads the members that matter here and leaves the rest to its [`Document`](super::json::Document).

mod config;
mod descriptor;
mod manifest;

pub use self::config::{Config, HistoryEntry};
pub use self::descriptor::Descriptor;
pub use self::manifest::{ImageManifest, Index, Manifest};
