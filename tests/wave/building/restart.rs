//! What is known after a restart with the same records.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tower_oci::store::IndexRecords;
use tower_oci::store::index::MemoryIndex;

use super::bed::{Bed, OWN, base64, image, paused_clock, settle};

fn bed() -> Bed {
    let clock = paused_clock();
    let records = IndexRecords::new(MemoryIndex::new()).clock(clock.clone());
    Bed::on(Arc::new(records), clock, |wave| wave, |building| building)
}

fn recipe(text: &str) -> Value {
    json!({ "containerFile": base64(&format!("FROM {text}\n")) })
}

#[tokio::test(start_paused = true)]
async fn tokens_and_builds_outlive_a_process() {
    let bed = bed();
    let before = bed.service();
    bed.push("quay.io/app:1", &image("app"));
    let config = json!({ "env": ["A=1"] });
    let plain = before.submit(&json!({ "containerImage": "quay.io/app:1", "containerConfig": config })).await;
    let good = before.submit(&recipe("good")).await;
    let built = image("built");
    bed.engine.run().await.push(&bed, &built);
    let bad = before.submit(&recipe("bad")).await;
    let run = bed.engine.run().await;
    let target = run.target();
    run.fail("no space");
    settle().await;
    let told = [before.status(&good).await, before.status(&bad).await];
    before.kill().await;

    let after = bed.service();
    assert_eq!([after.status(&good).await, after.status(&bad).await], told);
    assert_eq!(
        after.pull(&plain).await.headers["docker-content-digest"],
        plain["targetDigest"].as_str().unwrap()
    );
    assert_eq!(after.pull(&good).await.body, *built.content());
    let id = bad["buildId"].as_str().unwrap();
    let message = format!(
        "the build of {target} failed: no space (its log is at http://{OWN}/v1alpha1/builds/{id}/logs)"
    );
    after.pull(&bad).await.assert_error(404, "MANIFEST_UNKNOWN", &message);
    assert_eq!(after.submit(&recipe("good")).await["cached"], true);
    assert_eq!(bed.engine.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_interrupted_begins_again_when_its_image_is_pulled() {
    let bed = bed();
    let before = bed.service();
    let submitted = before.submit(&recipe("scratch")).await;
    let run = bed.engine.run().await;
    run.log("half\n");
    settle().await;
    before.kill().await;
    drop(run);

    let after = bed.service();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bed.engine.begun(), 1, "nobody has asked for it");
    let pull = super::bed::start({
        let (after, submitted) = (after.clone(), submitted.clone());
        async move { after.pull(&submitted).await }
    });
    let run = bed.engine.run().await;
    assert_eq!(run.request.context.container_file(), "FROM scratch\n");
    assert_eq!(after.status(&submitted).await["status"], "PENDING");
    let built = image("built");
    run.push(&bed, &built);
    assert_eq!(pull.await.body, *built.content());
    let id = submitted["buildId"].as_str().unwrap();
    let log = after.get(&format!("/v1alpha1/builds/{id}/logs")).await.text();
    assert_eq!(log, "half\n\n[the service stopped; the build begins again]\n");
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_was_interrupted_begins_again() {
    let bed = bed();
    let before = bed.service();
    let submitted = before
        .submit(&json!({
            "containerFile": base64("FROM scratch\n"), "buildRepository": "registry.example/kept", "freeze": true,
            "containerConfig": { "env": ["A=1"] },
        }))
        .await;
    let run = bed.engine.run().await;
    before.kill().await;
    drop(run);

    let after = bed.service();
    assert_eq!(after.status(&submitted).await["status"], "PENDING");
    bed.engine.run().await.push(&bed, &image("built"));
    settle().await;
    assert_eq!(after.status(&submitted).await["succeeded"], true);
    assert!(bed.digest(submitted["targetImage"].as_str().unwrap()).await.is_some());
}
