//! Each attribute of the API's reference by its name: what it does, or why it is refused, through the front door.

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower_oci::body::Body;

use crate::building::bed::{Bed, OWN, Service, base64, image, path, settle};
use crate::building::platform::{ENDPOINT, World, alices};
use crate::support::Layer;

const IMAGE: &str = "quay.io/team/app:1";
const FILE: &str = "FROM scratch\n";

fn bed() -> Bed {
    let bed = Bed::new();
    bed.push(IMAGE, &image("app"));
    bed
}

/// The configuration of the image that a `containerConfig` makes.
async fn configured(config: Value) -> Value {
    let service = bed().service();
    let submitted = service.submit(&json!({ "containerImage": IMAGE, "containerConfig": config })).await;
    service.config(&submitted).await["config"].clone()
}

/// The answer to a request with this one layer.
async fn with_layer(service: &Service, layer: &Value) -> crate::building::bed::Answer {
    service.post(&json!({ "containerImage": IMAGE, "containerConfig": { "layers": [layer] } })).await
}

fn layer() -> Value {
    serde_json::from_str(&Layer::new().json()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn container_image() {
    let service = bed().service();
    let submitted = service.submit(&json!({ "containerImage": IMAGE })).await;
    assert_eq!(submitted["containerImage"], IMAGE);
    assert_eq!(service.pull(&submitted).await.body, *image("app").content());
    let absent = service.post(&json!({ "containerImage": "quay.io/team/absent:1" })).await;
    assert_eq!(absent.status, StatusCode::BAD_REQUEST);
    let message = absent.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the image `quay.io/team/absent:1` can't be served"), "{message}");
    let neither = "neither `containerImage` nor `containerFile` is given";
    service.post(&json!({})).await.assert_failure(400, neither);
}

#[tokio::test(start_paused = true)]
async fn container_config_entrypoint() {
    let config = configured(json!({ "entrypoint": ["/bin/bash", "-c"] })).await;
    assert_eq!(config["Entrypoint"], json!(["/bin/bash", "-c"]));
    assert_eq!(config["Env"], json!(["PATH=/bin", "WAVE_ENTRY_CHAIN=/entry"]));
}

#[tokio::test(start_paused = true)]
async fn container_config_cmd() {
    let config = configured(json!({ "cmd": ["echo", "Hello world"] })).await;
    assert_eq!(
        (&config["Cmd"], &config["Entrypoint"]),
        (&json!(["echo", "Hello world"]), &json!(["/entry"]))
    );
}

#[tokio::test(start_paused = true)]
async fn container_config_env() {
    let config = configured(json!({ "env": ["FOO=one", "PATH=/sbin"] })).await;
    assert_eq!(config["Env"], json!(["PATH=/sbin", "FOO=one", "WAVE_ENTRY_CHAIN=/entry"]));
}

#[tokio::test(start_paused = true)]
async fn container_config_working_dir() {
    assert_eq!(configured(json!({ "workingDir": "/some/work/dir" })).await["WorkingDir"], "/some/work/dir");
}

#[tokio::test(start_paused = true)]
async fn container_config_layers_location() {
    let service = bed().service();
    let answer = with_layer(&service, &layer()).await.json();
    let (directory, _) =
        path(&answer).rsplit_once("/manifests/").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let blob = format!("{directory}/blobs/{}", Layer::new().digest);
    assert_eq!(service.get(&blob).await.body, Layer::new().blob, "what came with the request");
    let mut elsewhere = layer();
    elsewhere["location"] = json!("https://layers.example/a.tgz");
    let answer = with_layer(&service, &elsewhere).await.json();
    let (directory, _) =
        path(&answer).rsplit_once("/manifests/").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let sent = service.get(&format!("{directory}/blobs/{}", Layer::new().digest)).await;
    assert_eq!(sent.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(sent.headers["location"], "https://layers.example/a.tgz");
    let mut missing = layer();
    missing["location"] = Value::Null;
    let message = "`containerConfig.layers[0].location` is missing";
    with_layer(&service, &missing).await.assert_failure(400, message);
}

/// A layer whose `member` says something else is refused.
async fn refused(member: &str, value: Value, message: String) {
    let service = bed().service();
    assert_eq!(with_layer(&service, &layer()).await.status, StatusCode::OK);
    let mut wrong = layer();
    wrong[member] = value;
    with_layer(&service, &wrong).await.assert_failure(400, &message);
}

#[tokio::test(start_paused = true)]
async fn container_config_layers_tar_digest() {
    let (layer, wrong) = (Layer::new(), format!("sha256:{}", "0".repeat(64)));
    let message = format!(
        "`containerConfig.layers[0]`: the tar of the layer has the digest {}, not {wrong}",
        layer.diff_id
    );
    refused("tarDigest", json!(wrong), message).await;
}

#[tokio::test(start_paused = true)]
async fn container_config_layers_gzip_digest() {
    let (layer, wrong) = (Layer::new(), format!("sha256:{}", "0".repeat(64)));
    let message =
        format!("`containerConfig.layers[0]`: the layer has the digest {}, not {wrong}", layer.digest);
    refused("gzipDigest", json!(wrong), message).await;
}

#[tokio::test(start_paused = true)]
async fn container_config_layers_gzip_size() {
    let size = Layer::new().blob.len();
    let message = format!("`containerConfig.layers[0]`: the layer has {size} bytes, not 7");
    refused("gzipSize", json!(7), message.clone()).await;
    refused("gzipSize", json!("7"), message).await;
}

#[tokio::test(start_paused = true)]
async fn container_file() {
    let bed = bed();
    let service = bed.service();
    let submitted = service.submit(&json!({ "containerFile": base64(FILE) })).await;
    let run = bed.engine.run().await;
    assert_eq!(run.request.context.container_file(), FILE);
    let built = image("built");
    run.push(&bed, &built);
    assert_eq!(service.pull(&submitted).await.body, *built.content());
    let message = "`containerFile` is no valid base64: the character at 12 doesn't belong there";
    service.post(&json!({ "containerFile": FILE })).await.assert_failure(400, message);
}

#[tokio::test(start_paused = true)]
async fn conda_file() {
    let bed = bed();
    bed.service().submit(&json!({ "condaFile": base64("dependencies: [a]\n") })).await;
    let run = bed.engine.run().await;
    assert_eq!(run.files(), [("conda.yml".to_owned(), "dependencies: [a]\n".to_owned())]);
    assert!(run.request.context.container_file().contains("micromamba install -y -n base -f /tmp/conda.yml"));
}

#[tokio::test(start_paused = true)]
async fn spack_file() {
    let bed = bed();
    bed.service().submit(&json!({ "spackFile": base64("spack: {}\n") })).await;
    let run = bed.engine.run().await;
    assert_eq!(run.files(), [("spack.yaml".to_owned(), "spack: {}\n".to_owned())]);
    assert!(run.request.context.container_file().contains("spack -D /opt/spack-env install"));
}

#[tokio::test(start_paused = true)]
async fn container_platform() {
    let bed = bed();
    let service = bed.service();
    service.submit(&json!({ "containerFile": base64(FILE), "containerPlatform": "linux/arm64" })).await;
    assert_eq!(bed.engine.run().await.platforms(), ["linux/arm64"]);
    let other = service.post(&json!({ "containerImage": IMAGE, "containerPlatform": "vax" })).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    let message = other.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("`containerPlatform`: ") && message.contains("vax"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn build_repository() {
    let bed = bed();
    let service = bed.service();
    service
        .submit(
            &json!({ "containerFile": base64(FILE), "buildRepository": "registry.example/user/my-image" }),
        )
        .await;
    assert!(bed.engine.run().await.target().starts_with("registry.example/user/my-image:"));
    service.submit(&json!({ "containerFile": base64(FILE) })).await;
    assert!(bed.engine.run().await.target().starts_with(&format!("{OWN}/builds:")), "the service's own");
    let tagged = json!({ "containerFile": base64(FILE), "buildRepository": "registry.example/a:1" });
    let message = "`buildRepository`: invalid repository `registry.example/a:1`: it has a tag";
    service.post(&tagged).await.assert_failure(400, message);
}

#[tokio::test(start_paused = true)]
async fn cache_repository() {
    let bed = bed();
    let cached =
        json!({ "containerFile": base64(FILE), "cacheRepository": "registry.example/user/my-cache" });
    bed.service().submit(&cached).await;
    let cache = bed.engine.run().await.request.cache.map(|cache| cache.to_string());
    assert_eq!(cache.as_deref(), Some("registry.example/user/my-cache"));
}

/// What a token says of the request it was given for.
async fn described(member: &str, value: &str) -> Value {
    let service = bed().service();
    let mut request = json!({ "containerImage": IMAGE });
    request[member] = json!(value);
    let token = service.submit(&request).await["containerToken"].as_str().unwrap().to_owned();
    service.get(&format!("/container-token/{token}")).await.json()["request"][member].clone()
}

#[tokio::test(start_paused = true)]
async fn timestamp() {
    assert_eq!(described("timestamp", "2026-01-01T01:00:00+01:00").await, "2026-01-01T01:00:00+01:00");
    let wrong = json!({ "containerImage": IMAGE, "timestamp": "yesterday" });
    let message = "`timestamp` is no ISO-8601 time with an offset: `yesterday`";
    bed().service().post(&wrong).await.assert_failure(400, message);
}

#[tokio::test(start_paused = true)]
async fn fingerprint() {
    assert_eq!(described("fingerprint", "any text").await, "any text");
}

#[tokio::test(start_paused = true)]
async fn freeze() {
    let bed = bed();
    let service = bed.service();
    let mut request = json!({ "containerImage": IMAGE, "freeze": true });
    let message = "`freeze` needs a `buildRepository` to put the image into";
    service.post(&request).await.assert_failure(400, message);
    request["buildRepository"] = json!("registry.example/kept");
    let frozen = service.submit(&request).await;
    let target = frozen["targetImage"].as_str().unwrap();
    assert!(target.starts_with("registry.example/kept:"), "{target}");
    assert_eq!((frozen.get("containerToken"), frozen.get("expiration")), (None, None));
    assert_eq!(bed.digest(target).await, Some(*image("app").digest()));
}

#[tokio::test(start_paused = true)]
async fn tower_endpoint() {
    let world = World::new().await;
    let service = world.service().await;
    let mut request = alices(json!({ "containerImage": IMAGE }));
    service.submit(&request).await;
    // Without one it is the usual one, which isn't trusted here; its old name means the same.
    let message = "`towerEndpoint`: `https://api.cloud.seqera.io`: this service doesn't take credentials from this platform";
    request.as_object_mut().unwrap().remove("towerEndpoint");
    service.post(&request).await.assert_failure(400, message);
    request["towerEndpoint"] = json!("https://evil.example");
    let message =
        "`towerEndpoint`: `https://evil.example`: this service doesn't take credentials from this platform";
    service.post(&request).await.assert_failure(400, message);
}

#[tokio::test(start_paused = true)]
async fn tower_access_token() {
    let world = World::new().await;
    let service = world.service().await;
    let mut request = alices(json!({ "containerImage": IMAGE }));
    service.submit(&request).await;
    assert_eq!(world.bed.seen()[0], "HEAD quay.io/team/app 1 as alices-robot");
    request["towerAccessToken"] = json!("wrong");
    let message = format!("the platform `{ENDPOINT}` doesn't accept the access token");
    service.post(&request).await.assert_failure(401, &message);
}

#[tokio::test(start_paused = true)]
async fn tower_refresh_token() {
    let world = World::new().await;
    let service = world.service().await;
    world.platform.expire("canary-access");
    let mut request = alices(json!({ "containerImage": IMAGE }));
    assert_eq!(service.post(&request).await.status, StatusCode::UNAUTHORIZED);
    world.platform.refresh_token(1, "canary-refresh");
    request["towerRefreshToken"] = json!("canary-refresh");
    service.submit(&request).await;
    assert_eq!(world.bed.seen()[0], "HEAD quay.io/team/app 1 as alices-robot");
}

#[tokio::test(start_paused = true)]
async fn tower_workspace_id() {
    let world = World::new().await;
    let service = world.service().await;
    world.platform.registry(Some(7), "team", Some("quay.io"), "teams-robot", "canary-team");
    let mut request = alices(json!({ "containerImage": IMAGE, "towerWorkspaceId": 7 }));
    service.submit(&request).await;
    assert_eq!(world.bed.seen()[0], "HEAD quay.io/team/app 1 as teams-robot");
    request["towerWorkspaceId"] = json!(8);
    assert_eq!(service.post(&request).await.status, StatusCode::BAD_REQUEST);
    request["towerWorkspaceId"] = json!("seven");
    let answer = service.post(&request).await;
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(answer.status == 400 && message.starts_with("`towerWorkspaceId`: "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn container_token() {
    let service = bed().service();
    let submitted = service.submit(&json!({ "containerImage": IMAGE })).await;
    let token = submitted["containerToken"].as_str().unwrap();
    assert_eq!(token.len(), 40);
    assert_eq!(service.get(&format!("/container-token/{token}")).await.json()["token"], token);
}

#[tokio::test(start_paused = true)]
async fn target_image() {
    let service = bed().service();
    let submitted = service.submit(&json!({ "containerImage": IMAGE })).await;
    let token = submitted["containerToken"].as_str().unwrap();
    assert_eq!(submitted["targetImage"], format!("{OWN}/wt/{token}/team/app:1"));
    assert_eq!(service.pull(&submitted).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn expiration() {
    let service = bed().service();
    let submitted = service.submit(&json!({ "containerImage": IMAGE })).await;
    assert_eq!(submitted["expiration"], "2026-01-02T12:00:00Z");
    tokio::time::sleep(std::time::Duration::from_secs(36 * 3600)).await;
    settle().await;
    let message = "the container token expired at 2026-01-02T12:00:00Z";
    service.pull(&submitted).await.assert_error(404, "NAME_UNKNOWN", message);
}

#[tokio::test(start_paused = true)]
async fn service_info() {
    let bed = Bed::with(|wave| wave.version("1.2.3", Some("c0ffee")), |building| building);
    let request = Request::get("/service-info").body(Body::empty()).unwrap();
    let info = bed.service().ask(request).await.json();
    assert_eq!(info, json!({ "serviceInfo": { "version": "1.2.3", "commitId": "c0ffee" } }));
}
