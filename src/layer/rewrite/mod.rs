//! Images with more in them: injected layers and another configuration.
//!
//! A [`Plan`] says what is to be changed. [`apply`] has the pure functions from a source's documents to derived ones.
//! [`RewriteLayer`] puts them into a stack: it resolves a tag, reads manifests and configs, derives, and serves what
//! was derived, by tag and by digest, beside all that it leaves to the source.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::hosted::Memory;
//! use tower_oci::layer::rewrite::{DerivedFrom, InjectedLayer, Plan, Rewrite, RewriteLayer};
//! use tower_oci::operation::{GetManifest, Registry, Request};
//! use tower_oci::spec::media_type::MediaType;
//!
//! let source = Memory::new();
//! let repository = "demo/hello".parse()?;
//! let config = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
//! let config = source.push_blob(&repository, MediaType::OCI_CONFIG, config)?;
//! let manifest = format!(
//!     r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[]}}"#,
//!     config.media_type(),
//!     config.digest(),
//!     config.size(),
//! );
//! let digest = source.push_manifest(&repository, &"v1".parse()?, MediaType::OCI_MANIFEST, manifest)?;
//!
//! let tar = vec![0_u8; 1024]; // an archive without files
//! let plan = Plan::builder().layer(InjectedLayer::from_tar(tar.into())?).env("GREETING=hello").build()?;
//! let rewrite = Rewrite::new(plan);
//! let registry =
//!     ServiceBuilder::new().layer(RewriteLayer::new(move |_| Some(rewrite.clone()))).service(source);
//!
//! let response = registry.send(Request::new(GetManifest::new(repository, "v1".parse()?))).await?;
//! assert_eq!(response.extensions().get(), Some(&DerivedFrom::new(digest)));
//! assert_ne!(response.into_reply().full()?.digest, digest);
//! # Ok(()) }
//! ```
//!
//! # What may enter
//!
//! Everything. Without a rewrite for it, a request passes. With one, tags mean derived images. Digests mean derived
//! documents, injected layers and derived configs where they are such, else what the source has. Writes and what
//! isn't known here pass, unless the image is pinned ([`Pin`]): then nothing but that image's tree can be read, and
//! nothing written.
//!
//! # Upstream requests
//!
//! A tag costs a `HEAD`, which is at the same time the question whether the caller may see it; what has been derived
//! from that digest before is then served from memory. Else manifest and config are read: three requests in all for an
//! image, at most 2 + 2 × platforms for an index. Of what is served from memory by digest the source is asked with a
//! `HEAD` whether the caller may see it. A derived digest that isn't in memory any more is derived again: from its
//! pin, or from the record that says what it was derived from.
//!
//! # What is left as it is
//!
//! An image that the plan changes nothing about, and what is no image, keeps its bytes: artifacts, attestations of
//! unchanged images, foreign layers. Schema 1 manifests are refused, since a rewrite would break their signature.
//! An index stays an index, also when it is narrowed to one platform: clients choose from it as they do anyway.

pub mod apply;
mod derive;
mod fetch;
mod inflate;
mod injected;
mod layer;
mod memo;
mod notes;
mod plan;
mod request;
mod serve;
mod service;
mod tree;
mod upstream;

pub use self::inflate::Limits;
pub use self::injected::{HttpMode, InjectedLayer, LayerKind, LayerSource};
pub use self::layer::{RewriteLayer, RewriteService};
pub use self::plan::{Plan, PlanBuilder};
pub use self::request::{DerivedFrom, Pin, Rewrite};

#[cfg(test)]
mod tests;
