//! What every engine is asked to do, and what must come of it.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tower::ServiceExt as _;
use tower_oci::build::{Build, BuildContext, BuildRequest, Builder, Event, RegistryAccess};
use tower_oci::error::Error;
use tower_oci::operation::Credential;
use tower_oci::spec::digest::Digest;

use crate::support::http::send;
use crate::support::image::{Kind, image};
use crate::support::process::run;
use crate::support::registry::{PASSWORD, Registry, USER, basic};

/// A guarded registry with a base image, and a directory for an engine's private directories.
pub(crate) struct Site {
    pub(crate) registry: Registry,
    pub(crate) private: tempfile::TempDir,
}

/// How a build ended, and all that it printed.
pub(crate) struct Ended {
    pub(crate) outcome: Result<Digest, Error>,
    pub(crate) log: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let registry = Registry::basic();
        registry.push(image(Kind::DockerManifest));
        Self { registry, private: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn base(&self) -> String {
        self.registry.name(image(Kind::DockerManifest))
    }

    pub(crate) fn target(&self, tag: &str) -> String {
        format!("{}/built/image:{tag}", self.registry.address)
    }

    /// A request with the registry's credential.
    pub(crate) fn request(&self, context: BuildContext, tag: &str) -> BuildRequest {
        let mut request = self.anonymous(context, tag);
        let credential = Credential::basic(USER, PASSWORD);
        request.access = vec![RegistryAccess::new(self.host(), None, credential)];
        request
    }

    pub(crate) fn anonymous(&self, context: BuildContext, tag: &str) -> BuildRequest {
        let mut request = BuildRequest::new(context, self.target(tag).parse().unwrap());
        request.insecure = vec![self.host()];
        request
    }

    fn host(&self) -> tower_oci::spec::name::Host {
        self.registry.address.to_string().parse().unwrap()
    }

    /// Two stages, a step, a file of the context.
    pub(crate) fn two_stages(&self) -> BuildContext {
        let base = self.base();
        BuildContext::new(format!(
            "FROM {base} AS one\nCOPY conf.txt /conf\nRUN cat /conf /etc/arch >/told && echo the step has run\n\
             FROM {base}\nCOPY --from=one /told /told\nENV BUILT=yes\n"
        ))
        .file("conf.txt", "from the context\n")
    }

    /// The digest that the registry has under a tag.
    pub(crate) fn digest(&self, tag: &str) -> Digest {
        Digest::sha256(&self.manifest(tag))
    }

    /// The manifest or index that the registry has under a tag.
    pub(crate) fn manifest(&self, tag: &str) -> Vec<u8> {
        let path = format!("/v2/built/image/manifests/{tag}");
        let authorization = basic(USER, PASSWORD);
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
            application/vnd.docker.distribution.manifest.v2+json";
        let headers = [("Authorization", authorization.as_str()), ("Accept", accept)];
        let answer = send(self.registry.address, "GET", &path, &headers, &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// Ends the test if a private directory is left.
    pub(crate) fn check_nothing_left(&self) {
        let left: Vec<_> =
            std::fs::read_dir(self.private.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [""; 0].map(Path::new));
    }
}

/// Runs a build to its end.
pub(crate) async fn build<B: Builder>(engine: &B, request: BuildRequest) -> Ended {
    finish(engine.clone().oneshot(request).await.map_err(Into::into).unwrap()).await
}

pub(crate) async fn finish(mut build: Build) -> Ended {
    let mut log = Vec::new();
    let outcome = loop {
        match build.next().await.expect("a build ends with an event") {
            Ok(Event::Log(bytes)) => log.extend_from_slice(&bytes),
            Ok(Event::Finished(built)) => break Ok(built.digest),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break Err(error),
        }
    };
    assert!(build.next().await.is_none(), "nothing comes after the end");
    Ended { outcome, log: String::from_utf8_lossy(&log).into_owned() }
}

/// Two builds and what they leave behind.
pub(crate) async fn check_builds<B: Builder>(site: &Site, engine: &B) {
    let ended = build(engine, site.request(site.two_stages(), "one")).await;
    let digest = ended.outcome.unwrap_or_else(|error| panic!("{error}\n{}", ended.log));
    assert!(ended.log.contains("the step has run"), "{}", ended.log);
    assert_eq!(digest, site.digest("one"));
    site.check_nothing_left();
    check_content(site, "one");
}

/// Ends the test unless the image has what its container file says.
pub(crate) fn check_content(site: &Site, tag: &str) {
    let containers = crate::client::containers::Containers::new();
    let mut from = containers.command("buildah");
    from.args(["from", "--quiet", "--tls-verify=false", "--creds", &format!("{USER}:{PASSWORD}")]);
    let container = run(from.arg(site.target(tag))).trim().to_owned();
    let script = "cat /told; echo $BUILT; ! cat /conf 2>/dev/null";
    let mut command = containers.command("buildah");
    let told = run(command.args(["run", "--runtime", "runc", &container, "--", "/bin/sh", "-c", script]));
    assert_eq!(told, "from the context\namd64\nyes\n");
    run(containers.command("buildah").args(["rm", &container]));
}

/// A build whose steps are in a repository already doesn't run them again.
pub(crate) async fn check_cache<B: Builder>(site: &Site, engine: &B, fresh: &B) {
    let mut request = site.request(site.two_stages(), "cached");
    request.cache = Some(format!("{}/built/cache", site.registry.address).parse().unwrap());
    let first = build(engine, request.clone()).await;
    first.outcome.unwrap_or_else(|error| panic!("{error}\n{}", first.log));
    assert!(first.log.contains("the step has run"), "{}", first.log);
    let second = build(fresh, request).await;
    let digest = second.outcome.unwrap_or_else(|error| panic!("{error}\n{}", second.log));
    assert!(
        !second.log.lines().any(|line| line.ends_with("the step has run") && !line.contains("RUN")),
        "{}",
        second.log
    );
    assert_eq!(digest, site.digest("cached"));
    check_content(site, "cached");
    site.check_nothing_left();
}

/// A build that fails says why.
pub(crate) async fn check_failure<B: Builder>(site: &Site, engine: &B) {
    let base = site.base();
    let context = BuildContext::new(format!("FROM {base}\nRUN echo the reason is this; exit 7\n"));
    let error = build(engine, site.request(context, "failed")).await.outcome.unwrap_err();
    assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
    assert!(error.message().contains("the reason is this"), "{error}");
    assert!(error.message().len() < 1200 && !error.message().contains('\u{1b}'), "{error}");
    // Without a credential the base image can't be had, even where another's build has left it.
    let context = BuildContext::new(format!("FROM {base}\n"));
    let error = build(engine, site.anonymous(context, "denied")).await.outcome.unwrap_err();
    let denials = ["authentication required", "no basic auth credentials", "401 Unauthorized"];
    assert!(denials.iter().any(|denial| error.message().contains(denial)), "{error}");
    site.check_nothing_left();
}

/// A build that nobody listens to any more ends with all its processes, and leaves nothing.
pub(crate) async fn check_cancelling<B: Builder>(site: &Site, engine: &B, tasks: &tower_oci::rt::Tasks) {
    let mark = format!("{}", 100_000 + std::process::id());
    let context = BuildContext::new(format!(
        "FROM {}\nRUN echo it sleeps; cat /dev/zero | sh -c 'read x; : {mark}'\n",
        site.base()
    ));
    let mut build =
        engine.clone().oneshot(site.request(context, "cancelled")).await.map_err(Into::into).unwrap();
    let mut log = Vec::new();
    while running(&mark) == 0 {
        match build.next().await.unwrap() {
            Ok(Event::Log(bytes)) => log.extend_from_slice(&bytes),
            other => panic!("{other:?}\n{}", String::from_utf8_lossy(&log)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(build);
    assert!(tasks.shutdown(Duration::from_secs(60)).await, "the build ends by itself");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while running(&mark) != 0 {
        assert!(std::time::Instant::now() < deadline, "processes are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.check_nothing_left();
}

/// How many processes have `mark` in their command line, other than what built it.
fn running(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}
