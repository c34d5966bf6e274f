use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use serde_json::value::RawValue;
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

/// Builds with [BuildKit](https://github.com/moby/buildkit), through `buildctl`: one daemon or several, here or
/// elsewhere. The engine that scales.
///
/// Builds go to the daemons in turn; one that doesn't answer is passed over. Daemons may be rootless, and keep their own
/// cache beside the cache repository, which all of them share.
///
/// ```no_run
/// use tower_oci::build::engine::{BuildKit, Program};
///
/// let program = Program::new("buildctl").global_arg("--tlsdir=/etc/buildkit/tls");
/// let builder = BuildKit::new(program, ["tcp://build-1:1234", "tcp://build-2:1234"]);
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
pub struct BuildKit {
    program: Program,
    addresses: Arc<[String]>,
    next: Arc<AtomicUsize>,
}

impl BuildKit {
    /// Builds with that program on the daemons at `addresses`: `unix:///run/buildkit/buildkitd.sock`, `tcp://…`. The
    /// program's own default when there is none.
    #[must_use]
    pub fn new<A: Into<String>>(program: Program, addresses: impl IntoIterator<Item = A>) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Self { program, addresses, next: Arc::new(AtomicUsize::new(0)) }
    }

    fn prepare(&self, request: &BuildRequest) -> Result<(Workspace, Variables), Error> {
        let logins = Logins::by_registry(&request.access, &request.target).to_json()?;
        let workspace = Workspace::new(self.program.private_directory(), &request.context)?;
        let config = workspace.config();
        workspace.write(&config.join("config.json"), &logins)?;
        Ok((workspace, vec![("DOCKER_CONFIG", config)]))
    }

    async fn steps(self, request: BuildRequest, mut session: Session) -> (Session, Result<Built, Error>) {
        let outcome = self.build(&request, &mut session).await;
        (session, outcome)
    }

    async fn build(&self, request: &BuildRequest, session: &mut Session) -> Result<Built, Error> {
        let address = self.choose(session).await?;
        let mut args = address_args(address.as_deref());
        args.extend(build_args(request, session));
        session.run("the build", session.command(args)).await?;
        pushed_digest(&session.workspace.read(&session.workspace.join(METADATA))?)
    }

    /// The next daemon that answers. Asked first, because a build that failed says nothing for sure about why.
    async fn choose(&self, session: &mut Session) -> Result<Option<String>, Error> {
        let Some(last) = self.addresses.len().checked_sub(1) else { return Ok(None) };
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        if last == 0 {
            return Ok(self.addresses.first().cloned());
        }
        for offset in 0..=last {
            let index = first.wrapping_add(offset) % self.addresses.len();
            let Some(address) = self.addresses.get(index) else { continue };
            let mut args = address_args(Some(address));
            args.extend(["debug".into(), "workers".into()]);
            if session.capture(session.command(args)).await.is_some() {
                return Ok(Some(address.clone()));
            }
            session
                .say(&format!("the build daemon {} of {} does not answer", index + 1, self.addresses.len()))
                .await;
        }
        Err(Error::unavailable("no build daemon answers"))
    }
}

impl Service<BuildRequest> for BuildKit {
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

fn address_args(address: Option<&str>) -> Vec<OsString> {
    address.into_iter().flat_map(|address| ["--addr".into(), address.into()]).collect()
}

fn build_args(request: &BuildRequest, session: &Session) -> Vec<OsString> {
    let local = |name: &str, path: PathBuf| {
        let mut arg = OsString::from(format!("--local={name}="));
        arg.push(path);
        arg
    };
    let insecure = |host| if request.insecure.contains(host) { ",registry.insecure=true" } else { "" };
    let mut args: Vec<OsString> =
        ["build", "--progress=plain", "--frontend=dockerfile.v0", "--opt=image-resolve-mode=pull"]
            .map(Into::into)
            .into();
    args.push(local("context", session.workspace.context()));
    args.push(local("dockerfile", session.workspace.recipe()));
    if !request.platforms.is_empty() {
        args.push(format!("--opt=platform={}", super::platforms(&request.platforms)).into());
    }
    let target = &request.target;
    let plain = insecure(target.registry());
    args.push(format!("--output=type=image,name={target},push=true,oci-mediatypes=true{plain}").into());
    if let Some(cache) = &request.cache {
        let plain = insecure(cache.registry());
        let name = super::cache_name(cache);
        args.push(format!("--import-cache=type=registry,ref={name}{plain}").into());
        args.push(
            format!("--export-cache=type=registry,ref={name},mode=max,oci-mediatypes=true{plain}").into(),
        );
    }
    let mut metadata = OsString::from("--metadata-file=");
    metadata.push(session.workspace.join(METADATA));
    args.push(metadata);
    args.extend(session.extra_args().map(OsString::from));
    args
}

/// The digest in a metadata file.
fn pushed_digest(metadata: &[u8]) -> Result<Built, Error> {
    let unclear = || Error::bad_gateway("BuildKit didn't say which digest it pushed");
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(metadata).map_err(|error| unclear().with_source(error))?;
    let digest = members.get("containerimage.digest").ok_or_else(unclear)?;
    let digest: Digest = serde_json::from_str(digest.get()).map_err(|error| unclear().with_source(error))?;
    Ok(Built::new(digest))
}

const METADATA: &str = "metadata.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_in_the_metadata() {
        let digest = Digest::sha256(b"1");
        let metadata = format!(
            r#"{{"containerimage.config.digest":"{}","containerimage.digest":"{digest}","containerimage.descriptor":{{"size":1}}}}"#,
            Digest::sha256(b"2")
        );
        assert_eq!(pushed_digest(metadata.as_bytes()).unwrap().digest, digest);
        for metadata in ["", "[]", "{}", r#"{"containerimage.digest":"sha256:1"}"#] {
            let error = pushed_digest(metadata.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "BuildKit didn't say which digest it pushed", "{metadata}");
        }
    }
}
