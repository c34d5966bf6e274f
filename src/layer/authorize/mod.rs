//! Who may do what.
//!
//! The layer asks a [`Policy`] about every operation, by caller, [`Access`](crate::operation::Access) and repository,
//! and lets pass what the policy allows. [`Rules`] is a policy of patterns; a closure is one too. Who calls is the
//! [`Identity`](crate::operation::Identity) among the facts of the request, which [`auth`](crate::layer::auth) or an
//! HTTP layer of the embedder's has put there.
//!
//! - What a caller may not know of is answered as what isn't there: the same status, code and message, and no look-up.
//!   So that the two can't be told apart, the inner service's own words for what isn't there are replaced by the
//!   layer's.
//! - An anonymous caller who is refused anything is asked to log in (`401`), whether there is anything or not; the
//!   auth layer around adds how. One with a name gets `403` with `DENIED`.
//! - A blob is mounted from a repository only that the caller may pull from. Otherwise, and where a client names no
//!   repository, the mount is left out and an upload is opened, as for a blob that isn't there.
//! - The list of repositories names those only that the caller may pull from.
//! - A ping passes: it tells nothing, and whether it has to be challenged is the auth layer's to say.
//! - An operation that this layer doesn't know is denied.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower::ServiceBuilder;
//! use tower_oci::hosted::Memory;
//! use tower_oci::layer::authorize::{AuthorizeLayer, Rules, Who};
//! use tower_oci::operation::{Access, Identity, ListTags, Registry, Request, StartUpload};
//!
//! let rules = Rules::new()
//!     .allow(Who::Known, Access::Pull, "team/*".parse()?)
//!     .allow("ann", Access::Push, "team/*".parse()?);
//! let registry = ServiceBuilder::new().layer(AuthorizeLayer::new(rules)).service(Memory::new());
//!
//! let mut push = Request::new(StartUpload::new("team/app".parse()?));
//! push.extensions_mut().insert(Identity::named("ann"));
//! assert!(registry.send(push).await.is_ok());
//!
//! let mut push = Request::new(StartUpload::new("team/app".parse()?));
//! push.extensions_mut().insert(Identity::named("bob"));
//! assert_eq!(registry.send(push).await.unwrap_err().status(), 403);
//!
//! let mut list = Request::new(ListTags::new("secret/plan".parse()?));
//! list.extensions_mut().insert(Identity::named("bob"));
//! assert_eq!(registry.send(list).await.unwrap_err().to_string(), "no repository `secret/plan`");
//! # Ok(()) }
//! ```

mod absent;
mod catalog;
mod layer;
mod policy;
mod rules;

pub use self::layer::{Authorize, AuthorizeLayer};
pub use self::policy::{Decision, Policy};
pub use self::rules::{Pattern, Rules, Who};

#[cfg(test)]
mod tests;
