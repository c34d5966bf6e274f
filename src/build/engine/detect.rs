use std::task::{Context, Poll};

use http::StatusCode;
use tower_service::Service;

use super::{BuildKit, Buildah, Docker, Program};
use crate::build::builder::Build;
use crate::build::request::BuildRequest;
use crate::error::Error;
use crate::operation::BoxFuture;

/// One of the engines, where a program's settings or the machine decide which.
///
/// ```
/// use tower_oci::build::engine::Engine;
///
/// match Engine::detect([""; 0]) {
///     Ok(engine) => println!("builds with {}", engine.name()),
///     Err(error) => assert_eq!(error.status(), http::StatusCode::NOT_IMPLEMENTED),
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Engine {
    /// `buildctl`.
    BuildKit(BuildKit),
    /// `buildah`.
    Buildah(Buildah),
    /// `docker`.
    Docker(Docker),
}

impl Engine {
    /// What is there: BuildKit when addresses of daemons are given, else buildah, else docker. Programs are looked for in
    /// [`Program::SEARCHED`]; whether they work is seen when they build.
    ///
    /// # Errors
    ///
    /// 501 with what to install.
    pub fn detect<A: Into<String>>(buildkit: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        let addresses: Vec<String> = buildkit.into_iter().map(Into::into).collect();
        let is_there = |name: &str| Program::new(name).find().is_some();
        if !addresses.is_empty() {
            return if is_there("buildctl") {
                Ok(Self::BuildKit(BuildKit::new(Program::new("buildctl"), addresses)))
            } else {
                Err(missing(
                    "there is no `buildctl` to reach the build daemons with: install BuildKit's programs",
                ))
            };
        }
        if is_there("buildah") {
            return Ok(Self::Buildah(Buildah::default()));
        }
        if is_there("docker") {
            return Ok(Self::Docker(Docker::default()));
        }
        Err(missing(
            "there is no build engine here: install `buildah` or `docker`, or give the address of a BuildKit daemon",
        ))
    }

    /// The name of its program.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BuildKit(_) => "buildctl",
            Self::Buildah(_) => "buildah",
            Self::Docker(_) => "docker",
        }
    }
}

fn missing(message: &str) -> Error {
    Error::unsupported(message).with_status(StatusCode::NOT_IMPLEMENTED)
}

impl Service<BuildRequest> for Engine {
    type Response = Build;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Build, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::BuildKit(engine) => engine.poll_ready(cx),
            Self::Buildah(engine) => engine.poll_ready(cx),
            Self::Docker(engine) => engine.poll_ready(cx),
        }
    }

    fn call(&mut self, request: BuildRequest) -> Self::Future {
        match self {
            Self::BuildKit(engine) => engine.call(request),
            Self::Buildah(engine) => engine.call(request),
            Self::Docker(engine) => engine.call(request),
        }
    }
}
