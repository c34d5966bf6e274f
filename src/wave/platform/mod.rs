//! Credentials that a Seqera Platform keeps for its users.
//!
//! A request to the container-token API may bring an access token of a platform. [`Platforms`] says whom it belongs to,
//! and looks up in that user's name what the platform keeps for a registry. They are asked only of platforms that the
//! embedder trusts; a platform pairs with this service first ([`Platforms::pair`]), so that it can encrypt what it sends.
//!
//! What a request brought is a [`PlatformAccess`]. It is [sealed](PlatformAccess::seal) with the container token before
//! it is kept, so that no record holds a token of a platform that can be read.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use tower_oci::client::transport::{Guard, Transport};
//! use tower_oci::wave::platform::{PlatformAccess, Platforms};
//!
//! let http = Transport::builder().build()?.connect(Guard::public_only());
//! let platforms = Platforms::builder(http).endpoint("https://platform.example.com/api").build()?;
//!
//! // Access tokens go nowhere else.
//! let access = PlatformAccess::new("token").endpoint("https://platform.example.org/api");
//! let error = platforms.user(&access).await.unwrap_err();
//! assert_eq!(error.status(), 400);
//! assert_eq!(
//!     error.message(),
//!     "`towerEndpoint`: `https://platform.example.org/api`: this service doesn't take credentials from this platform"
//! );
//!
//! // A platform that has paired is asked.
//! let request = br#"{"service":"tower","endpoint":"https://platform.example.com/api"}"#;
//! let pairing = platforms.pair(request).await?;
//! assert_eq!(pairing.pairing_id().len(), 32);
//! # Ok(()) }
//! ```

mod access;
mod api;
mod aws;
mod builder;
mod ecr;
mod endpoint;
mod exchange;
mod kept;
mod listing;
mod packet;
mod pairing;
mod platforms;
mod sealed;
mod settings;
mod sigv4;
mod tokens;

pub use self::access::PlatformAccess;
pub use self::api::User;
pub use self::builder::PlatformsBuilder;
pub use self::pairing::Pairing;
pub use self::platforms::Platforms;

use crate::error::Error;

/// As many requests as may go on at once do so.
fn full() -> Error {
    Error::unavailable("too many requests to platforms are going on; try again")
}
