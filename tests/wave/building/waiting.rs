//! How long a pull waits for its image.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bed::{Answer, Bed, OWN, Service, base64};

async fn submit(service: &Service) -> Value {
    service.submit(&json!({ "containerFile": base64("FROM scratch\n") })).await
}

#[track_caller]
fn assert_waited(answer: &Answer, id: &Value) {
    let id = id.as_str().unwrap();
    let message = format!(
        "the image is still being built, by {id}: its log is at http://{OWN}/v1alpha1/builds/{id}/logs"
    );
    assert_eq!(answer.headers["retry-after"], "5");
    answer.assert_error(503, answer.json()["errors"][0]["code"].as_str().unwrap(), &message);
}

#[tokio::test(start_paused = true)]
async fn clients_of_containerd_are_asked_to_come_back() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = submit(&service).await;
    let run = bed.engine.run().await;
    for agent in ["containerd/1.7.22", "nerdctl containerd/v2.0.0+unknown"] {
        let before = Instant::now();
        let answer = service.pull_as(Method::GET, &submitted, agent).await;
        assert_eq!(before.elapsed().as_secs(), 25, "{agent}");
        assert_waited(&answer, &submitted["buildId"]);
    }
    let head = service.pull_as(Method::HEAD, &submitted, "containerd/1.7.22").await;
    assert_eq!(
        (head.status, &head.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    let warning = head.headers["warning"].to_str().unwrap();
    assert!(warning.contains(submitted["buildId"].as_str().unwrap()), "{warning}");
    // The build isn't hurt by it.
    let built = super::bed::image("built");
    run.push(&bed, &built);
    let answer = service.pull_as(Method::GET, &submitted, "containerd/1.7.22").await;
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, built.content()));
}

#[tokio::test(start_paused = true)]
async fn the_others_wait_for_a_quarter_of_an_hour() {
    // An engine that takes longer than anybody waits.
    let long = |building: tower_oci::wave::Building| {
        building.builds(|builds| builds.timeout(Duration::from_secs(3600)))
    };
    let bed = Bed::with(|wave| wave, long);
    let service = bed.service();
    let submitted = submit(&service).await;
    let _run = bed.engine.run().await;
    for agent in ["libpod/5.4", "docker/27.3 go/go1.22", ""] {
        let before = Instant::now();
        let answer = service.pull_as(Method::GET, &submitted, agent).await;
        assert_eq!(before.elapsed().as_secs(), 900, "{agent}");
        assert_waited(&answer, &submitted["buildId"]);
    }
}

#[tokio::test(start_paused = true)]
async fn both_limits_can_be_set() {
    for (wait, brief, of_containerd) in [(60, 7, 7), (3, 7, 3)] {
        let bed = Bed::with(
            |wave| wave,
            move |building| building.wait(Duration::from_secs(wait)).brief_wait(Duration::from_secs(brief)),
        );
        let service = bed.service();
        let submitted = submit(&service).await;
        let _run = bed.engine.run().await;
        for (agent, seconds) in [("libpod", wait), ("containerd/1.7", of_containerd)] {
            let before = Instant::now();
            assert_waited(&service.pull_as(Method::GET, &submitted, agent).await, &submitted["buildId"]);
            assert_eq!(before.elapsed().as_secs(), seconds, "{agent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_too_long_is_ended_and_that_is_told() {
    let bed =
        Bed::with(|wave| wave, |building| building.builds(|builds| builds.timeout(Duration::from_secs(60))));
    let service = bed.service();
    let submitted = submit(&service).await;
    let run = bed.engine.run().await;
    let message = format!(
        "the build of {} failed: it took longer than 60s (its log is at http://{OWN}/v1alpha1/builds/{}/logs)",
        run.target(),
        submitted["buildId"].as_str().unwrap()
    );
    service.pull(&submitted).await.assert_error(404, "MANIFEST_UNKNOWN", &message);
}
