use std::ffi::OsString;
use std::task::{Context, Poll};

use tower_service::Service;

use super::program::Program;
use super::session::{Session, start};
use super::workspace::{Logins, Variables, Workspace};
use crate::build::builder::{Build, Built};
use crate::build::request::BuildRequest;
use crate::error::Error;
use crate::operation::BoxFuture;
use crate::rt::blocking;
use crate::spec::digest::Digest;
use crate::spec::name::ImageName;

/// Builds with `docker build` and `docker push` against a Docker engine.
///
/// | | |
/// |---|---|
/// | how it builds | with the engine's BuildKit (`DOCKER_BUILDKIT=1`), which the command takes itself up to version 20 and through its plugin `buildx` from 23; or in the old way ([`Docker::classic`]) |
/// | several platforms | refused with a 501: [`BuildKit`](super::BuildKit) makes an index |
/// | cache repository | the image itself carries the cache, and is pushed there too, with the tag `buildcache`; not in the old way |
/// | plain http | the engine decides by its own settings; 127.0.0.0/8 is allowed by default |
///
/// What is built is removed from the engine after it was pushed.
#[derive(Clone, Debug)]
pub struct Docker {
    program: Program,
    host: Option<String>,
    is_classic: bool,
}

impl Docker {
    /// Builds with that program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self { program, host: None, is_classic: false }
    }

    /// Where the engine listens: `unix:///run/other.sock`, `tcp://…`. The program's default when not given.
    #[must_use]
    pub fn host(mut self, address: impl Into<String>) -> Self {
        self.host = Some(address.into());
        self
    }

    /// Builds in the way that needs no BuildKit: without a cache repository, and only for the engine's own platform.
    #[must_use]
    pub fn classic(mut self) -> Self {
        self.is_classic = true;
        self
    }

    fn prepare(&self, request: &BuildRequest) -> Result<(Workspace, Variables), Error> {
        if request.platforms.len() > 1 {
            let asked = super::platforms(&request.platforms);
            let message = format!(
                "docker builds for one platform at a time, not `{asked}`; BuildKit and buildah make an index"
            );
            return Err(Error::unsupported(message).with_status(http::StatusCode::NOT_IMPLEMENTED));
        }
        let logins = Logins::by_registry(&request.access, &request.target).to_json()?;
        let workspace = Workspace::new(self.program.private_directory(), &request.context)?;
        let config = workspace.config();
        workspace.write(&config.join("config.json"), &logins)?;
        Ok((workspace, vec![("DOCKER_CONFIG", config)]))
    }

    async fn steps(self, request: BuildRequest, mut session: Session) -> (Session, Result<Built, Error>) {
        let cache = request.cache.as_ref().filter(|_| !self.is_classic).map(super::cache_name);
        let outcome = self.build(&request, cache.as_deref(), &mut session).await;
        let mut names = vec![request.target.to_string()];
        names.extend(cache);
        for name in names {
            let removal =
                self.command(&session, vec!["image".into(), "rm".into(), "--force".into(), name.into()]);
            session.capture(removal).await;
        }
        (session, outcome)
    }

    async fn build(
        &self,
        request: &BuildRequest,
        cache: Option<&str>,
        session: &mut Session,
    ) -> Result<Built, Error> {
        if request.cache.is_some() && self.is_classic {
            session
                .say("docker without BuildKit keeps no steps in a repository: building without a cache")
                .await;
        }
        let args = build_args(request, cache, self.is_classic, session);
        let mut command = self.command(session, args);
        command.env("DOCKER_BUILDKIT", if self.is_classic { "0" } else { "1" });
        session.run("the build", command).await?;
        for name in [Some(request.target.to_string()), cache.map(str::to_owned)].into_iter().flatten() {
            let push = self.command(session, vec!["push".into(), "--quiet".into(), name.clone().into()]);
            session.run(&format!("the push to `{name}`"), push).await?;
        }
        let inspect = ["image", "inspect", "--format", "{{json .RepoDigests}}"].map(Into::into);
        let inspect = inspect.into_iter().chain([request.target.to_string().into()]).collect();
        let inspected = session.capture(self.command(session, inspect)).await.unwrap_or_default();
        Ok(Built::new(pushed_digest(&inspected, &request.target)?))
    }

    fn command(&self, session: &Session, args: Vec<OsString>) -> tokio::process::Command {
        let host = self.host.iter().flat_map(|host| [OsString::from("--host"), host.into()]);
        session.command(host.chain(args))
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self::new(Program::new("docker"))
    }
}

impl Service<BuildRequest> for Docker {
    type Response = Build;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Build, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: BuildRequest) -> Self::Future {
        let engine = self.clone();
        Box::pin(async move {
            let (preparing, asked) = (engine.clone(), request.clone());
            let (workspace, env) = blocking(move || preparing.prepare(&asked)).await??;
            let program = engine.program.clone();
            start(&program, workspace, env, |session| engine.steps(request, session))
        })
    }
}

fn build_args(
    request: &BuildRequest,
    cache: Option<&str>,
    is_classic: bool,
    session: &Session,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["build", "--pull"].map(Into::into).into();
    if is_classic {
        args.push("--force-rm".into());
    } else {
        args.push("--progress=plain".into());
    }
    if let Some(cache) = cache {
        args.extend([format!("--cache-from={cache}").into(), "--build-arg=BUILDKIT_INLINE_CACHE=1".into()]);
        args.extend(["--tag".into(), cache.into()]);
    }
    if let [platform] = request.platforms.as_slice() {
        args.push(format!("--platform={platform}").into());
    }
    args.extend(["--tag".into(), request.target.to_string().into()]);
    args.extend(session.extra_args().map(OsString::from));
    args.push("--file".into());
    args.push(session.workspace.container_file().into());
    args.push(session.workspace.context().into());
    args
}

/// The digest that the engine knows an image by in the repository that it was pushed to.
fn pushed_digest(inspected: &[u8], target: &ImageName) -> Result<Digest, Error> {
    let names: Vec<String> = serde_json::from_slice(inspected)
        .map_err(|error| Error::bad_gateway("docker didn't say which digest it pushed").with_source(error))?;
    let mut digests: Vec<Digest> = names
        .iter()
        .filter_map(|name| name.parse::<ImageName>().ok())
        .filter(|name| name.registry() == target.registry() && name.repository() == target.repository())
        .filter_map(|name| name.digest().copied())
        .collect();
    digests.dedup();
    match digests.as_slice() {
        [digest] => Ok(*digest),
        [] => Err(Error::bad_gateway("docker didn't say which digest it pushed")),
        _ => Err(Error::bad_gateway("docker knows what it pushed by several digests")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_repository() {
        let target: ImageName = "busybox:1".parse().unwrap();
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let check = |names: &str| pushed_digest(names.as_bytes(), &target).map_err(|error| error.to_string());
        assert_eq!(check(&format!(r#"["a.example/b@{two}","busybox@{one}"]"#)), Ok(one));
        let unknown = Err("docker didn't say which digest it pushed".to_owned());
        assert_eq!(check(&format!(r#"["a.example/b@{two}"]"#)), unknown);
        assert_eq!(check(""), unknown);
        assert_eq!(
            check(&format!(r#"["busybox@{one}","busybox@{two}"]"#)),
            Err("docker knows what it pushed by several digests".to_owned())
        );
    }
}
