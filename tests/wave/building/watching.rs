//! What is told of builds and of requests.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower_oci::body::Body;
use tower_oci::wave::Action;

use super::bed::{Bed, OWN, base64, image, settle};

const UNKNOWN: &str = "bd-000102030405060708090a0b0c0d0e0f";

#[tokio::test(start_paused = true)]
async fn a_build_is_told_of_from_its_beginning_to_its_end() {
    // One at a time, so that there is one that waits.
    let bed = Bed::with(|wave| wave, |building| building.builds(|builds| builds.max_running(1)));
    let service = bed.service();
    service.submit(&json!({ "containerFile": base64("FROM first\n") })).await;
    let first = bed.engine.run().await;
    let submitted = service.submit(&json!({ "containerFile": base64("FROM scratch\n") })).await;
    let id = submitted["buildId"].as_str().unwrap();
    let path = format!("/v1alpha1/builds/{id}");
    assert_eq!(
        service.status(&submitted).await,
        json!({ "id": id, "status": "PENDING", "startTime": "2026-01-01T00:00:00Z" })
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.push(&bed, &image("first"));
    let run = bed.engine.run().await;
    assert_eq!(
        service.status(&submitted).await,
        json!({ "id": id, "status": "PENDING", "startTime": "2026-01-01T00:00:10Z" })
    );
    let target = run.target();
    assert_eq!(
        service.get(&path).await.json(),
        json!({
            "buildId": id, "targetImage": target, "dockerFile": "FROM scratch\n", "platform": "linux/amd64",
            "startTime": "2026-01-01T00:00:10Z", "cached": false,
        })
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let built = image("built");
    let digest = run.push(&bed, &built);
    settle().await;
    let status = service.status(&submitted).await;
    assert_eq!(
        status,
        json!({
            "id": id, "status": "COMPLETED", "startTime": "2026-01-01T00:00:10Z", "duration": 1.5, "succeeded": true,
        })
    );
    let answer = service.get(&path).await;
    assert_eq!(
        answer.json(),
        json!({
            "buildId": id, "targetImage": target, "dockerFile": "FROM scratch\n", "platform": "linux/amd64",
            "startTime": "2026-01-01T00:00:10Z", "duration": 1.5, "cached": false, "succeeded": true,
            "digest": digest.to_string(),
        })
    );
    assert_eq!(
        (&answer.headers["content-type"], &answer.headers["cache-control"]),
        (&"application/json".parse().unwrap(), &"no-store".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_is_read_as_far_as_it_is_or_followed() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = service.submit(&json!({ "containerFile": base64("FROM scratch\n") })).await;
    let run = bed.engine.run().await;
    let path = format!("/v1alpha1/builds/{}/logs", submitted["buildId"].as_str().unwrap());
    assert_eq!(service.get(&path).await.text(), "");
    run.log("one\n");
    settle().await;
    let answer = service.get(&path).await;
    assert_eq!(
        (answer.text().as_str(), &answer.headers["content-type"]),
        ("one\n", &"text/plain; charset=utf-8".parse().unwrap())
    );

    let follow = Request::get(format!("{path}?follow=true")).body(Body::empty()).unwrap();
    let mut followed = service.send(follow).await.into_body();
    let frame = followed.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&frame[..], b"one\n");
    run.log("two\n");
    let frame = followed.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&frame[..], b"two\n", "while it goes on");
    run.push(&bed, &image("built"));
    assert!(followed.frame().await.is_none());
    for query in ["", "?follow=true", "?follow=1", "?follow", "?a=b&follow=true", "?follow=false"] {
        assert_eq!(service.get(&format!("{path}{query}")).await.text(), "one\ntwo\n", "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_cut_out_of_the_log() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = service.submit(&json!({ "condaFile": base64("dependencies: [a]\n") })).await;
    let run = bed.engine.run().await;
    let path = format!("/v1alpha1/builds/{}/condalock", submitted["buildId"].as_str().unwrap());
    service.get(&path).await.assert_failure(404, "the build has printed no lock");
    run.log("#8 0.1 >> CONDA_LOCK_START\n#8 0.2 @EXPLICIT\n#8 0.2 https://conda.test/a.conda#1\n");
    settle().await;
    service.get(&path).await.assert_failure(404, "the build has printed no lock");
    run.log("#8 0.3 << CONDA_LOCK_END\n");
    run.push(&bed, &image("built"));
    settle().await;
    let answer = service.get(&path).await;
    assert_eq!(answer.text(), "@EXPLICIT\nhttps://conda.test/a.conda#1\n");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test(start_paused = true)]
async fn unknown_builds_and_wrong_methods_are_said_to_be_so() {
    let bed = Bed::new();
    let service = bed.service();
    for id in [UNKNOWN, "bd-1", "", "%62d", &UNKNOWN.to_uppercase()] {
        for view in ["", "/status", "/logs", "/logs?follow=true", "/condalock"] {
            service.get(&format!("/v1alpha1/builds/{id}{view}")).await.assert_failure(404, "unknown build");
        }
    }
    for id in ["cr-1", "", "cr-000102030405060708090a0b0c0d0e0f", "a/b"] {
        for view in ["", "/status"] {
            let answer = service.get(&format!("/v1alpha2/container/{id}{view}")).await;
            answer.assert_failure(404, "unknown container request");
        }
    }
    let (reads, posts) = ("GET, HEAD", "POST");
    for (path, wrong, allowed) in [
        (format!("/v1alpha1/builds/{UNKNOWN}"), Method::DELETE, reads),
        (format!("/v1alpha1/builds/{UNKNOWN}/logs"), Method::POST, reads),
        ("/v1alpha2/container/cr-1".to_owned(), Method::PUT, reads),
        ("/v1alpha2/container/cr-1/status".to_owned(), Method::POST, reads),
        ("/v1alpha2/container".to_owned(), Method::GET, posts),
        ("/container-token".to_owned(), Method::PUT, posts),
        ("/validate-creds".to_owned(), Method::GET, posts),
        ("/v1alpha2/validate-creds".to_owned(), Method::HEAD, posts),
        ("/service-info".to_owned(), Method::POST, reads),
    ] {
        let answer = service.method(wrong.clone(), &path).await;
        println!("{wrong} {path}");
        answer.assert_failure(405, &format!("this method is not allowed here: {allowed} is"));
        assert_eq!(answer.headers["allow"], allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_watch_is_the_embedders_to_say() {
    let bed = Bed::with(
        |wave| {
            wave.authorize(|parts, action| action != Action::Watch || parts.headers.contains_key("x-admin"))
        },
        |building| building,
    );
    let service = bed.service();
    let answer = service
        .post_to("/v1alpha2/container", &json!({ "containerFile": base64("FROM scratch\n") }))
        .await
        .json();
    let (build, request) = (answer["buildId"].as_str().unwrap(), answer["requestId"].as_str().unwrap());
    for path in [
        format!("/v1alpha1/builds/{build}"),
        format!("/v1alpha1/builds/{build}/status"),
        format!("/v1alpha1/builds/{build}/logs"),
        format!("/v1alpha1/builds/{build}/condalock"),
        format!("/v1alpha1/builds/{UNKNOWN}"),
        format!("/v1alpha2/container/{request}"),
        format!("/v1alpha2/container/{request}/status"),
    ] {
        service.get(&path).await.assert_failure(403, "this service doesn't let you see builds and requests");
        let with = Request::get(&path).header("x-admin", "1").body(Body::empty()).unwrap();
        assert_ne!(service.ask(with).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_name_and_a_status() {
    let bed = Bed::with(|wave| wave, |building| building.builds(|builds| builds.max_running(1)));
    let service = bed.service();
    service.submit(&json!({ "containerFile": base64("FROM first\n") })).await;
    let first = bed.engine.run().await;
    let body = json!({ "packages": { "type": "CONDA", "entries": ["samtools"], "channels": ["bioconda"] } });
    let submitted = service.post_to("/v1alpha2/container", &body).await.json();
    let id = submitted["requestId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("cr-") && id.len() == 35, "{id}");
    let build = submitted["buildId"].clone();
    let path = format!("/v1alpha2/container/{id}");
    assert_eq!(
        service.get(&path).await.json(),
        json!({
            "requestId": id, "containerImage": submitted["containerImage"], "buildId": build, "cached": false,
            "freeze": false, "creationTime": "2026-01-01T00:00:00Z",
        })
    );
    let status = |word: &str| {
        json!({
            "id": id, "status": word, "buildId": build, "creationTime": "2026-01-01T00:00:00Z",
            "detailsUri": format!("http://{OWN}/v1alpha1/builds/{}", build.as_str().unwrap()),
        })
    };
    let ask = || async { service.get(&format!("{path}/status")).await.json() };
    assert_eq!(ask().await, status("PENDING"));
    first.push(&bed, &image("first"));
    let run = bed.engine.run().await;
    assert_eq!(ask().await, status("BUILDING"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    run.fail("no such package: samtools");
    settle().await;
    let mut failed = status("DONE");
    failed["duration"] = json!(2.0);
    failed["succeeded"] = json!(false);
    failed["reason"] = json!("no such package: samtools");
    let mut told = ask().await;
    assert!((told["duration"].as_f64().unwrap() - 2.0).abs() < 0.01, "{told}");
    told["duration"] = json!(2.0);
    assert_eq!(told, failed);

    // An image that is there is done at once.
    bed.push("quay.io/app:1", &image("app"));
    let submitted =
        service.post_to("/v1alpha2/container", &json!({ "containerImage": "quay.io/app:1" })).await.json();
    let id = submitted["requestId"].as_str().unwrap();
    let done = service.get(&format!("/v1alpha2/container/{id}/status")).await.json();
    let now = done["creationTime"].clone();
    assert_eq!(done, json!({ "id": id, "status": "DONE", "creationTime": now, "succeeded": true }));
    // It is known as long as its token lives.
    tokio::time::sleep(Duration::from_secs(36 * 3600)).await;
    service.get(&format!("/v1alpha2/container/{id}")).await.assert_failure(404, "unknown container request");
}
