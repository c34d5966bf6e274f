//! Freezing: what is written, where, and what is told of it.

use serde_json::{Value, json};
use tower_oci::operation::{GetBlob, GetManifest, Registry as _, Request};

use super::bed::{Bed, OWN, base64, image};
use crate::support::Layer;

const FILE: &str = "FROM scratch\nRUN make\n";

fn config() -> Value {
    let layer: Value = serde_json::from_str(&Layer::new().json()).unwrap();
    json!({ "env": ["A=1"], "entrypoint": ["/opt/start"], "layers": [layer] })
}

/// The config of an image in a repository of a registry.
async fn config_at(bed: &Bed, name: &str) -> Value {
    let name: tower_oci::spec::name::ImageName = name.parse().unwrap();
    let registry = bed.registry(name.registry().as_str());
    let get = GetManifest::new(name.repository().clone(), name.reference());
    let manifest = registry.send(Request::new(get)).await.unwrap().into_reply().full().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.content.unwrap()).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let get = GetBlob::new(name.repository().clone(), digest);
    let blob = registry.send(Request::new(get)).await.unwrap().into_reply().into_whole().unwrap();
    serde_json::from_slice(&blob.read(1 << 20).await.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_recipe_without_a_configuration_is_built_where_it_stays() {
    let bed = Bed::new();
    let service = bed.service();
    let request =
        json!({ "containerFile": base64(FILE), "buildRepository": "registry.example/kept", "freeze": true });
    let submitted = service.submit(&request).await;
    let run = bed.engine.run().await;
    let target = run.target();
    assert_eq!(
        submitted,
        json!({
            "targetImage": target, "containerImage": target, "buildId": submitted["buildId"], "cached": false,
            "freeze": true,
        })
    );
    assert!(target.starts_with("registry.example/kept:"));
    let built = image("built");
    run.push(&bed, &built);
    super::bed::settle().await;
    assert_eq!(
        service.submit(&request).await,
        json!({
            "targetImage": target, "containerImage": target, "targetDigest": built.digest().to_string(),
            "buildId": submitted["buildId"], "cached": true, "freeze": true, "succeeded": true,
        })
    );
    assert_eq!(bed.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recipes_configuration_is_inside_of_what_is_frozen() {
    let bed = Bed::new();
    let service = bed.service();
    let plain = json!({ "containerFile": base64(FILE), "buildRepository": "registry.example/kept" });
    let plain = service.submit(&plain).await["containerImage"].clone();
    drop(bed.engine.run().await);
    let request = json!({
        "containerFile": base64(FILE), "buildRepository": "registry.example/kept", "freeze": true,
        "containerConfig": config(),
    });
    let submitted = service.submit(&request).await;
    let run = bed.engine.run().await;
    let base = run.target();
    assert_eq!(base, plain, "the engine makes what it makes without a configuration");
    assert_eq!((run.request.context.container_file(), run.files()), (FILE, vec![]));
    let target = submitted["targetImage"].as_str().unwrap().to_owned();
    assert_ne!(target, base);
    run.log("making\n");
    let built = image("built");
    run.push(&bed, &built);
    let id = submitted["buildId"].as_str().unwrap();
    let log = service.get(&format!("/v1alpha1/builds/{id}/logs?follow=true")).await.text();
    let status = service.status(&submitted).await;
    assert_eq!(
        (&status["status"], &status["succeeded"]),
        (&json!("COMPLETED"), &json!(true)),
        "{status} {log}"
    );
    let digest = bed.digest(&target).await.unwrap();
    assert!(log.starts_with("making\n"), "{log}");
    assert!(
        log.contains(&format!("freezing registry.example/kept@{} as {target}\n", built.digest())),
        "{log}"
    );
    assert!(log.contains(&format!("\n{target} is {digest}: ")), "{log}");

    let config = config_at(&bed, &target).await;
    assert_eq!(
        config["config"],
        json!({ "Env": ["PATH=/bin", "A=1", "WAVE_ENTRY_CHAIN=/entry"], "Entrypoint": ["/opt/start"] })
    );
    assert_eq!(config["rootfs"]["diff_ids"][1], Layer::new().diff_id.to_string());
    let build = service.get(&format!("/v1alpha1/builds/{id}")).await.json();
    assert_eq!((&build["targetImage"], &build["dockerFile"]), (&json!(target), &json!(FILE)));
    assert_eq!(build["digest"], digest.to_string());

    // It is there now; and what the engine made of it serves another configuration.
    let again = service.submit(&request).await;
    assert_eq!((&again["cached"], &again["targetDigest"]), (&json!(true), &json!(digest.to_string())));
    let mut other = request.clone();
    other["containerConfig"]["env"] = json!(["A=2"]);
    let other = service.submit(&other).await;
    let id = other["buildId"].as_str().unwrap();
    let log = service.get(&format!("/v1alpha1/builds/{id}/logs?follow=true")).await.text();
    assert!(log.starts_with(&format!("{base} was there\n")), "{log}");
    assert!(bed.digest(other["targetImage"].as_str().unwrap()).await.is_some());
    assert_eq!(bed.engine.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_frozen_without_an_engine() {
    let bed = Bed::new();
    let service = bed.freezer();
    let source = image("source");
    bed.push("quay.io/team/app:1", &source);
    let request = json!({
        "containerImage": "quay.io/team/app:1", "buildRepository": "registry.example/kept", "freeze": true,
        "containerConfig": config(),
    });
    let submitted = service.submit(&request).await;
    let target = submitted["targetImage"].as_str().unwrap().to_owned();
    let digest = bed.digest(&target).await.unwrap();
    assert_eq!(
        submitted,
        json!({
            "targetImage": target, "containerImage": "quay.io/team/app:1", "targetDigest": digest.to_string(),
            "buildId": submitted["buildId"], "cached": false, "freeze": true, "succeeded": true,
        })
    );
    assert!(target.starts_with("registry.example/kept:"));
    let config = config_at(&bed, &target).await;
    assert_eq!(config["config"]["Env"], json!(["PATH=/bin", "A=1", "WAVE_ENTRY_CHAIN=/entry"]));

    // The same under a token is the same.
    let mut pulled = request.clone();
    pulled["freeze"] = json!(false);
    assert_eq!(service.submit(&pulled).await["targetDigest"], digest.to_string());

    let again = service.submit(&request).await;
    assert_eq!(
        (&again["targetImage"], &again["cached"], &again["buildId"]),
        (&json!(target), &json!(true), &submitted["buildId"])
    );
    // The tag moves on: what is frozen then is another image.
    bed.push("quay.io/team/app:1", &image("newer"));
    let newer = service.submit(&request).await;
    assert_ne!(newer["targetImage"], json!(target));
    assert_eq!(newer["cached"], false);
    assert_eq!(bed.digest(&target).await, Some(digest));
}

#[tokio::test(start_paused = true)]
async fn a_plain_image_is_copied_to_the_byte() {
    let bed = Bed::new();
    let service = bed.freezer();
    let source = image("source");
    bed.push("quay.io/team/app:1", &source);
    // An image for one platform without a configuration: nothing is changed about it.
    let submitted = service
        .submit(&json!({
            "containerImage": "quay.io/team/app:1", "buildRepository": format!("{OWN}/kept"), "freeze": true,
        }))
        .await;
    assert_eq!(submitted["succeeded"], true);
    let target = submitted["targetImage"].as_str().unwrap();
    assert_eq!(submitted["targetDigest"], source.digest().to_string());
    assert_eq!(bed.digest(target).await, Some(*source.digest()));
    let config = config_at(&bed, target).await;
    assert_eq!(config["config"]["Env"], json!(["PATH=/bin"]));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_freezes_nothing() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = service
        .submit(&json!({
            "containerFile": base64(FILE), "buildRepository": "registry.example/kept", "freeze": true,
            "containerConfig": config(),
        }))
        .await;
    bed.engine.run().await.fail("`make` ended with 2");
    super::bed::settle().await;
    let status = service.status(&submitted).await;
    assert_eq!((&status["succeeded"], &status["reason"]), (&json!(false), &json!("`make` ended with 2")));
    assert_eq!(bed.digest(submitted["targetImage"].as_str().unwrap()).await, None);
}
