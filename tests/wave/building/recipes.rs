//! What the engine gets of a recipe, and what comes of its image.

use serde_json::{Value, json};

use super::bed::{Bed, OWN, base64, image, start};
use crate::support::Layer;

const FILE: &str = "FROM quay.io/base:1\nRUN make\n";

/// The tag of a target, which is all that isn't known beforehand.
fn tag(target: &str) -> &str {
    let tag = target.strip_prefix(&format!("{OWN}/builds:")).expect("the service's own repository");
    assert!(tag.len() == 32 && tag.bytes().all(|b| b.is_ascii_hexdigit()), "{tag}");
    tag
}

#[tokio::test(start_paused = true)]
async fn a_container_file_is_built_and_pulled() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = service.submit(&json!({ "containerFile": base64(FILE) })).await;
    let run = bed.engine.run().await;
    assert_eq!(run.request.context.container_file(), FILE);
    assert_eq!(run.files(), []);
    assert_eq!(run.platforms(), ["linux/amd64"]);
    assert_eq!(run.request.cache, None);
    let target = run.target();
    let tag = tag(&target);
    let token = submitted["containerToken"].as_str().unwrap();
    assert_eq!(
        submitted,
        json!({
            "containerToken": token,
            "targetImage": format!("{OWN}/wt/{token}/builds:{tag}"),
            "expiration": "2026-01-02T12:00:00Z",
            "containerImage": target,
            "buildId": submitted["buildId"],
            "cached": false,
            "freeze": false,
        })
    );

    // The pull waits.
    let pull = start({
        let (service, submitted) = (service.clone(), submitted.clone());
        async move { service.pull(&submitted).await }
    });
    tokio::time::sleep(std::time::Duration::from_secs(14 * 60)).await;
    let built = image("built");
    run.push(&bed, &built);
    let pulled = pull.await;
    assert_eq!((pulled.status.as_u16(), &pulled.body), (200, built.content()), "its own bytes");

    // The second time there is nothing to build.
    let again = service.submit(&json!({ "containerFile": base64(FILE) })).await;
    assert_eq!(
        (&again["cached"], &again["succeeded"], &again["buildId"]),
        (&json!(true), &json!(true), &submitted["buildId"])
    );
    assert_eq!(service.pull(&again).await.body, *built.content());
    assert_eq!(bed.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_recipe_has_its_context() {
    let bed = Bed::new();
    let service = bed.service();
    let (conda, spack) = ("dependencies: [samtools]\n", "spack: {specs: [zlib]}\n");
    let file = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    let packages = "{\n  \"channels\": [\n    \"conda-forge\"\n  ],\n  \"dependencies\": [\n    \"samtools=1.20\",\n    \"pigz\"\n  ]\n}\n";
    for (request, starts, ends, files) in [
        (
            json!({ "containerFile": base64(FILE), "condaFile": base64(conda) }),
            FILE,
            FILE,
            file("conda.yml", conda),
        ),
        (
            json!({ "condaFile": base64(conda) }),
            "FROM docker.io/mambaorg/micromamba:",
            "ENV PATH=\"/opt/conda/bin:$PATH\"\n",
            file("conda.yml", conda),
        ),
        (
            json!({ "spackFile": base64(spack) }),
            "FROM docker.io/spack/",
            "ENV PATH=\"/opt/view/bin:$PATH\"\n",
            file("spack.yaml", spack),
        ),
        (
            json!({ "containerFile": base64(FILE), "spackFile": base64(spack) }),
            "FROM docker.io/spack/",
            FILE,
            file("spack.yaml", spack),
        ),
        (
            json!({ "packages": {
                "type": "CONDA", "entries": ["samtools=1.20", "pigz"], "channels": ["conda-forge"],
                "condaOpts": { "mambaImage": "quay.io/mamba:2", "commands": ["USER 1000"] },
            } }),
            "FROM quay.io/mamba:2 AS build\n",
            "ENV PATH=\"/opt/conda/bin:$PATH\"\nUSER 1000\n",
            file("conda.yml", packages),
        ),
        (
            json!({ "packages": {
                "type": "CONDA", "environment": base64(conda), "channels": ["conda-forge", "bioconda"],
            } }),
            "FROM docker.io/mambaorg/micromamba:",
            "ENV PATH=\"/opt/conda/bin:$PATH\"\n",
            file("conda.yml", "dependencies: [samtools]\nchannels: [\"conda-forge\",\"bioconda\"]\n"),
        ),
    ] {
        let submitted = service.submit(&request).await;
        assert_eq!(submitted["cached"], false);
        let run = bed.engine.run().await;
        let container_file = run.request.context.container_file().to_owned();
        assert!(container_file.starts_with(starts), "{request}: {container_file}");
        assert!(container_file.ends_with(ends), "{request}: {container_file}");
        assert_eq!(run.files(), files, "{request}");
        assert_eq!(run.platforms(), ["linux/amd64"]);
        tag(&run.target());

        // The build tells what it is made of.
        let id = submitted["buildId"].as_str().unwrap();
        let build = service.get(&format!("/v1alpha1/builds/{id}")).await.json();
        let (name, text) = &files[0];
        let member = if name == "conda.yml" { "condaFile" } else { "spackFile" };
        assert_eq!((&build["dockerFile"], &build[member]), (&json!(container_file), &json!(text)));
        run.push(&bed, &image("any"));
    }
}

#[tokio::test(start_paused = true)]
async fn repositories_and_platforms_are_those_that_are_named() {
    let bed = Bed::new();
    let service = bed.service();
    let submitted = service
        .submit(&json!({
            "containerFile": base64(FILE), "containerPlatform": "linux/amd64,linux/arm64",
            "buildRepository": "registry.example/team/builds", "cacheRepository": "registry.example/team/cache",
        }))
        .await;
    let run = bed.engine.run().await;
    assert_eq!(run.platforms(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(
        run.request.cache.as_ref().map(ToString::to_string).as_deref(),
        Some("registry.example/team/cache")
    );
    let target = run.target();
    assert!(target.starts_with("registry.example/team/builds:"), "{target}");
    assert_eq!(submitted["containerImage"], target);
    let built = image("built");
    run.push(&bed, &built);
    assert_eq!(service.pull(&submitted).await.body, *built.content());
    assert_eq!(bed.digest(&target).await, Some(*built.digest()));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_put_on_top_of_what_is_built() {
    let bed = Bed::new();
    let service = bed.service();
    let layer: Value = serde_json::from_str(&Layer::new().json()).unwrap();
    let config =
        json!({ "env": ["A=1"], "entrypoint": ["/opt/start"], "workingDir": "/w", "layers": [layer] });
    let submitted =
        service.submit(&json!({ "containerFile": base64(FILE), "containerConfig": config })).await;
    let run = bed.engine.run().await;
    assert_eq!(run.files(), [], "the engine knows nothing of it");
    let plain = service.submit(&json!({ "containerFile": base64(FILE) })).await;
    assert_eq!(plain["buildId"], submitted["buildId"], "and so it is one build with and without");
    let built = image("built");
    run.push(&bed, &built);

    let config = service.config(&submitted).await;
    assert_eq!(
        config["config"],
        json!({
            "Env": ["PATH=/bin", "A=1", "WAVE_ENTRY_CHAIN=/entry"], "Entrypoint": ["/opt/start"], "WorkingDir": "/w"
        })
    );
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!(config["rootfs"]["diff_ids"][1], Layer::new().diff_id.to_string());
    let manifest = service.pull(&submitted).await.json();
    let (directory, _) = super::bed::path(&submitted)
        .split_once("/manifests/")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(manifest["layers"][1]["digest"], Layer::new().digest.to_string());
    let blob = service.get(&format!("{directory}/blobs/{}", Layer::new().digest)).await;
    assert_eq!(blob.body, Layer::new().blob);
    assert_eq!(service.pull(&plain).await.body, *built.content());
    assert_eq!(bed.engine.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn equal_requests_have_one_tag_and_others_another() {
    let bed = Bed::new();
    let service = bed.service();
    let mut targets = Vec::new();
    let base = json!({ "containerFile": base64(FILE) });
    let with = |members: Value| {
        let mut request = base.clone();
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        request
    };
    let (repository, env) = ("registry.example/a", json!({ "env": ["A=1"] }));
    for request in [
        base.clone(),
        with(json!({ "containerPlatform": "arm64" })),
        with(json!({ "containerFile": base64("FROM quay.io/base:2\n") })),
        with(json!({ "condaFile": base64("dependencies: [a]\n") })),
        with(json!({ "spackFile": base64("spack: {}\n") })),
        with(json!({ "buildRepository": repository })),
        with(json!({ "buildRepository": "registry.example/b" })),
        with(json!({ "buildRepository": repository, "freeze": true, "containerConfig": env })),
        with(json!({
            "buildRepository": repository, "freeze": true, "containerConfig": { "env": ["A=2"] }
        })),
    ] {
        let submitted = service.submit(&request).await;
        targets.push(submitted["containerImage"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned());
    }
    let all = targets.len();
    // The same again: other words for the same platform, a cache, and a configuration on top, change nothing.
    for request in [
        base.clone(),
        with(json!({ "containerPlatform": "linux/x86_64" })),
        with(json!({ "cacheRepository": "registry.example/cache" })),
        with(json!({ "containerConfig": env, "fingerprint": "f" })),
    ] {
        let submitted = service.submit(&request).await;
        let target = submitted["containerImage"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
        assert_eq!(target, targets[0], "{request}");
    }
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), all);
}
