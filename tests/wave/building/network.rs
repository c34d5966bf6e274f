//! Registries that are reached over HTTP: what freezing asks of them, and whether credentials are good.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_oci::client::credentials::Fixed;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream, Upstreams};
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::{BoxRegistry, Credential, Registry as _};
use tower_oci::testing::image::{Built, File, Image};
use tower_oci::testing::{Account, BasicAuth, BearerAuth, Fault, Faulty, Hosts, Kind, When};

use super::bed::{Bed, Service};

const ONE: &str = "one.example";
const TWO: &str = "two.example";

/// A registry that knows one account for all and records what it is asked.
struct Home {
    memory: Memory,
    faulty: Faulty<OciService<Memory>>,
}

impl Home {
    fn new() -> Self {
        let memory = Memory::new();
        Self { faulty: Faulty::new(OciService::new(memory.clone())), memory }
    }

    /// How many requests start like this since the last time.
    fn count(&self, start: &str) -> usize {
        let lines = self.faulty.recorder().lines();
        lines.iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Both behind passwords: Basic and the bearer flow.
fn hosts(one: &Home, two: &Home) -> Hosts {
    let basic = BasicAuth::new(one.faulty.clone()).account(Account::new("first", "canary-one"));
    let account = Account::new("second", "canary-two")
        .may("kept", &["pull", "push"])
        .may("team/app", &["pull", "push"]);
    let bearer = BearerAuth::new(two.faulty.clone()).account(account);
    Hosts::new().on(ONE, basic).on(TWO, bearer)
}

fn stack(hosts: &Hosts) -> BoxRegistry {
    let credentials = Fixed::new()
        .registry(ONE.parse().unwrap(), Credential::basic("first", "canary-one"))
        .registry(TWO.parse().unwrap(), Credential::basic("second", "canary-two"));
    let at = |host: &str| {
        let http = HttpService::new(hosts.clone());
        Upstream::builder(host.parse().unwrap()).http(http).retry(RetryPolicy::never()).writes(true)
    };
    let upstreams = Upstreams::builder().upstream(at(ONE)).upstream(at(TWO));
    let upstreams = upstreams.upstream(at("absent.example"));
    ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().any_host(true)))
        .layer(RewriteLayer::by_extension())
        .service(upstreams.credentials(Arc::new(credentials)).build().unwrap())
        .boxed_registry()
}

fn image() -> Built {
    let layers = (0..10).map(|n| [File::new(format!("file{n}"), format!("content {n}"))]);
    layers.fold(Image::new(), |image, files| image.layer(files)).build().unwrap()
}

fn request(from: &str, to: &str) -> Value {
    json!({
        "containerImage": format!("{from}/team/app:1"), "buildRepository": format!("{to}/kept"), "freeze": true,
        "containerConfig": { "env": ["A=1"] },
    })
}

fn push(home: &Home) {
    image().push(&home.memory, &"team/app".parse().unwrap(), &"1".parse().unwrap()).unwrap();
}

async fn log(service: &Service, submitted: &Value) -> String {
    let id = submitted["buildId"].as_str().unwrap();
    service.get(&format!("/v1alpha1/builds/{id}/logs?follow=true")).await.text()
}

#[tokio::test(start_paused = true)]
async fn within_one_registry_no_layer_is_uploaded() {
    let (one, two) = (Home::new(), Home::new());
    push(&one);
    let service = Bed::new().freezer_over(stack(&hosts(&one, &two)));
    let submitted = service.submit(&request(ONE, ONE)).await;
    assert_eq!(submitted["succeeded"], true, "{submitted}");
    assert_eq!(
        one.count("POST /v2/kept/blobs/uploads/?mount=sha256:"),
        11,
        "the layers, and the config in vain"
    );
    let lines = one.faulty.recorder().lines();
    let uploads =
        lines.iter().filter(|line| line.starts_with("PUT /v2/kept/blobs/") || line.starts_with("PATCH "));
    assert!(uploads.count() <= 1, "the config alone: {lines:?}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("GET /v2/team/app/blobs/")).count(),
        1,
        "{lines:?}"
    );
    let log = log(&service, &submitted).await;
    assert!(log.contains(": 1 blobs sent ("), "{log}");
    assert!(log.contains(" bytes), 10 mounted, 0 were there, 1 manifests written\n"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn across_two_registries_what_broke_off_is_not_sent_again() {
    let (one, two) = (Home::new(), Home::new());
    push(&one);
    let service = Bed::new().freezer_over(stack(&hosts(&one, &two)));
    // After four blobs nothing is taken any more.
    two.faulty.inject(When::kind(Kind::Upload).skip(8), Fault::Status(StatusCode::INSUFFICIENT_STORAGE));
    let failed = service.post(&request(ONE, TWO)).await;
    assert_ne!(failed.status, StatusCode::OK, "{}", failed.text());
    let there = two.memory.usage().blobs;
    assert!(there > 0 && there < 11, "{there}");
    two.faulty.heal();
    let submitted = service.submit(&request(ONE, TWO)).await;
    assert_eq!((&submitted["succeeded"], &submitted["cached"]), (&json!(true), &json!(false)));
    let log = log(&service, &submitted).await;
    let told = format!(": {} blobs sent (", 11 - there);
    assert!(log.contains(&told), "{told} {log}");
    assert!(log.contains(&format!(" bytes), 0 mounted, {there} were there, 1 manifests written\n")), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_may_not_be_written_is_named_with_the_reason() {
    let (one, two) = (Home::new(), Home::new());
    push(&one);
    let service = Bed::new().freezer_over(stack(&hosts(&one, &two)));
    let mut denied = request(ONE, TWO);
    denied["buildRepository"] = json!(format!("{TWO}/secret"));
    let answer = service.post(&denied).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("`buildRepository`: "), "{message}");
    assert!(message.contains("two.example/secret") && !message.contains("canary"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn credentials_are_tried_out() {
    let (one, two) = (Home::new(), Home::new());
    let service = Bed::new().freezer_over(stack(&hosts(&one, &two)));
    let ask = |user: &str, password: &str, registry: &str| json!({ "userName": user, "password": password, "registry": registry });
    for (request, good) in [
        (ask("first", "canary-one", ONE), true),
        (ask("first", "wrong", ONE), false),
        (ask("second", "canary-one", ONE), false),
        (ask("second", "canary-two", TWO), true),
        (ask("second", "wrong", TWO), false),
        (ask("first", "canary-one", &format!("https://{ONE}/v2/")), true),
    ] {
        for path in ["/validate-creds", "/v1alpha1/validate-creds", "/v1alpha2/validate-creds"] {
            let answer = service.post_to(path, &request).await;
            assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!(good)), "{path} {request}");
        }
    }
    let answer = service.post_to("/validate-creds", &ask("a", "canary", "absent.example")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("`registry`: `absent.example` can't be asked"), "{message}");
    for (body, message) in [
        (json!({ "userName": "a" }), "`password` is missing"),
        (json!({ "password": "canary" }), "`userName` is missing"),
        (
            json!({ "userName": "a", "password": ["canary"] }),
            "the request is no object of texts: `userName`, `password`, `registry`",
        ),
        (
            json!({ "userName": "a", "password": "canary", "registry": "a b" }),
            "`registry` is no registry: `a b`",
        ),
    ] {
        service.post_to("/validate-creds", &body).await.assert_failure(400, message);
    }
    let broken = http::Request::post("/validate-creds");
    let broken = service.ask(broken.body("{\"password\":\"canary\"".into()).unwrap()).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(!broken.text().contains("canary"), "{}", broken.text());
}
