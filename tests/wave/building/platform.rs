//! Requests with a token of a platform: whose they are, and what they are read and written with.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Value, json};
use tower_oci::client::credentials::Fixed;
use tower_oci::client::transport::HttpService;
use tower_oci::error::Error;
use tower_oci::operation::{BoxFuture, Credential};
use tower_oci::store::{MemoryRecords, Records};
use tower_oci::testing::{Hosts, PlatformStandIn};
use tower_oci::wave::platform::Platforms;

use super::bed::{Bed, OWN, Service, base64, image, paused_clock};

pub(crate) const ENDPOINT: &str = "https://platform.test";

/// Records that keep all that was ever put.
#[derive(Debug)]
struct Watched {
    inner: MemoryRecords,
    put: Arc<Mutex<Vec<u8>>>,
}

impl Records for Watched {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.inner.get(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expires: SystemTime,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.put.lock().unwrap().extend_from_slice(&[key.as_bytes(), &value].concat());
        self.inner.put(key, value, expires)
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.inner.remove(key)
    }
}

/// A service and a platform that have paired. The service has credentials of its own.
pub(crate) struct World {
    pub(crate) bed: Bed,
    pub(crate) platform: PlatformStandIn,
    put: Arc<Mutex<Vec<u8>>>,
    process: Arc<dyn Fn() -> Platforms>,
}

impl World {
    /// The platform has the user alice, whose token is `canary-access`, and keeps what opens quay.io.
    pub(crate) async fn new() -> Self {
        let clock = paused_clock();
        let put = Arc::default();
        let inner = MemoryRecords::with_capacity(1000).clock(clock.clone());
        let records: Arc<dyn Records> = Arc::new(Watched { inner, put: Arc::clone(&put) });
        let platform = PlatformStandIn::new();
        platform.user(1, "alice", "canary-access");
        platform.registry(None, "one", Some("quay.io"), "alices-robot", "canary-password");
        let (network, kept, now) =
            (Hosts::new().on("platform.test", platform.clone()), Arc::clone(&records), clock.clone());
        let fixed = Fixed::new();
        let fixed = ["quay.io", "registry.example", OWN].into_iter().fold(fixed, |fixed, host| {
            fixed.registry(host.parse().unwrap(), Credential::basic("service", "canary-own"))
        });
        // A process of its own each time: it shares the records and nothing else.
        let process: Arc<dyn Fn() -> Platforms> = Arc::new(move || {
            let platforms = Platforms::builder(HttpService::new(network.clone())).endpoint(ENDPOINT);
            platforms.records(Arc::clone(&kept)).clock(now.clone()).build().unwrap()
        });
        let start = Arc::clone(&process);
        let bed = Bed::on(
            records,
            clock,
            move |wave| wave.trusted_platforms(start()),
            move |building| building.credentials(Arc::new(fixed.clone())),
        );
        bed.push("quay.io/team/app:1", &image("app"));
        Self { bed, platform, put, process }
    }

    /// A service that the platform has paired with, by the front door.
    pub(crate) async fn service(&self) -> Service {
        let service = self.bed.service();
        let body = json!({ "service": "tower", "endpoint": ENDPOINT });
        let answer = service.post_to("/pairing", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(service.post_to("/pairing", &body).await.json(), answer.json(), "one key for a day");
        let pairing = (self.process)().pair(body.to_string().as_bytes()).await.unwrap();
        assert_eq!(serde_json::to_value(&pairing).unwrap(), answer.json());
        self.platform.pair(&pairing);
        service
    }
}

/// A request in alice's name.
pub(crate) fn alices(mut request: Value) -> Value {
    request["towerAccessToken"] = json!("canary-access");
    request["towerEndpoint"] = json!(ENDPOINT);
    request
}

#[tokio::test(start_paused = true)]
async fn an_image_is_read_with_what_the_platform_keeps() {
    let world = World::new().await;
    let service = world.service().await;
    let request =
        alices(json!({ "containerImage": "quay.io/team/app:1", "containerConfig": { "env": ["A=1"] } }));
    let submitted = service.submit(&request).await;
    let seen = world.bed.seen();
    assert_eq!(seen[0], "HEAD quay.io/team/app 1 as alices-robot");
    assert!(seen.iter().all(|line| line.ends_with(" as alices-robot")), "{seen:?}");
    assert_eq!(service.config(&submitted).await["config"]["Env"][1], "A=1");
    service.kill().await;

    // A token of before the restart is enough.
    let after = world.bed.service();
    assert_eq!(after.config(&submitted).await["config"]["Env"][1], "A=1");
    let seen = world.bed.seen();
    assert!(!seen.is_empty() && seen.iter().all(|line| line.ends_with(" as alices-robot")), "{seen:?}");
    // And nothing that was kept for it can be read without it.
    let token = submitted["containerToken"].as_str().unwrap();
    let put = String::from_utf8_lossy(&world.put.lock().unwrap()).into_owned();
    for secret in [token, "canary-access", "canary-password", "alices-robot", "canary-own"] {
        assert!(!put.contains(secret), "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_platform_keeps_nothing_nothing_is_sent() {
    let world = World::new().await;
    let service = world.service().await;
    world.bed.push("registry.example/open:1", &image("open"));
    let submitted = service.submit(&alices(json!({ "containerImage": "registry.example/open:1" }))).await;
    service.pull(&submitted).await;
    let seen = world.bed.seen();
    assert_eq!(seen[0], "HEAD registry.example/open 1 as nobody");
    assert!(seen.iter().all(|line| line.ends_with(" as nobody")), "{seen:?}");
    // Without a token of a platform, the stack's own settings count.
    service.submit(&json!({ "containerImage": "registry.example/open:1" })).await;
    assert_eq!(world.bed.seen()[0], "HEAD registry.example/open 1");
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_and_platforms_are_refused() {
    let world = World::new().await;
    let unpaired = world.bed.service();
    let request = alices(json!({ "containerImage": "quay.io/team/app:1" }));
    unpaired.post(&request).await.assert_failure(
        400,
        "`towerEndpoint`: the platform `https://platform.test` has not paired with this service",
    );
    let service = world.service().await;
    let mut wrong = request.clone();
    wrong["towerAccessToken"] = json!("canary-wrong");
    let refused = "the platform `https://platform.test` doesn't accept the access token";
    service.post(&wrong).await.assert_failure(401, refused);
    for (endpoint, message) in [
        (
            "https://evil.example",
            "`towerEndpoint`: `https://evil.example`: this service doesn't take credentials from this platform",
        ),
        ("platform.test", "`towerEndpoint` is no http address: `platform.test`"),
    ] {
        let mut other = request.clone();
        other["towerEndpoint"] = json!(endpoint);
        service.post(&other).await.assert_failure(400, message);
    }
    // A token that ends while its container token lives.
    let submitted = service.submit(&request).await;
    world.platform.expire("canary-access");
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let pulled = service.pull(&submitted).await;
    assert_eq!(pulled.json()["errors"][0]["message"], refused);
    assert_eq!(
        world
            .bed
            .proxy()
            .post_to("/pairing", &json!({ "service": "tower", "endpoint": "https://evil.example" }))
            .await
            .status,
        400
    );
    let answer = Bed::new().service().post_to("/pairing", &json!({})).await;
    answer.assert_failure(501, "this service takes credentials from no platform");
}

#[tokio::test(start_paused = true)]
async fn an_engine_gets_the_callers_and_not_the_services_credentials() {
    let world = World::new().await;
    let service = world.service().await;
    let recipe = json!({
        "containerFile": base64("FROM quay.io/team/base:1\nCOPY --from=registry.example/open:1 / /\n"),
        "buildRepository": "quay.io/team/builds", "cacheRepository": "registry.example/cache",
    });
    let access = |run: &super::engine::Run| {
        let mut all: Vec<String> = run
            .request
            .access
            .iter()
            .map(|one| {
                let who = match &one.credential {
                    Credential::Basic { username, .. } => username.clone(),
                    other => format!("{other:?}"),
                };
                format!("{}/{} {who}", one.registry, one.repository.as_ref().unwrap())
            })
            .collect();
        all.sort();
        all
    };
    service.submit(&alices(recipe.clone())).await;
    let run = world.bed.engine.run().await;
    assert_eq!(
        access(&run),
        [
            "quay.io/team/base alices-robot",
            "quay.io/team/builds alices-robot",
            "registry.example/cache Anonymous",
            "registry.example/open Anonymous",
        ]
    );
    assert_eq!(
        world.bed.seen()[0].rsplit_once(" as ").unwrap().1,
        "alices-robot",
        "who looks whether it is there"
    );
    run.fail("enough");
    super::bed::settle().await;

    // The same without a platform.
    service.submit(&recipe).await;
    let run = world.bed.engine.run().await;
    assert_eq!(
        access(&run),
        [
            "quay.io/team/base service",
            "quay.io/team/builds service",
            "registry.example/cache service",
            "registry.example/open service",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_built_for_somebody_is_kept_apart_in_the_services_repository() {
    let world = World::new().await;
    let service = world.service().await;
    let recipe = json!({ "containerFile": base64("FROM quay.io/team/base:1\n") });
    let submitted = service.submit(&alices(recipe.clone())).await;
    let run = world.bed.engine.run().await;
    let target = run.target();
    let path = target.strip_prefix(&format!("{OWN}/builds/")).unwrap();
    let (owner, _) = path.split_once(':').unwrap();
    assert_eq!(owner.len(), 20);
    let own = run.request.access.iter().find(|access| access.registry.as_str() == OWN).unwrap();
    assert!(matches!(&own.credential, Credential::Basic { username, .. } if username == "service"));
    let built = image("built");
    run.push(&world.bed, &built);
    assert_eq!(service.pull(&submitted).await.body, *built.content());

    // The same platform in another form, the same user, the same build.
    let mut other = alices(recipe.clone());
    other["towerEndpoint"] = json!("HTTPS://platform.test:443/");
    let other = service.submit(&other).await;
    assert_eq!((&other["cached"], &other["containerImage"]), (&json!(true), &json!(target)));
    // Another user, or nobody: another build.
    world.platform.user(2, "bob", "bobs");
    let mut bobs = alices(recipe.clone());
    bobs["towerAccessToken"] = json!("bobs");
    for request in [bobs, recipe] {
        let submitted = service.submit(&request).await;
        assert_eq!(submitted["cached"], false);
        assert_ne!(submitted["containerImage"].as_str().unwrap().split_once(':').unwrap().0, target);
        world.bed.engine.run().await.fail("enough");
    }
}

#[tokio::test(start_paused = true)]
async fn a_freeze_reads_and_writes_with_what_the_platform_keeps() {
    let world = World::new().await;
    let service = world.service().await;
    world.platform.registry(None, "two", Some("registry.example"), "alices-writer", "canary-writer");
    let request = alices(json!({
        "containerImage": "quay.io/team/app:1", "buildRepository": "registry.example/kept", "freeze": true,
        "containerConfig": { "env": ["A=1"] },
    }));
    let submitted = service.submit(&request).await;
    assert_eq!(submitted["succeeded"], true, "{submitted}");
    assert_eq!(submitted.get("containerToken"), None);
    for line in world.bed.seen() {
        let who = if line.contains("quay.io/") { " as alices-robot" } else { " as alices-writer" };
        assert!(line.ends_with(who), "{line}");
    }
    // Where the platform keeps nothing for the target, the service lends nothing.
    let mut elsewhere = request.clone();
    elsewhere["buildRepository"] = json!(format!("{OWN}/elsewhere"));
    service.submit(&elsewhere).await;
    let seen = world.bed.seen();
    let of = |line: &&String| line.contains("/elsewhere");
    assert!(
        seen.iter().any(|line| of(&line)) && seen.iter().filter(of).all(|line| line.ends_with(" as nobody")),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_platforms_user_is_no_anonymous_caller() {
    let world = World::new().await;
    let service = world.service().await;
    let bed = &world.bed;
    let wave = tower_oci::wave::Wave::builder(format!("http://{OWN}"))
        .anonymous(false)
        .trusted_platforms((world.process)())
        .build()
        .unwrap();
    let strict = service.of(wave);
    let request = json!({ "containerImage": "quay.io/team/app:1" });
    assert_eq!(strict.post(&request).await.status, 401);
    strict.submit(&alices(request)).await;
    assert_eq!(bed.engine.begun(), 0);
}
