//! The distribution API as values, and how to answer them.
//!
//! An [`Operation`] is one call of the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md), parsed and
//! validated; a [`Reply`] is what it is answered with. A [`Registry`] is any tower service from
//! [`Request`] to [`Response`]: a leaf that answers, or a layer around one.
//!
//! Each operation is a struct of its own, so that code that means one of them says so:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::error::Error;
//! use tower_oci::operation::{GetManifest, Handlers, ListTags, Registry, Request, Tags};
//!
//! async fn list_tags(request: Request<ListTags>) -> Result<Tags, Error> {
//!     let repository = request.into_operation().repository;
//!     Ok(Tags::new(repository, vec!["latest".parse()?], None))
//! }
//!
//! let registry = Handlers::new().on(list_tags);
//! let request = Request::new(ListTags::new("library/busybox".parse()?));
//! assert_eq!(registry.send(request).await?.into_reply().tags.len(), 1);
//!
//! // Everything else is `UNSUPPORTED`.
//! let request = Request::new(GetManifest::new("library/busybox".parse()?, "latest".parse()?));
//! assert!(registry.send(request).await.is_err());
//! # Ok(()) }
//! ```

mod address;
mod call;
mod condition;
mod credential;
mod facts;
mod handlers;
mod identity;
pub mod middleware;
mod operations;
mod registry;
mod reply;

pub use self::address::ClientAddress;
pub use self::call::{Access, Call, Operation, OperationKind, Request, Response};
pub use self::condition::{Accept, Conditions, EntityTags};
pub use self::credential::{Anonymous, Credential, CredentialId, Credentials};
pub use self::facts::{
    CacheStatus, Forward, Namespace, Origin, RateLimit, UpstreamId, Verified, Warnings, WithoutRedirect,
    WithoutVerification,
};
pub use self::handlers::Handlers;
pub use self::identity::Identity;
pub use self::operations::{
    CancelUpload, DeleteBlob, DeleteManifest, FinishUpload, GetBlob, GetManifest, ListReferrers,
    ListRepositories, ListTags, Mount, Ping, PutManifest, SingleUpload, StartUpload, UploadChunk, UploadId,
    UploadStatus,
};
pub use self::registry::{BoxFuture, BoxRegistry, Registry};
pub use self::reply::{
    Blob, BlobContent, BlobCreated, BlobPart, Conditional, Deleted, Manifest, ManifestCreated, Pong,
    Referrers, Reply, Repositories, Tags, UploadStarted, UploadState,
};
