//! One build for one recipe, and a failure that reaches everybody.

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::bed::{Bed, OWN, base64, image, start};

fn request() -> Value {
    json!({ "containerFile": base64("FROM scratch\n") })
}

#[tokio::test(start_paused = true)]
async fn sixteen_requests_at_once_are_one_build() {
    let bed = Bed::new();
    let service = bed.service();
    let request = request();
    let all = join_all((0..16).map(|_| service.submit(&request))).await;
    let mut tokens: Vec<_> = all.iter().map(|one| one["containerToken"].to_string()).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 16);
    for one in &all {
        assert_eq!((&one["buildId"], &one["cached"]), (&all[0]["buildId"], &json!(false)));
    }
    let pulls = all.iter().map(|one| {
        let (service, one) = (service.clone(), one.clone());
        start(async move { service.pull(&one).await })
    });
    let pulls: Vec<_> = pulls.collect();
    let built = image("built");
    bed.engine.run().await.push(&bed, &built);
    for pulled in join_all(pulls).await {
        assert_eq!((pulled.status, &pulled.body), (StatusCode::OK, built.content()));
    }
    assert_eq!(bed.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_reaches_each_of_sixteen() {
    let bed = Bed::new();
    let service = bed.service();
    let request = request();
    let all = join_all((0..16).map(|_| service.submit(&request))).await;
    let run = bed.engine.run().await;
    let target = run.target();
    run.log("compiling\nno rule to make target\n");
    run.fail("`make` ended with 2");
    let id = all[0]["buildId"].as_str().unwrap();
    let message = format!(
        "the build of {target} failed: `make` ended with 2 (its log is at http://{OWN}/v1alpha1/builds/{id}/logs)"
    );
    for one in &all {
        service.pull(one).await.assert_error(404, "MANIFEST_UNKNOWN", &message);
        let head = service.pull_as(Method::HEAD, one, "libpod").await;
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(head.headers["warning"], format!("299 - \"MANIFEST_UNKNOWN: {message}\""));
        assert!(head.body.is_empty());
        let status = service.status(one).await;
        assert_eq!(
            (&status["status"], &status["succeeded"], &status["reason"]),
            (&json!("COMPLETED"), &json!(false), &json!("`make` ended with 2"))
        );
    }
    let logs = service.get(&format!("/v1alpha1/builds/{id}/logs")).await;
    assert_eq!(logs.text(), "compiling\nno rule to make target\n\n[the build failed: `make` ended with 2]\n");
    assert_eq!(bed.engine.begun(), 1);

    // A failure is no obstacle: who asks again has it built again.
    let again = service.submit(&request).await;
    assert_ne!(again["buildId"], all[0]["buildId"]);
    let built = image("built");
    bed.engine.run().await.push(&bed, &built);
    assert_eq!(service.pull(&again).await.body, *built.content());
    service.pull(&all[0]).await.assert_error(404, "MANIFEST_UNKNOWN", &message);
}

#[tokio::test(start_paused = true)]
async fn what_the_repository_has_is_not_built() {
    let bed = Bed::new();
    let first = bed.service();
    let submitted = first.submit(&request()).await;
    let built = image("built");
    let run = bed.engine.run().await;
    let target = run.target();
    run.push(&bed, &built);
    first.pull(&submitted).await;

    // A service that knows nothing of the build, since its records are new.
    let other = Bed::new();
    other.push(&target, &built);
    let service = other.service();
    let cached = service.submit(&request()).await;
    let token = cached["containerToken"].as_str().unwrap();
    assert_eq!(
        cached,
        json!({
            "containerToken": token,
            "targetImage": format!("{OWN}/wt/{token}/{}", target.split_once('/').unwrap().1),
            "expiration": "2026-01-02T12:00:00Z",
            "containerImage": target,
            "buildId": cached["buildId"],
            "cached": true,
            "freeze": false,
            "succeeded": true,
        })
    );
    assert_ne!(cached["buildId"], submitted["buildId"]);
    assert_eq!(service.pull(&cached).await.body, *built.content());
    assert_eq!(other.engine.begun(), 0);
    let id = cached["buildId"].as_str().unwrap();
    let build = service.get(&format!("/v1alpha1/builds/{id}")).await.json();
    assert_eq!(
        build,
        json!({
            "buildId": id, "targetImage": target, "dockerFile": "FROM scratch\n", "platform": "linux/amd64",
            "startTime": build["startTime"], "cached": true, "succeeded": true, "digest": built.digest().to_string(),
        })
    );
}
