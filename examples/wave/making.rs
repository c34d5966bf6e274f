//! Builds: an engine of the machine's, and the registry that it puts images into.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures_util::StreamExt as _;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_oci::build::engine::{BuildKit, Buildah, Docker, Engine, Program};
use tower_oci::build::{BoxBuilder, Build, BuildRequest, Builder as _, Event};
use tower_oci::error::Error;
use tower_oci::http::OciLayer;
use tower_oci::layer::auth::{Auth, Passwords, Tokens};
use tower_oci::layer::authorize::{AuthorizeLayer, Rules, Who};
use tower_oci::operation::{Access, BoxFuture, BoxRegistry, Credential, Credentials};
use tower_oci::rt::Tasks;
use tower_oci::spec::name::{Host, ImageName, Repository};
use tower_oci::wave::Building;

use super::Failure;
use super::keep::Kept;
use super::plain::Plain;
use super::server;
use super::settings::Settings;

/// The repository of builds in the registry of this process.
const BUILDS: &str = "builds";

/// Who writes to that.
const ENGINE: &str = "engine";

/// The registry of builds, on an address of its own: everybody reads it, the engine alone writes to it.
pub(crate) struct BuildRegistry {
    pub(crate) host: Host,
    listener: TcpListener,
    registry: BoxRegistry,
    auth: Auth,
    credential: Credential,
}

impl BuildRegistry {
    pub(crate) async fn bind(settings: &Settings, service: SocketAddr, kept: &Kept) -> Result<Self, Failure> {
        let address = settings.builds_listen(service);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("can't listen on {address} for the registry of builds: {error}"))?;
        let host: Host = listener.local_addr()?.to_string().parse()?;
        let password = random()?;
        let auth = Auth::builder(Passwords::new().user(ENGINE, password.as_str()))
            .tokens(Tokens::new(format!("http://{host}/token")))
            .anonymous(true)
            .build()?;
        let credential = Credential::basic(ENGINE, password);
        Ok(Self { host, listener, registry: kept.registry.clone(), auth, credential })
    }

    /// Its place in the stack.
    pub(crate) fn leaf(&self) -> (Host, BoxRegistry) {
        (self.host.clone(), self.registry.clone())
    }

    /// Where builds go unless a request or the command line says otherwise.
    fn repository(&self) -> Result<ImageName, Failure> {
        Ok(ImageName::new(self.host.clone(), BUILDS.parse()?, None, None))
    }

    /// Serves it for as long as the process lives.
    pub(crate) fn serve(self, tasks: &Tasks) -> Result<(), Failure> {
        let rules = Rules::new().allow(Who::Everybody, Access::Pull, "*".parse()?).allow(
            ENGINE,
            Access::Push,
            "*".parse()?,
        );
        let registry = ServiceBuilder::new()
            .layer(self.auth.layer())
            .layer(AuthorizeLayer::new(rules))
            .service(self.registry);
        let app = Router::new().layer(OciLayer::new(registry)).layer(self.auth.http_layer());
        tasks.spawn(server::serve(Plain(self.listener), app, std::future::pending()));
        Ok(())
    }
}

/// How images are made, over `images`.
pub(crate) fn building(
    settings: &Settings,
    images: BoxRegistry,
    kept: &Kept,
    own: &BuildRegistry,
    service: SocketAddr,
    tasks: &Tasks,
) -> Result<Building, Failure> {
    let (records, logs) = (Arc::clone(&kept.records), kept.logs.clone());
    // Base images may come through this service itself.
    let service: Host = service.to_string().parse()?;
    let insecure = settings.insecure().chain([&own.host, &service]);
    let repository = settings.build_repository()?.map_or_else(|| own.repository(), Ok)?;
    // The operator named them, with what they are written with. All else isn't written to for anybody.
    let named: Vec<Host> = settings.named_upstreams().chain([&own.host]).cloned().collect();
    let mut building = Building::new(images)
        .writes(move |_, repository| named.contains(repository.registry()))
        .repository(repository)
        .templates(settings.templates()?)
        .credentials(Arc::new(EngineCredentials {
            own: (own.host.clone(), own.credential.clone()),
            others: settings.credentials()?,
        }))
        .builds(move |builds| {
            // One process at a time has the records open.
            let builds = builds.records(records).exclusive(true);
            match logs {
                Some(directory) => builds.log_directory(directory),
                None => builds,
            }
        });
    for host in insecure {
        building = building.insecure(host.clone());
    }
    match engine(settings, tasks)? {
        Some((engine, name)) => {
            println!("builds with {name}; base images over http: --insecure");
            Ok(building.engine(shown(engine)))
        }
        None => Ok(building),
    }
}

/// The engine, and what it is called; none where there is none and none was asked for.
fn engine(settings: &Settings, tasks: &Tasks) -> Result<Option<(BoxBuilder, &'static str)>, Failure> {
    let program = |name: &str| {
        let program = settings.engine_args().fold(Program::new(name).tasks(tasks.clone()), Program::arg);
        settings.engine_environment().fold(program, |program, (name, value)| program.env(name, value))
    };
    let asked = settings.engine();
    // A path of one of them means that one.
    let engine = match asked.rsplit('/').next().unwrap_or_default() {
        "none" => return Ok(None),
        "buildah" => Engine::Buildah(Buildah::new(program(asked))),
        "docker" => Engine::Docker(Docker::new(program(asked))),
        "auto" => match Engine::detect([""; 0]) {
            Ok(Engine::Buildah(_)) => Engine::Buildah(Buildah::new(program("buildah"))),
            Ok(Engine::Docker(_)) => Engine::Docker(Docker::new(program("docker"))),
            Ok(engine) => engine,
            Err(error) => {
                println!("builds nothing: {error}");
                return Ok(None);
            }
        },
        _ => Engine::BuildKit(BuildKit::new(program("buildctl"), asked.split(','))),
    };
    let name = engine.name();
    let path = if asked.ends_with(name) { asked } else { name };
    if program(path).find().is_none() {
        return Err(format!("--engine: there is no `{path}` here: install it, or say --engine none").into());
    }
    Ok(Some((engine.boxed_builder(), name)))
}

/// The same engine; what it prints is shown in the terminal.
fn shown(engine: BoxBuilder) -> BoxBuilder {
    BoxBuilder::new(tower::service_fn(move |request: BuildRequest| {
        let engine = engine.clone();
        async move {
            let (target, began) = (request.target.clone(), std::time::Instant::now());
            let tag = target.tag().map_or("", |tag| tag.as_str());
            let short: String = tag.chars().take(8).collect();
            eprintln!("[{short}] building {target}");
            let build = engine.oneshot(request).await.inspect_err(|error| eprintln!("[{short}] {error}"))?;
            Ok::<_, Error>(Build::new(build.inspect(move |event| match event {
                Ok(Event::Log(text)) => {
                    for line in String::from_utf8_lossy(text).lines() {
                        // What a build prints may be anything, and a terminal obeys.
                        let line: String = line.chars().filter(|c| !c.is_control()).collect();
                        eprintln!("[{short}] {line}");
                    }
                }
                Ok(Event::Finished(built)) => {
                    eprintln!("[{short}] done in {:.1} s: {}", began.elapsed().as_secs_f64(), built.digest);
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("[{short}] failed after {:.1} s: {error}", began.elapsed().as_secs_f64())
                }
            })))
        }
    }))
}

/// What the engine reads and writes with: its own for the registry of builds, and what the command line names.
#[derive(Debug)]
struct EngineCredentials {
    own: (Host, Credential),
    others: Option<Arc<dyn Credentials>>,
}

impl Credentials for EngineCredentials {
    fn credential<'a>(
        &'a self,
        registry: &'a Host,
        repository: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Credential, Error>> {
        match &self.others {
            _ if *registry == self.own.0 => Box::pin(std::future::ready(Ok(self.own.1.clone()))),
            Some(others) => others.credential(registry, repository),
            None => Box::pin(std::future::ready(Ok(Credential::Anonymous))),
        }
    }
}

fn random() -> Result<String, Failure> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
