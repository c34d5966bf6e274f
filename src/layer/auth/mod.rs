//! Who are *our* callers: names and passwords, or tokens that are handed out for them.
//!
//! [`Auth`] has two halves, and both are needed:
//!
//! - [`Auth::http_layer`] goes around the edge. It takes `Authorization` out of a request for `/v2`, so that nothing
//!   further inside sees it, and hands it to the other half. With [`Tokens`] it answers the token endpoint as well.
//! - [`Auth::layer`] goes around the registry, over operations. It verifies what the caller showed, puts the
//!   [`Identity`](crate::operation::Identity) into the request, and refuses with a challenge that names the scopes which
//!   the very operation needs. Guards below it ([`authorize`](crate::layer::authorize), or the embedder's) judge by the
//!   identity; where they answer `401`, it adds the challenge. Without the first half it takes everybody for anonymous.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, header};
//! use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
//! use tower_oci::body::Body;
//! use tower_oci::hosted::Memory;
//! use tower_oci::http::OciService;
//! use tower_oci::layer::auth::{Auth, Passwords};
//! use tower_oci::layer::authorize::{AuthorizeLayer, Rules, Who};
//! use tower_oci::operation::Access;
//!
//! let users = Passwords::new().user("ann", "correct horse");
//! let auth = Auth::builder(users).realm("example").build()?;
//! let registry = ServiceBuilder::new()
//!     // Who calls?
//!     .layer(auth.layer())
//!     // May they?
//!     .layer(AuthorizeLayer::new(Rules::new().allow(Who::Known, Access::Push, "*".parse()?)))
//!     .service(Memory::new());
//! let app = auth.http_layer().layer(OciService::new(registry));
//!
//! let ping = || Request::get("/v2/");
//! let refused = app.clone().oneshot(ping().body(Body::empty())?).await?;
//! assert_eq!(refused.status(), 401);
//! assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], r#"Basic realm="example""#);
//!
//! // ann:correct horse
//! let known = ping().header(header::AUTHORIZATION, "Basic YW5uOmNvcnJlY3QgaG9yc2U=");
//! assert_eq!(app.oneshot(known.body(Body::empty())?).await?.status(), 200);
//! # Ok(()) }
//! ```
//!
//! # Tokens
//!
//! With [`AuthBuilder::tokens`] clients are sent to a token endpoint, as docker's registry does
//! ([token authentication](https://distribution.github.io/distribution/spec/auth/token/)): a password goes there once in
//! some minutes, and a token with the scopes that are needed everywhere else. It is also what makes anonymous pulls work
//! with every client.
//!
//! ```
//! # fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::layer::auth::{Auth, Passwords, Tokens};
//!
//! let auth = Auth::builder(Passwords::new().user("ann", "correct horse"))
//!     .tokens(Tokens::new("https://registry.example/token"))
//!     .anonymous(true)
//!     .build()?;
//! # drop(auth);
//! # Ok(()) }
//! ```
//!
//! # Limits
//!
//! Passwords are verified for a few callers at once while a few more wait; who comes beyond gets `429` with
//! `Retry-After`. A password that was right isn't verified again for a minute. Guesses from many sides are slowed down by
//! that for everybody; limits per address are the embedder's, who knows addresses.
//!
//! Callers are known after the edge has read the request, and so after the body of a manifest (4 MiB at most) has come;
//! that of an upload isn't read before. Whoever is taken out of the users is still known by the tokens that were handed
//! out, until these end.

mod builder;
mod case;
mod endpoint;
mod form;
#[cfg(feature = "htpasswd")]
mod htpasswd;
mod http;
mod layer;
mod logins;
mod presented;
mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;

pub use self::builder::AuthBuilder;
#[cfg(feature = "htpasswd")]
pub use self::htpasswd::Htpasswd;
pub use self::http::{AuthHttp, AuthHttpFuture, AuthHttpLayer};
pub use self::layer::{AuthLayer, Authenticate};
use self::logins::Logins;
use self::tokens::Issuer;
pub use self::tokens::Tokens;
pub use self::users::{Passwords, Revision, Users};

/// How callers are known: its two layers belong together. Clones share what is remembered.
///
/// See [the module](self) for an example.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    realm: String,
    anonymous: bool,
    logins: Arc<Logins>,
    issuer: Option<Issuer>,
}

impl Auth {
    /// The realm of `Basic` challenges where none is set: `registry`.
    pub const DEFAULT_REALM: &str = "registry";

    /// How many passwords are verified at once: 4.
    pub const DEFAULT_LOGINS: usize = 4;

    /// How many callers may wait for that: 64.
    pub const DEFAULT_WAITING: usize = 64;

    /// How long a password that was right isn't verified again: 1 minute.
    pub const DEFAULT_REMEMBERED: Duration = Duration::from_secs(60);

    /// Names and passwords are those of `users`.
    pub fn builder(users: impl Users) -> AuthBuilder {
        AuthBuilder::new(users)
    }

    /// The half over operations: it verifies, and challenges.
    #[must_use]
    pub fn layer(&self) -> AuthLayer {
        AuthLayer::new(self.clone())
    }

    /// The half over HTTP: it reads what callers show, and answers the token endpoint.
    #[must_use]
    pub fn http_layer(&self) -> AuthHttpLayer {
        AuthHttpLayer::new(self.clone())
    }
}
