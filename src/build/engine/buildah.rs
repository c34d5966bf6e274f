use std::ffi::OsString;
use std::path::PathBuf;
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

/// Builds with [buildah](https://buildah.io): no daemon, but root, or a user with subordinate ids.
///
/// | | |
/// |---|---|
/// | images that are built from | from registries only, and always asked for anew, so that nobody gets what another's credential has left in the storage |
/// | several platforms | an index; steps of a foreign platform need the machine's emulator |
/// | cache repository | with 1.28 or newer; older ones build without, and say so |
/// | plain http | for the hosts that the request names, in a `registries.conf` of the build's own |
///
/// What is built is removed from the storage after it was pushed. Base images stay there.
///
/// ```no_run
/// use tower_oci::build::engine::{Buildah, Program};
///
/// let builder = Buildah::new(Program::new("buildah").arg("--memory=4g")).storage("/var/lib/builds");
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
pub struct Buildah {
    program: Program,
    storage: Option<PathBuf>,
    storage_driver: Option<String>,
}

impl Buildah {
    /// Builds with that program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self { program, storage: None, storage_driver: None }
    }

    /// Where images and layers are kept: a directory of its own, with a short path. By default what the machine's
    /// `storage.conf` says; without root it must be given, since there the default is a home directory, which is
    /// private to each build.
    #[must_use]
    pub fn storage(mut self, directory: impl Into<PathBuf>) -> Self {
        self.storage = Some(directory.into());
        self
    }

    /// How layers are stored: `overlay`, or `vfs` where nothing else works.
    #[must_use]
    pub fn storage_driver(mut self, driver: impl Into<String>) -> Self {
        self.storage_driver = Some(driver.into());
        self
    }

    /// What stands in front of each subcommand.
    fn globals(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        if let Some(storage) = &self.storage {
            args.extend(["--root".into(), storage.join("graph").into()]);
            args.extend(["--runroot".into(), storage.join("run").into()]);
        }
        if let Some(driver) = &self.storage_driver {
            args.extend(["--storage-driver".into(), driver.into()]);
        }
        args
    }

    /// Everything on disk that the steps need, and where the program finds it.
    fn prepare(&self, request: &BuildRequest) -> Result<(Workspace, Variables), Error> {
        let logins = Logins::by_repository(&request.access)?.to_json()?;
        let workspace = Workspace::new(self.program.private_directory(), &request.context)?;
        let auth = workspace.config().join("auth.json");
        workspace.write(&auth, &logins)?;
        let registries = workspace.config().join("registries.conf");
        workspace.write(&registries, registries_conf(request).as_bytes())?;
        workspace.policy()?;
        Ok((workspace, vec![("REGISTRY_AUTH_FILE", auth), ("CONTAINERS_REGISTRIES_CONF", registries)]))
    }

    async fn steps(self, request: BuildRequest, mut session: Session) -> (Session, Result<Built, Error>) {
        let name = format!("localhost/tower-oci-build:{}", session.workspace.name());
        let outcome = self.build(&request, &name, &mut session).await;
        // Whatever came of it, and whether or not anybody listens. What isn't there needs no removing.
        let is_index = request.platforms.len() > 1;
        let removal: &[&str] = if is_index { &["manifest", "rm", &name] } else { &["rmi", "--force", &name] };
        let removal = self.command(&session, removal.iter().map(OsString::from).collect());
        session.capture(removal).await;
        (session, outcome)
    }

    async fn build(&self, request: &BuildRequest, name: &str, session: &mut Session) -> Result<Built, Error> {
        let cache = match &request.cache {
            Some(cache) if self.has_cache(session).await => {
                Some(format!("{}/{}", cache.registry(), cache.repository()))
            }
            Some(_) => {
                session
                    .say("this buildah can't keep its steps in a repository: building without a cache")
                    .await;
                None
            }
            None => None,
        };
        let args = build_args(request, name, cache.as_deref(), session);
        session.run("the build", self.command(session, args)).await?;
        let is_index = request.platforms.len() > 1;
        if !is_index {
            // Not by the build itself: where all steps were in the cache it would copy an image within the storage, which
            // the policy forbids.
            let id = session.workspace.read(&session.workspace.join(IMAGE_ID))?;
            let id = String::from_utf8_lossy(&id).trim().to_owned();
            let tag = self.command(session, vec!["tag".into(), id.into(), name.into()]);
            session.run("naming the image", tag).await?;
        }
        let digest = session.workspace.join("digest");
        let target = format!("docker://{}", request.target);
        let push: [&str; 4] = if is_index {
            ["manifest", "push", "--all", "--format=oci"]
        } else {
            ["push", "--quiet", "--retry=3", "--format=oci"]
        };
        let mut args: Vec<OsString> = push.iter().map(OsString::from).collect();
        if is_index && request.insecure.contains(request.target.registry()) {
            // Alone of all commands, this one doesn't ask the file of registries.
            args.push("--tls-verify=false".into());
        }
        let what = format!("the push to `{}`", request.target);
        let with = |more: &[OsString]| -> Vec<OsString> {
            let last = [OsString::from(name), OsString::from(&target)];
            args.iter().chain(more).chain(&last).cloned().collect()
        };
        let (telling, silent) = (with(&["--digestfile".into(), digest.clone().into()]), with(&[]));
        session.run(&what, self.command(session, telling.clone())).await?;
        let said = session.workspace.read(&digest)?;
        if said.is_empty() && is_index {
            // buildah 1.28 takes writing that file for a success, whatever became of the push before. Without it the
            // reason comes out; where it was one that passes, the file is written after all.
            session.run(&what, self.command(session, silent)).await?;
            session.run(&what, self.command(session, telling)).await?;
            return Ok(Built::new(super::digest_of(&session.workspace.read(&digest)?)?));
        }
        Ok(Built::new(super::digest_of(&said)?))
    }

    fn command(&self, session: &Session, args: Vec<OsString>) -> tokio::process::Command {
        session.command(self.globals().into_iter().chain(args))
    }

    async fn has_cache(&self, session: &mut Session) -> bool {
        let printed = session.capture(self.command(session, vec!["--version".into()])).await;
        printed.is_some_and(|printed| version(&String::from_utf8_lossy(&printed)) >= Some((1, 28)))
    }
}

impl Default for Buildah {
    fn default() -> Self {
        Self::new(Program::new("buildah"))
    }
}

impl Service<BuildRequest> for Buildah {
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

fn build_args(request: &BuildRequest, name: &str, cache: Option<&str>, session: &Session) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["bud", "--pull-always", "--format=oci", "--rm", "--force-rm"].map(Into::into).into();
    let flag = |name: &str, value: &str| OsString::from(format!("--{name}={value}"));
    match cache {
        Some(cache) => args.extend(["--layers".into(), flag("cache-from", cache), flag("cache-to", cache)]),
        None => args.push("--layers=false".into()),
    }
    if !request.platforms.is_empty() {
        args.push(flag("platform", &super::platforms(&request.platforms)));
    }
    if request.platforms.len() > 1 {
        args.push(flag("manifest", name));
    } else {
        args.extend(["--iidfile".into(), session.workspace.join(IMAGE_ID).into()]);
    }
    args.extend(session.extra_args().map(OsString::from));
    args.push("--file".into());
    args.push(session.workspace.container_file().into());
    args.push(session.workspace.context().into());
    args
}

/// Short names mean Docker Hub, as everywhere in this crate, and some registries have no TLS.
fn registries_conf(request: &BuildRequest) -> String {
    let mut text =
        "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n".to_owned();
    for host in &request.insecure {
        text.push_str(&format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
    }
    text
}

/// The version in `buildah version 1.28.2 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("buildah version ")?.split('.');
    let major = parts.next()?.parse().ok()?;
    // `1.9-dev` before a release.
    let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major, minor.parse().ok()?))
}

const IMAGE_ID: &str = "image-id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        assert_eq!(version("buildah version 1.28.2 (image-spec 1.1.0-rc2)\n"), Some((1, 28)));
        assert_eq!(version("buildah version 1.9-dev"), Some((1, 9)));
        assert_eq!(version("something else"), None);
        assert!(version("nothing") < Some((1, 28)));
    }

    #[test]
    fn plain_http_is_for_the_named_hosts() {
        let mut request =
            BuildRequest::new(crate::build::BuildContext::new("FROM a"), "a.example/b".parse().unwrap());
        request.insecure = vec!["127.0.0.1:5000".parse().unwrap()];
        assert_eq!(
            registries_conf(&request),
            "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n\
             [[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n"
        );
    }
}
