//! A submission and the pull after it, over HTTP and through the whole stack: the registry below is in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_oci::body::Body;
use tower_oci::hosted::Memory;
use tower_oci::http::OciLayer;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::name::{Reference, Repository};
use tower_oci::store::{MemoryRecords, Records};
use tower_oci::testing::image::{Built, File, Image, Index};
use tower_oci::wave::Wave;

use super::support::{Layer, Submitted};

/// The service as it is mounted in a server, over one registry.
#[derive(Clone)]
struct Server {
    wave: Wave,
    images: tower_oci::operation::BoxRegistry,
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn assert_error(&self, status: u16, code: &str) {
        let error = self.json();
        assert_eq!(
            (self.status.as_u16(), error["errors"][0]["code"].as_str()),
            (status, Some(code)),
            "{error}"
        );
    }
}

impl Server {
    fn new(registry: &Memory, records: &Arc<dyn Records>) -> Self {
        let wave = Wave::builder("http://localhost:9090").records(Arc::clone(records)).build().unwrap();
        let images = ServiceBuilder::new()
            .layer(wave.images())
            .layer(RewriteLayer::by_extension())
            .service(registry.clone());
        Self { wave, images: tower_oci::operation::BoxRegistry::new(images) }
    }

    async fn ask(&self, request: Request<Body>) -> Got {
        let service = ServiceBuilder::new()
            .layer(self.wave.endpoints(self.images.clone()))
            .layer(OciLayer::new(self.images.clone()))
            .service(tower::service_fn(|_: Request<Body>| async {
                Ok::<_, Infallible>(Response::builder().status(418).body(Body::empty()).unwrap())
            }));
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        Got { status: parts.status, headers: parts.headers, body: body.read(1 << 24).await.unwrap() }
    }

    async fn get(&self, path: &str) -> Got {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn submit(&self, request: &Value) -> Submitted {
        let body = Body::from(request.to_string());
        let got = self.ask(Request::post("/container-token").body(body).unwrap()).await;
        assert_eq!(got.status, StatusCode::OK, "{:?}", got.body);
        serde_json::from_slice(&got.body).unwrap()
    }
}

/// Where the image of an answer is pulled from.
fn path(submitted: &Submitted) -> String {
    format!("/v2/wt/{}/demo/app", submitted.container_token)
}

fn repository() -> Repository {
    "demo/app".parse().unwrap()
}

fn image(text: &'static str) -> Image {
    Image::new().layer([File::new("etc/motd", text)]).env("PATH=/bin").env("A=1").entrypoint(["/entry", "-x"])
}

fn index(text: &'static str) -> Built {
    let amd64 = image(text).build().unwrap();
    let arm64 = image(text).platform("linux/arm64".parse().unwrap()).build().unwrap();
    Index::new().image(amd64).attestation().image(arm64).build()
}

fn registry() -> (Memory, Built) {
    let (registry, built) = (Memory::new(), index("one"));
    push(&registry, &built, "v1");
    (registry, built)
}

fn push(registry: &Memory, built: &Built, reference: &str) {
    built.push(registry, &repository(), &reference.parse().unwrap()).unwrap();
}

fn records() -> Arc<dyn Records> {
    Arc::new(MemoryRecords::with_capacity(10))
}

fn request(image: &str) -> Value {
    let layer: Value = serde_json::from_str(&Layer::new().json()).unwrap();
    json!({
        "containerImage": image,
        "containerConfig": {
            "entrypoint": ["/opt/start"], "env": ["A=2", "B=3"], "workingDir": "/w", "layers": [layer]
        }
    })
}

#[tokio::test]
async fn an_image_is_submitted_and_pulled() {
    let (registry, source) = registry();
    let server = Server::new(&registry, &records());
    let submitted = server.submit(&request("quay.io/demo/app:v1")).await;
    let path = path(&submitted);
    assert_eq!(submitted.target_image, format!("localhost:9090{}:v1", &path[3..]));

    // The index, by GET and HEAD alike, narrowed to the default platform.
    let got = server.get(&format!("{path}/manifests/v1")).await;
    assert_eq!((got.status, Digest::sha256(&got.body)), (StatusCode::OK, submitted.target_digest));
    assert_eq!(got.headers["docker-content-digest"], submitted.target_digest.to_string());
    assert_eq!(got.headers[CONTENT_TYPE], "application/vnd.oci.image.index.v1+json");
    let head = Request::head(format!("{path}/manifests/v1")).body(Body::empty()).unwrap();
    let head = server.ask(head).await;
    for name in ["docker-content-digest", "content-type", "content-length"] {
        assert_eq!(head.headers[name], got.headers[name], "{name}");
    }
    assert!(head.body.is_empty());
    let entries = got.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["platform"], json!({"architecture": "amd64", "os": "linux"}));

    // The manifest and the config.
    let digest = entries[0]["digest"].as_str().unwrap();
    let manifest = server.get(&format!("{path}/manifests/{digest}")).await.json();
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.base.name"], "quay.io/demo/app:v1");
    let base = source.children()[0].digest().to_string();
    assert_eq!(annotations["org.opencontainers.image.base.digest"], base);
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config = server.get(&format!("{path}/blobs/{config}")).await.json();
    assert_eq!(
        config["config"]["Env"],
        json!(["PATH=/bin", "A=2", "B=3", r#"WAVE_ENTRY_CHAIN=["/entry","-x"]"#])
    );
    assert_eq!(config["config"]["Entrypoint"], json!(["/opt/start"]));
    assert_eq!(config["config"]["WorkingDir"], "/w");

    // The layers: the image's own and the injected one.
    let layer = Layer::new();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    assert_eq!(config["rootfs"]["diff_ids"][1], layer.diff_id.to_string());
    assert_eq!(layers[1]["digest"], layer.digest.to_string());
    for entry in layers {
        let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        let blob = server.get(&format!("{path}/blobs/{digest}")).await;
        assert!(digest.matches(&blob.body));
    }
    let part = Request::get(format!("{path}/blobs/{}", layer.digest)).header(RANGE, "bytes=2-5");
    let part = server.ask(part.body(Body::empty()).unwrap()).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &layer.blob[2..6]));
}

#[tokio::test]
async fn a_token_serves_its_image_and_nothing_else() {
    let (registry, source) = registry();
    push(&registry, &index("two"), "v2");
    let server = Server::new(&registry, &records());
    let submitted = server.submit(&request("quay.io/demo/app:v1")).await;
    let path = path(&submitted);
    let amd64 = source.children()[0].digest();
    for reference in ["v2", "latest", &source.digest().to_string(), &amd64.to_string()] {
        server.get(&format!("{path}/manifests/{reference}")).await.assert_error(404, "MANIFEST_UNKNOWN");
    }
    let other = index("two").children()[0].blobs()[1].0.digest().to_string();
    server.get(&format!("{path}/blobs/{other}")).await.assert_error(404, "BLOB_UNKNOWN");
    let tags = server.get(&format!("{path}/tags/list?n=5")).await.json();
    assert_eq!(tags, json!({"name": path.strip_prefix("/v2/").unwrap(), "tags": ["v1"]}));
    let referrers = server.get(&format!("{path}/referrers/{}", submitted.target_digest)).await;
    assert_eq!((referrers.status, &referrers.json()["manifests"]), (StatusCode::OK, &json!([])));

    let upload = Request::post(format!("{path}/blobs/uploads/")).body(Body::empty()).unwrap();
    server.ask(upload).await.assert_error(403, "DENIED");
    let delete = Request::delete(format!("{path}/manifests/v1")).body(Body::empty()).unwrap();
    server.ask(delete).await.assert_error(403, "DENIED");
    server.get("/v2/wt/unknown/demo/app/manifests/v1").await.assert_error(404, "NAME_UNKNOWN");
    let other = path.replace("demo/app", "demo/other");
    server.get(&format!("{other}/manifests/v1")).await.assert_error(404, "NAME_UNKNOWN");
    // Who pulls isn't challenged, and what a client sends as credentials goes nowhere.
    let ping = Request::get("/v2/").header(AUTHORIZATION, "Basic eDp5").body(Body::empty()).unwrap();
    let ping = server.ask(ping).await;
    assert_eq!((ping.status, ping.headers.get("www-authenticate")), (StatusCode::OK, None));
}

#[tokio::test]
async fn the_source_is_pinned_when_it_is_submitted() {
    let (registry, _) = registry();
    let records = records();
    let server = Server::new(&registry, &records);
    let submitted = server.submit(&request("quay.io/demo/app:v1")).await;
    push(&registry, &index("two"), "v1");
    // In this process, and in another one that has seen nothing of it.
    for server in [server, Server::new(&registry, &records)] {
        let got = server.get(&format!("{}/manifests/v1", path(&submitted))).await;
        assert_eq!((got.status, Digest::sha256(&got.body)), (StatusCode::OK, submitted.target_digest));
        let digest = got.json()["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let manifest = server.get(&format!("{}/manifests/{digest}", path(&submitted))).await.json();
        let layer = Layer::new();
        let blob = server.get(&format!("{}/blobs/{}", path(&submitted), layer.digest)).await;
        assert_eq!(blob.body, layer.blob);
        let config: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
        assert!(config.matches(&server.get(&format!("{}/blobs/{config}", path(&submitted))).await.body));
    }
    // Who asks again gets the new one.
    let server = Server::new(&registry, &records);
    assert_ne!(server.submit(&request("quay.io/demo/app:v1")).await.target_digest, submitted.target_digest);
}

#[tokio::test]
async fn blobs_are_asked_of_an_instance_that_saw_nothing_before() {
    let (registry, _) = registry();
    let records = records();
    let one = Server::new(&registry, &records);
    let submitted = one.submit(&request("quay.io/demo/app:v1")).await;
    let index = one.get(&format!("{}/manifests/v1", path(&submitted))).await.json();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = one.get(&format!("{}/manifests/{digest}", path(&submitted))).await.json();
    for digest in
        [&manifest["config"]["digest"], &manifest["layers"][0]["digest"], &manifest["layers"][1]["digest"]]
    {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        let blob =
            Server::new(&registry, &records).get(&format!("{}/blobs/{digest}", path(&submitted))).await;
        assert!(blob.status == StatusCode::OK && digest.matches(&blob.body));
    }
}

#[tokio::test]
async fn an_image_named_by_digest_is_pulled_by_the_derived_one() {
    let (registry, source) = registry();
    let server = Server::new(&registry, &records());
    let submitted = server.submit(&request(&format!("quay.io/demo/app@{}", source.digest()))).await;
    let path = path(&submitted);
    assert_eq!(submitted.target_image, format!("localhost:9090{}@{}", &path[3..], submitted.target_digest));
    let got = server.get(&format!("{path}/manifests/{}", submitted.target_digest)).await;
    assert_eq!((got.status, Digest::sha256(&got.body)), (StatusCode::OK, submitted.target_digest));
    for reference in [Reference::Digest(*source.digest()), "v1".parse().unwrap()] {
        server.get(&format!("{path}/manifests/{reference}")).await.assert_error(404, "MANIFEST_UNKNOWN");
    }
}

#[tokio::test]
async fn a_request_that_changes_nothing_serves_the_source() {
    let registry = Memory::new();
    let built = image("one").build().unwrap();
    push(&registry, &built, "v1");
    let wave = Wave::builder("http://localhost:9090").default_platforms([]).build().unwrap();
    let images =
        ServiceBuilder::new().layer(wave.images()).layer(RewriteLayer::by_extension()).service(registry);
    let server = Server { wave, images: tower_oci::operation::BoxRegistry::new(images) };
    let submitted = server.submit(&json!({"containerImage": "quay.io/demo/app:v1"})).await;
    assert_eq!(submitted.target_digest, *built.digest());
    let got = server.get(&format!("{}/manifests/v1", path(&submitted))).await;
    assert_eq!(&got.body, built.content());
}

#[tokio::test]
async fn a_missing_platform_names_those_that_exist() {
    let (registry, _) = registry();
    let server = Server::new(&registry, &records());
    let body =
        json!({"containerImage": "quay.io/demo/app:v1", "containerPlatform": "linux/s390x"}).to_string();
    let got = server.ask(Request::post("/container-token").body(Body::from(body)).unwrap()).await;
    let message = got.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(
        message.starts_with("`containerImage`: the image `quay.io/demo/app:v1` can't be served: "),
        "{message}"
    );
    assert!(message.contains("linux/amd64") && message.contains("linux/arm64"), "{message}");
}

#[tokio::test]
async fn several_platforms_are_served_when_asked_for() {
    let (registry, _) = registry();
    let server = Server::new(&registry, &records());
    let mut body = request("quay.io/demo/app:v1");
    body["containerPlatform"] = json!("arm64,linux/amd64");
    let submitted = server.submit(&body).await;
    let index = server.get(&format!("{}/manifests/v1", path(&submitted))).await.json();
    let platforms: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|e| &e["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
}

#[tokio::test]
async fn a_layer_at_an_address_is_where_clients_are_sent() {
    let (registry, _) = registry();
    let server = Server::new(&registry, &records());
    let layer = Layer::new();
    let location = "https://layers.test/a.tgz?sig=a%2Fb&x";
    let body = json!({
        "containerImage": "quay.io/demo/app:v1",
        "containerConfig": {"layers": [{
            "location": location, "gzipDigest": layer.digest, "gzipSize": layer.blob.len().to_string(),
            "tarDigest": layer.diff_id
        }]}
    });
    let submitted = server.submit(&body).await;
    let got = server.get(&format!("{}/blobs/{}", path(&submitted), layer.digest)).await;
    assert_eq!(
        (got.status, &got.headers[LOCATION]),
        (StatusCode::TEMPORARY_REDIRECT, &location.parse().unwrap())
    );
}

#[tokio::test]
async fn an_expired_token_is_told_from_an_unknown_one() {
    let (registry, _) = registry();
    let now = Arc::new(std::sync::atomic::AtomicU64::new(super::support::START));
    let read = Arc::clone(&now);
    let clock = tower_oci::rt::Clock::from_fn(move || {
        let seconds = read.load(std::sync::atomic::Ordering::Relaxed);
        std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    });
    let wave = Wave::builder("http://localhost:9090").clock(clock).build().unwrap();
    let images =
        ServiceBuilder::new().layer(wave.images()).layer(RewriteLayer::by_extension()).service(registry);
    let server = Server { wave, images: tower_oci::operation::BoxRegistry::new(images) };
    let submitted = server.submit(&request("quay.io/demo/app:v1")).await;
    now.fetch_add(36 * 3600, std::sync::atomic::Ordering::Relaxed);
    let got = server.get(&format!("{}/manifests/v1", path(&submitted))).await;
    got.assert_error(404, "NAME_UNKNOWN");
    assert_eq!(got.json()["errors"][0]["message"], "the container token expired at 2026-01-02T12:00:00Z");
    let method =
        Request::builder().method(Method::GET).uri(format!("/container-token/{}", submitted.container_token));
    assert_eq!(server.ask(method.body(Body::empty()).unwrap()).await.status, StatusCode::GONE);
}
