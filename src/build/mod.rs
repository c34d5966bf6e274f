//! Images made on the fly: what is to be built, and who builds it.
//!
//! A [`BuildRequest`] says what is to be built and where the result goes. A [`Builder`] is a tower service that answers
//! it with a [`Build`]: a stream of what the engine says, which ends with what came of it. Dropping the stream ends the
//! engine's work. Contexts come from a [`recipe`]; builders that need a program of the machine are in `engine`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_oci::error::Error> {
//! use futures_util::StreamExt as _;
//! use futures_util::stream;
//! use tower::ServiceExt as _;
//! use tower_oci::build::{Build, BuildContext, BuildRequest, Built, Event};
//! use tower_oci::error::Error;
//! use tower_oci::spec::digest::Digest;
//!
//! // A builder of one's own is a function.
//! let builder = tower::service_fn(|request: BuildRequest| async move {
//!     let made = Digest::sha256(request.context.container_file().as_bytes());
//!     let events = [Ok(Event::Log("done\n".into())), Ok(Event::Finished(Built::new(made)))];
//!     Ok::<_, Error>(Build::new(stream::iter(events)))
//! });
//!
//! let context = BuildContext::new("FROM scratch\n");
//! let request = BuildRequest::new(context, "registry.example/builds:1".parse()?);
//! let mut build = builder.oneshot(request).await?;
//! assert!(matches!(build.next().await, Some(Ok(Event::Log(_)))));
//! assert!(matches!(build.next().await, Some(Ok(Event::Finished(_)))));
//! # Ok(()) }
//! ```

pub mod builds;

mod builder;
mod container_file;
#[cfg(unix)]
pub mod engine;
pub mod recipe;
mod request;

pub use self::builder::{BoxBuilder, Build, Builder, Built, Event};
pub use self::request::{BuildContext, BuildRequest, RegistryAccess};
