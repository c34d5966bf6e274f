//! The leaf that reaches registries over HTTP.
//!
//! An [`Upstream`] answers operations by asking one registry; [`Upstreams`] holds several, and picks by the extension
//! [`UpstreamId`](crate::operation::UpstreamId). What they do on the way:
//!
//! - **Authentication.** Bearer and Basic challenges are answered. Tokens are kept by credential and scope, fetched
//!   once for many, renewed before they end, and once more when they are refused. A challenge is remembered: no later
//!   request is made only to be refused. Credentials go to the upstream's own origin and to its token hosts, which are
//!   built in or configured; a token service elsewhere is asked anonymously at most. An upstream's 401 becomes a 403
//!   `DENIED` that says what it wants.
//! - **Redirects** of reads are followed, five at most and never from https to http, through a guard that lets none
//!   lead to a private address; credentials don't follow. Blobs can be handed on to the client instead
//!   ([`Redirects`]). `urls` of foreign layers are not followed.
//! - **Retries** with back-off, jitter and a budget ([`RetryPolicy`]). A client waits 25 seconds for headers at most.
//! - **Blobs** are verified by digest and size, their last frame held back until both agree, and resumed by range where
//!   they break off. A part of a blob that a client asked for can't be verified; it's checked for its size.
//! - **Economy.** A digest and a blob cost one `GET`, a tag a `HEAD` and a `GET` at most: no ping goes before, and no
//!   `HEAD`. Only quirks ([`Quirks`]) cost more, the first time.
//!
//! **Writes** are `UNSUPPORTED` unless an upstream is told to pass them on ([`UpstreamBuilder::writes`]): uploads,
//! manifests and deletes, streamed, each sent once. What a client gets for the upstream's upload location is sealed, so
//! that any instance with the same key ([`UpstreamBuilder::upload_key`]) can go on with it, and nobody can make one up.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::client::{Upstream, Upstreams};
//! use tower_oci::error::ErrorCode;
//! use tower_oci::operation::{GetManifest, Registry, Request, UpstreamId};
//!
//! let upstreams = Upstreams::builder()
//!     .upstream(Upstream::builder("docker.io".parse()?))
//!     .upstream(Upstream::builder("ghcr.io".parse()?))
//!     .build()?;
//!
//! // Only what is configured is reached.
//! let mut request = Request::new(GetManifest::new("a/b".parse()?, "latest".parse()?));
//! request.extensions_mut().insert(UpstreamId::new("registry.example".parse()?));
//! let error = upstreams.send(request).await.unwrap_err();
//! assert_eq!(error.code(), ErrorCode::NameUnknown);
//! # Ok(()) }
//! ```

mod auth;
pub mod credentials;
mod origin;
mod quirks;
mod redirect;
mod resume;
mod retry;
pub mod transport;
mod upstream;
mod upstreams;

#[cfg(feature = "platform")]
pub(crate) use self::auth::{hides, read_words};
pub use self::quirks::Quirks;
pub use self::redirect::Redirects;
pub use self::retry::RetryPolicy;
#[cfg(feature = "platform")]
pub(crate) use self::retry::retry_after;
pub use self::upstream::{Upstream, UpstreamBuilder};
pub use self::upstreams::{Upstreams, UpstreamsBuilder};
