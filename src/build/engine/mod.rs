//! Builders that run a program of the machine: buildah, docker, or BuildKit's `buildctl`.
//!
//! Each is a tower service from a [`BuildRequest`](super::BuildRequest) to a [`Build`](super::Build). [`Engine::detect`]
//! takes what is there.
//!
//! # What a build can do
//!
//! A container file is a program: it runs on the engine, with the engine's network and what the engine lets a container
//! do. Whoever may submit builds may use both. Run the engine where that does no harm, and restrict it with its own
//! means ([`Program::arg`]).
//!
//! # What is kept from it
//!
//! - Each build has a directory of its own, mode 0700, which is removed on every way out.
//! - Registry credentials are in a file there, mode 0600: in no command line, no environment, no image.
//! - The program sees a small, explicit environment ([`Program`]).
//! - Dropping the [`Build`](super::Build) ends all processes of the engine's program: SIGTERM, then SIGKILL after
//!   [`Program::grace`].
//! - What is printed is passed on and never interpreted. The digest comes from a file of the engine's, and is a digest.
//!
//! A program that fails is an error of the client's (400), whose message has its last lines; one that isn't there is a
//! 501.

mod buildah;
mod buildkit;
mod detect;
mod docker;
mod group;
mod program;
mod session;
mod tail;
mod workspace;

use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::name::ImageName;
use crate::spec::platform::Platform;

pub use self::buildah::Buildah;
pub use self::buildkit::BuildKit;
pub use self::detect::Engine;
pub use self::docker::Docker;
pub use self::program::Program;

/// The digest that an engine's file holds.
fn digest_of(content: &[u8]) -> Result<Digest, Error> {
    let text = str::from_utf8(content).unwrap_or_default().trim();
    text.parse().map_err(|error| {
        Error::bad_gateway("the engine didn't say which digest it pushed").with_source(error)
    })
}

/// A comma list, as every engine takes it.
fn platforms(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Where BuildKit keeps its steps in a cache repository.
fn cache_name(cache: &ImageName) -> String {
    let tag = cache.tag().map_or("buildcache", |tag| tag.as_str());
    format!("{}/{}:{tag}", cache.registry(), cache.repository())
}
