//! Scripts in the place of engines: what they are told, what they can see, and how they end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oci::build::engine::{BuildKit, Buildah, Docker, Program};
use tower_oci::build::{BuildContext, BuildRequest, Event, RegistryAccess};
use tower_oci::operation::Credential;
use tower_oci::rt::Tasks;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::platform::Platform;

use crate::builds::{Ended, build};
use crate::support::process::run;

const CANARIES: [&str; 3] = ["canary-password", "canary-identity", "canary-registry"];

/// A directory with a script, what it recorded, and a place for private directories.
struct Stage {
    directory: tempfile::TempDir,
    tasks: Tasks,
}

impl Stage {
    /// `script` runs with `$R`, where it may write what it has seen.
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["private", "record"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let path = directory.path().join("engine");
        let record = directory.path().join("record");
        std::fs::write(&path, format!("#!/bin/sh\nR={}\n{script}\n", record.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, tasks: Tasks::new() }
    }

    fn program(&self) -> Program {
        Program::new(self.directory.path().join("engine"))
            .directory(self.directory.path().join("private"))
            .tasks(self.tasks.clone())
            .grace(Duration::from_millis(200))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("record").join(name)
    }

    fn record(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What a script recorded, with the private directory as `@`.
    fn args(&self, name: &str) -> Vec<String> {
        let text = self.record(name);
        let private = self.directory.path().join("private");
        let all = text.lines().map(|line| match line.split_once(private.to_str().unwrap()) {
            Some((before, rest)) => format!("{before}@{}", &rest[rest[1..].find('/').unwrap() + 1..]),
            None => line.to_owned(),
        });
        all.collect()
    }

    fn check_nothing_left(&self) {
        assert_eq!(std::fs::read_dir(self.directory.path().join("private")).unwrap().count(), 0);
    }
}

fn request() -> BuildRequest {
    let context = BuildContext::new("FROM base.example/b\n").file("conda.yml", "dependencies: []\n");
    BuildRequest::new(context, "push.example/team/image:1".parse().unwrap())
}

fn with_canaries(mut request: BuildRequest) -> BuildRequest {
    let access = |host: &str, repository: Option<&str>, credential| {
        let repository = repository.map(|name| name.parse().unwrap());
        RegistryAccess::new(host.parse().unwrap(), repository, credential)
    };
    request.access = vec![
        access("push.example", None, Credential::basic("other", "unused")),
        access("push.example", Some("team"), Credential::basic("user", CANARIES[0])),
        access("docker.io", None, Credential::IdentityToken(CANARIES[1].into())),
        access("none.example", None, Credential::Anonymous),
    ];
    request
}

#[track_caller]
fn finished(ended: Ended) -> Digest {
    ended.outcome.unwrap_or_else(|error| panic!("{error}\n{}", ended.log))
}

/// Records what it is told, what it finds, and what anybody may see of it.
const BUILDCTL: &str = r#"
[ "$3" = debug ] && { echo "$2" >>$R/asked; [ "$2" != tcp://dead:1 ]; exit; }
for arg; do echo "$arg" >>$R/args; done
cp "$DOCKER_CONFIG/config.json" $R/config; stat -c %a "$DOCKER_CONFIG/config.json" "$DOCKER_CONFIG" >$R/modes
for arg; do case $arg in
  --local=context=*) ls "${arg#--local=context=}" >$R/context;;
  --local=dockerfile=*) cat "${arg#--local=dockerfile=}/Dockerfile" >$R/file;;
  --metadata-file=*) echo '{"containerimage.digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}' >"${arg#--metadata-file=}";;
esac; done
cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >$R/seen 2>/dev/null
env | sed 's/=.*//' | sort >$R/env
echo out; echo err >&2
"#;

#[tokio::test]
async fn buildctl_is_told_all_and_shows_nothing() {
    let stage = Stage::new(BUILDCTL);
    let engine = BuildKit::new(
        stage.program().arg("--opt=build-arg:A=1").env("LC_ALL", "C"),
        ["tcp://dead:1", "tcp://alive:2"],
    );
    let mut request = with_canaries(request());
    request.platforms = vec![Platform::LINUX_AMD64, Platform::LINUX_ARM64];
    request.cache = Some("cache.example/c".parse().unwrap());
    request.insecure = vec!["cache.example".parse().unwrap()];
    let registry_token = Credential::RegistryToken(CANARIES[2].into());
    request.access.push(RegistryAccess::new("token.example".parse().unwrap(), None, registry_token));
    let ended = build(&engine, request).await;
    assert_eq!(ended.log, "the build daemon 1 of 2 does not answer\nout\nerr\n");
    assert_eq!(finished(ended).to_string(), format!("sha256:{}", "a".repeat(64)));
    assert_eq!(stage.record("asked"), "tcp://dead:1\ntcp://alive:2\n");
    assert_eq!(
        stage.args("args"),
        [
            "--addr",
            "tcp://alive:2",
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            "--opt=image-resolve-mode=pull",
            "--local=context=@/context",
            "--local=dockerfile=@/recipe",
            "--opt=platform=linux/amd64,linux/arm64",
            "--output=type=image,name=push.example/team/image:1,push=true,oci-mediatypes=true",
            "--import-cache=type=registry,ref=cache.example/c:buildcache,registry.insecure=true",
            "--export-cache=type=registry,ref=cache.example/c:buildcache,mode=max,oci-mediatypes=true,registry.insecure=true",
            "--metadata-file=@/metadata.json",
            "--opt=build-arg:A=1",
        ]
    );
    let config: Value = serde_json::from_str(&stage.record("config")).unwrap();
    assert_eq!(
        config,
        json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "PHRva2VuPjo=", "identitytoken": "canary-identity"},
            "push.example": {"auth": "dXNlcjpjYW5hcnktcGFzc3dvcmQ="},
            "token.example": {"registrytoken": "canary-registry"},
        }})
    );
    assert_eq!(stage.record("modes"), "600\n700\n");
    assert_eq!(
        (stage.record("context").as_str(), stage.record("file").as_str()),
        ("conda.yml\n", "FROM base.example/b\n")
    );
    let seen = String::from_utf8_lossy(&std::fs::read(stage.path("seen")).unwrap()).into_owned();
    assert!(seen.contains("push.example/team/image:1"), "the script sees itself");
    for canary in CANARIES.into_iter().chain(["dXNlcjpjYW5hcnktcGFzc3dvcmQ"]) {
        assert!(!seen.contains(canary), "{canary} can be seen by everybody");
    }
    let env = stage.record("env");
    assert_eq!(env, "DOCKER_CONFIG\nHOME\nLC_ALL\nPATH\nPWD\nTMPDIR\nXDG_RUNTIME_DIR\n");
    stage.check_nothing_left();
}

#[tokio::test]
async fn daemons_take_turns_and_one_must_answer() {
    let stage = Stage::new(BUILDCTL);
    let engine = BuildKit::new(stage.program(), ["tcp://a:1", "tcp://b:1"]);
    for _ in 0..3 {
        finished(build(&engine, request()).await);
    }
    assert_eq!(stage.record("asked"), "tcp://a:1\ntcp://b:1\ntcp://a:1\n");
    let engine = BuildKit::new(stage.program(), ["tcp://dead:1", "tcp://dead:1"]);
    let error = build(&engine, request()).await.outcome.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (StatusCode::SERVICE_UNAVAILABLE, "no build daemon answers")
    );
    stage.check_nothing_left();
}

#[tokio::test]
async fn a_daemon_that_is_alone_is_not_asked_first() {
    let stage = Stage::new(BUILDCTL);
    finished(build(&BuildKit::new(stage.program(), ["tcp://dead:1"]), request()).await);
    assert!(!stage.path("asked").exists());
    finished(build(&BuildKit::new(stage.program(), [""; 0]), request()).await);
    assert_eq!(stage.args("args").iter().filter(|arg| *arg == "--addr").count(), 1);
}

#[tokio::test]
async fn buildah_is_told_all_and_shows_nothing() {
    let stage = Stage::new(
        r#"
case "$*" in *--version) echo "buildah version 1.27.9 (x)"; exit;; esac
for arg; do echo "$arg" >>$R/args; done; echo >>$R/args
cp "$REGISTRY_AUTH_FILE" $R/auth; cp "$CONTAINERS_REGISTRIES_CONF" $R/registries; cp $HOME/.config/containers/policy.json $R/policy
cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>$R/seen 2>/dev/null
while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && printf sha256:%064d 7 >"$2"; shift; done"#,
    );
    let engine = Buildah::new(stage.program().arg("--memory=1g")).storage("/s").storage_driver("vfs");
    let mut request = with_canaries(request());
    request.platforms = vec![Platform::LINUX_AMD64, Platform::LINUX_ARM64];
    request.cache = Some("cache.example/c".parse().unwrap());
    let ended = build(&engine, request).await;
    assert_eq!(ended.log, "this buildah can't keep its steps in a repository: building without a cache\n");
    assert_eq!(finished(ended).to_string(), format!("sha256:{:064}", 7));
    let args = stage.args("args");
    let name = args.iter().find_map(|arg| arg.strip_prefix("--manifest=")).unwrap().to_owned();
    assert!(name.starts_with("localhost/tower-oci-build:"), "{name}");
    let args = args.join(" ").replace(&name, "NAME");
    assert_eq!(
        args,
        "--root /s/graph --runroot /s/run --storage-driver vfs bud --pull-always --format=oci --rm --force-rm --layers=false \
         --platform=linux/amd64,linux/arm64 --manifest=NAME --memory=1g --file @/recipe/Dockerfile @/context  \
         --root /s/graph --runroot /s/run --storage-driver vfs manifest push --all --format=oci --digestfile @/digest NAME \
         docker://push.example/team/image:1  \
         --root /s/graph --runroot /s/run --storage-driver vfs manifest rm NAME "
    );
    let auth: Value = serde_json::from_str(&stage.record("auth")).unwrap();
    assert_eq!(
        auth,
        json!({"auths": {
            "docker.io": {"auth": "PHRva2VuPjo=", "identitytoken": "canary-identity"},
            "push.example": {"auth": "b3RoZXI6dW51c2Vk"},
            "push.example/team": {"auth": "dXNlcjpjYW5hcnktcGFzc3dvcmQ="},
        }})
    );
    let seen = String::from_utf8_lossy(&std::fs::read(stage.path("seen")).unwrap()).into_owned();
    assert!(seen.contains("docker://push.example/team/image:1"), "the script sees itself");
    for canary in CANARIES.into_iter().chain(["dXNlcjpjYW5hcnktcGFzc3dvcmQ"]) {
        assert!(!seen.contains(canary), "{canary} can be seen by everybody");
    }
    stage.check_nothing_left();
}

#[tokio::test]
async fn what_an_engine_cannot_do_is_said() {
    let stage = Stage::new("exit 0");
    let mut two = request();
    two.platforms = vec![Platform::LINUX_AMD64, Platform::LINUX_ARM64];
    let error = Docker::new(stage.program()).oneshot(two).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::NOT_IMPLEMENTED);
    assert!(error.message().contains("`linux/amd64,linux/arm64`"), "{error}");
    let mut token = request();
    let credential = Credential::RegistryToken("secret".into());
    token.access = vec![RegistryAccess::new("push.example".parse().unwrap(), None, credential)];
    let error = Buildah::new(stage.program()).oneshot(token).await.unwrap_err();
    assert_eq!(
        error.message(),
        "push.example: buildah can't use a registry token; give it a password or an identity token"
    );
    let nowhere = Program::new("/no/such/engine").directory(stage.path(""));
    let ended = build(&Buildah::new(nowhere), request()).await;
    let error = ended.outcome.unwrap_err();
    assert_eq!(error.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(
        error.message(),
        "the build engine `/no/such/engine` can't be run: install it, or name another"
    );
    // It ends well without having said what it made.
    let error = build(&BuildKit::new(stage.program(), [""; 0]), request()).await.outcome.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (StatusCode::BAD_GATEWAY, "the engine didn't say what it made")
    );
    stage.check_nothing_left();
}

#[tokio::test]
async fn a_failure_has_the_last_lines() {
    let stage = Stage::new(r#"printf 'first\n\033[31mthe reason\033[0m\r\n' >&2; exit 3"#);
    let ended = build(&BuildKit::new(stage.program(), [""; 0]), request()).await;
    let error = ended.outcome.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (StatusCode::BAD_REQUEST, "the build failed: first\nthe reason")
    );
    let stage = Stage::new("kill -9 $$");
    let error = build(&BuildKit::new(stage.program(), [""; 0]), request()).await.outcome.unwrap_err();
    assert_eq!(error.message(), "the build failed: signal: 9 (SIGKILL)");
    stage.check_nothing_left();
}

/// It ignores what asks it to end, and so does a child that left its group.
const STUBBORN: &str = r#"
trap '' TERM
setsid sh -c 'trap "" TERM; echo $$ >$0/away; echo ready; while :; do sleep 1; done' $R &
echo $$ >$R/self
while :; do sleep 1; done"#;

async fn running(stage: &Stage) -> (tower_oci::build::Build, Vec<PathBuf>) {
    let engine = BuildKit::new(stage.program(), [""; 0]);
    let mut build = engine.oneshot(request()).await.unwrap();
    assert!(matches!(build.next().await, Some(Ok(Event::Log(bytes))) if bytes == "ready\n"));
    let processes = ["self", "away"].map(|name| PathBuf::from("/proc").join(stage.record(name).trim()));
    assert!(processes.iter().all(|process| process.exists()), "{processes:?}");
    (build, processes.into())
}

fn check_gone(processes: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    // A killed process stays visible until whoever inherited it has looked.
    let is_alive = |process: &PathBuf| {
        let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while processes.iter().any(is_alive) {
        assert!(Instant::now() < deadline, "still there: {processes:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_build_that_is_dropped_ends_all_its_processes() {
    let stage = Stage::new(STUBBORN);
    let (build, processes) = running(&stage).await;
    drop(build);
    assert!(stage.tasks.shutdown(Duration::from_secs(30)).await);
    check_gone(&processes);
    stage.check_nothing_left();
}

#[tokio::test]
async fn a_shutdown_ends_all_processes_and_says_so() {
    let stage = Stage::new(STUBBORN);
    let (mut build, processes) = running(&stage).await;
    assert!(!stage.tasks.shutdown(Duration::ZERO).await);
    let error = build.next().await.unwrap().unwrap_err();
    assert_eq!(error.message(), "the build was broken off: this service is about to end");
    assert!(build.next().await.is_none());
    check_gone(&processes);
    stage.check_nothing_left();
    let error = BuildKit::new(stage.program(), [""; 0]).oneshot(request()).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    stage.check_nothing_left();
}

#[tokio::test]
async fn a_child_that_stays_does_not_hold_up_the_end() {
    // It has the engine's output, and has left both its group and its parent.
    let stays = "setsid sh -c 'echo $$ >$0/stays; exec sleep 60' $R &\nwhile [ ! -s $R/stays ]; do :; done";
    let stage = Stage::new(&format!("{stays}\n{BUILDCTL}"));
    let started = Instant::now();
    finished(build(&BuildKit::new(stage.program(), [""; 0]), request()).await);
    assert!(started.elapsed() < Duration::from_secs(30));
    run(std::process::Command::new("/bin/kill").arg(stage.record("stays").trim()));
    stage.check_nothing_left();
}

#[tokio::test]
async fn a_slow_listener_slows_the_engine() {
    let stage = Stage::new("head -c 4000000 /dev/zero; echo done >$R/done; exit 1");
    let mut build = BuildKit::new(stage.program(), [""; 0]).oneshot(request()).await.unwrap();
    assert!(matches!(build.next().await, Some(Ok(Event::Log(_)))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!stage.path("done").exists(), "all of it was taken in with nobody to take it");
    let mut length = 0;
    while let Some(Ok(Event::Log(bytes))) = build.next().await {
        assert!(bytes.len() <= 64 * 1024, "{}", bytes.len());
        length += bytes.len();
    }
    assert!(length > 3_000_000, "{length}");
    assert!(stage.path("done").exists());
}
