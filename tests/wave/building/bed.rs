//! The whole service over registries in memory, and an engine that does what a test tells it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_oci::body::Body;
use tower_oci::build::builds::MemoryLogs;
use tower_oci::hosted::Memory;
use tower_oci::http::OciLayer;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::middleware::{FromFnLayer, Next, from_fn};
use tower_oci::operation::{self, BoxRegistry, Credential, Handlers, Operation, Registry as _, UpstreamId};
use tower_oci::rt::{Clock, Tasks};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::name::Host;
use tower_oci::store::{MemoryRecords, Records};
use tower_oci::testing::image::{Built, File, Image};
use tower_oci::wave::{Building, Wave, WaveBuilder};

use super::engine::Engine;

/// The host of the service, whose registry is in this process.
pub(crate) const OWN: &str = "localhost:9090";

/// What is around a service, and outlives it.
pub(crate) struct Bed {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Clock,
    registries: Registries,
    records: Arc<dyn Records>,
    logs: Arc<MemoryLogs>,
    settings: Box<dyn Fn(WaveBuilder) -> WaveBuilder>,
    building: Box<dyn Fn(Building) -> Building>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(|wave| wave, |building| building)
    }

    pub(crate) fn with(
        settings: impl Fn(WaveBuilder) -> WaveBuilder + 'static,
        building: impl Fn(Building) -> Building + 'static,
    ) -> Self {
        let clock = paused_clock();
        let records = Arc::new(MemoryRecords::with_capacity(1000).clock(clock.clone()));
        Self::on(records, clock, settings, building)
    }

    pub(crate) fn on(
        records: Arc<dyn Records>,
        clock: Clock,
        settings: impl Fn(WaveBuilder) -> WaveBuilder + 'static,
        building: impl Fn(Building) -> Building + 'static,
    ) -> Self {
        Self {
            engine: Engine::new(),
            registries: Registries::default(),
            logs: Arc::new(MemoryLogs::default().clock(clock.clone())),
            records,
            clock,
            settings: Box::new(settings),
            building: Box::new(building),
        }
    }

    /// A service with an engine.
    pub(crate) fn service(&self) -> Service {
        let engine = Arc::clone(&self.engine);
        let engine = tower::service_fn(move |request| std::future::ready(engine.begin(request)));
        self.process(|building| Some(building.engine(engine)))
    }

    /// A service that freezes, and builds nothing.
    pub(crate) fn freezer(&self) -> Service {
        self.process(Some)
    }

    /// A service that neither freezes nor builds.
    pub(crate) fn proxy(&self) -> Service {
        self.process(|_| None)
    }

    fn process(&self, engine: impl FnOnce(Building) -> Option<Building>) -> Service {
        self.over(self.registries.stack(), engine)
    }

    /// A service over another stack, without an engine.
    pub(crate) fn freezer_over(&self, below: BoxRegistry) -> Service {
        self.over(below, Some)
    }

    fn over(&self, below: BoxRegistry, engine: impl FnOnce(Building) -> Option<Building>) -> Service {
        let tasks = Tasks::new();
        let (records, logs, of) = (Arc::clone(&self.records), Arc::clone(&self.logs), tasks.clone());
        let building = Building::new(below.clone())
            .repository(format!("{OWN}/builds").parse().unwrap())
            .builds(move |builds| builds.records(records).exclusive(true).logs(logs).tasks(of));
        let wave = Wave::builder(format!("http://{OWN}"))
            .records(Arc::clone(&self.records))
            .clock(self.clock.clone());
        let wave = (self.settings)(wave);
        let wave = match engine((self.building)(building)) {
            Some(building) => wave.building(building),
            None => wave,
        };
        let wave = wave.build().unwrap();
        let images = BoxRegistry::new(tower_layer::Layer::layer(&wave.images(), below));
        Service { wave, images, tasks }
    }

    /// The registry at a host.
    pub(crate) fn registry(&self, host: &str) -> Memory {
        self.registries.at(&host.parse().unwrap())
    }

    /// Puts an image where `name` says.
    pub(crate) fn push(&self, name: &str, image: &Built) {
        self.registries.push(name, image);
    }

    pub(crate) fn engine_pushes_to(&self) -> &Registries {
        &self.registries
    }

    /// The digest of what is at `name`.
    pub(crate) async fn digest(&self, name: &str) -> Option<Digest> {
        let name: tower_oci::spec::name::ImageName = name.parse().unwrap();
        let head = operation::GetManifest::head(name.repository().clone(), name.reference());
        let found = self.registry(name.registry().as_str()).send(operation::Request::new(head)).await;
        Some(found.ok()?.into_reply().full().unwrap().digest)
    }

    /// What the registries were asked since the last time.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.registries.seen.lock().unwrap())
    }
}

/// One registry for each host that is named.
#[derive(Clone, Default)]
pub(crate) struct Registries {
    all: Arc<Mutex<BTreeMap<Host, Memory>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Registries {
    fn at(&self, host: &Host) -> Memory {
        self.all.lock().unwrap().entry(host.clone()).or_default().clone()
    }

    pub(crate) fn push(&self, name: &str, image: &Built) {
        let name: tower_oci::spec::name::ImageName = name.parse().unwrap();
        image.push(&self.at(name.registry()), name.repository(), &name.reference()).unwrap();
    }

    fn stack(&self) -> BoxRegistry {
        ServiceBuilder::new()
            .layer(RouteLayer::new(Routes::new().any_host(true)))
            .layer(RewriteLayer::by_extension())
            .layer(self.leaf())
            .service(Handlers::new())
            .boxed_registry()
    }

    fn leaf(&self) -> FromFnLayer {
        let this = self.clone();
        from_fn(move |request: operation::Request, _: Next| {
            let host: Host = request.extensions().get::<UpstreamId>().unwrap().to_string().parse().unwrap();
            this.seen.lock().unwrap().push(shown(&host, &request));
            let registry = this.at(&host);
            async move { registry.oneshot(request).await }
        })
    }
}

/// `HEAD quay.io/a:1 as alice`.
fn shown(host: &Host, request: &operation::Request) -> String {
    let what = match request.operation() {
        Operation::GetManifest(get) => {
            let method = if get.head { "HEAD" } else { "GET" };
            format!("{method} {host}/{} {}", get.repository, get.reference)
        }
        other => format!("{:?} {host}/{}", other.kind(), other.repository().unwrap()),
    };
    match request.extensions().get::<Credential>() {
        None => what,
        Some(Credential::Anonymous) => format!("{what} as nobody"),
        Some(Credential::Basic { username, .. }) => format!("{what} as {username}"),
        Some(other) => format!("{what} as {other:?}"),
    }
}

/// One process.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) wave: Wave,
    pub(crate) images: BoxRegistry,
    tasks: Tasks,
}

impl Service {
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let service = ServiceBuilder::new()
            .layer(self.wave.endpoints(self.images.clone()))
            .layer(OciLayer::new(self.images.clone()))
            .service(tower::service_fn(|_: Request<Body>| async {
                Ok::<_, Infallible>(Response::builder().status(418).body(Body::empty()).unwrap())
            }));
        service.oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.read(1 << 24).await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.method(Method::GET, path).await
    }

    pub(crate) async fn method(&self, method: Method, path: &str) -> Answer {
        self.ask(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: &Value) -> Answer {
        self.ask(Request::post(path).body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn post(&self, body: &Value) -> Answer {
        self.post_to("/container-token", body).await
    }

    /// Posts what must succeed.
    pub(crate) async fn submit(&self, body: &Value) -> Value {
        let answer = self.post(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        assert!(!answer.text().contains("null"), "{}", answer.text());
        answer.json()
    }

    /// Pulls the manifest of an answer's target as podman does.
    pub(crate) async fn pull(&self, submitted: &Value) -> Answer {
        self.pull_as(Method::GET, submitted, "libpod/5.4").await
    }

    pub(crate) async fn pull_as(&self, method: Method, submitted: &Value, agent: &str) -> Answer {
        let request = Request::builder().method(method).uri(path(submitted)).header(USER_AGENT, agent);
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    /// The configuration of the image that an answer's target means.
    pub(crate) async fn config(&self, submitted: &Value) -> Value {
        let manifest = self.pull(submitted).await;
        assert_eq!(manifest.status, StatusCode::OK, "{}", manifest.text());
        let manifest = manifest.json();
        let config = manifest["config"]["digest"].as_str().expect("an image's manifest");
        let (repository, _) =
            path(submitted).rsplit_once("/manifests/").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        self.get(&format!("{repository}/blobs/{config}")).await.json()
    }

    /// The status of a build.
    pub(crate) async fn status(&self, submitted: &Value) -> Value {
        let id = submitted["buildId"].as_str().expect("a build");
        self.get(&format!("/v1alpha1/builds/{id}/status")).await.json()
    }

    /// The same stack under other settings.
    pub(crate) fn of(self, wave: Wave) -> Self {
        Self { wave, ..self }
    }

    /// Ends it as if the machine had lost its power.
    pub(crate) async fn kill(self) {
        self.tasks.abort();
        settle().await;
    }
}

/// Where the manifest of an answer's target is: `/v2/…/manifests/…`.
pub(crate) fn path(submitted: &Value) -> String {
    let image = submitted["targetImage"].as_str().unwrap();
    let name =
        image.strip_prefix(OWN).and_then(|name| name.strip_prefix('/')).expect("a name of this service");
    let (repository, reference) = name.split_once('@').or_else(|| name.rsplit_once(':')).unwrap();
    format!("/v2/{repository}/manifests/{reference}")
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_failure(&self, status: u16, message: &str) {
        assert_eq!((self.status.as_u16(), self.json()), (status, json!({ "message": message })));
        assert_eq!(self.headers["content-type"], "application/json");
    }

    /// An error of the distribution specification.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str, message: &str) {
        let json = self.json();
        let error = (&json["errors"][0]["code"], &json["errors"][0]["message"]);
        assert_eq!((self.status.as_u16(), error), (status, (&json!(code), &json!(message))));
    }
}

/// A recipe as it is sent.
pub(crate) fn base64(text: &str) -> String {
    crate::support::base64(text.as_bytes())
}

/// An image of one layer.
pub(crate) fn image(text: &'static str) -> Built {
    Image::new().layer([File::new("etc/motd", text)]).env("PATH=/bin").entrypoint(["/entry"]).build().unwrap()
}

/// A clock that goes with the paused time, from 2026-01-01T00:00:00Z on.
pub(crate) fn paused_clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::from_fn(move || {
        SystemTime::UNIX_EPOCH + Duration::from_secs(crate::support::START) + start.elapsed()
    })
}

/// Runs it beside the test.
pub(crate) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    #[expect(clippy::disallowed_methods, reason = "a test waits for what it starts")]
    let task = tokio::spawn(future);
    async move { task.await.unwrap() }
}

/// Lets everything happen that needs no time.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
