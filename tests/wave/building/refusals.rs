//! What isn't there says so, and names what was asked for.

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower_oci::body::Body;
use tower_oci::layer::limit::{Limiter, Rate};
use tower_oci::operation::{ClientAddress, Identity};

use super::bed::{Answer, Bed, OWN, Service, base64, image};

const FILE: &str = "FROM scratch\n";

#[tokio::test(start_paused = true)]
async fn what_the_service_does_not_do_is_a_501() {
    let bed = Bed::new();
    let service = bed.service();
    bed.push("quay.io/app:1", &image("app"));
    for (name, value) in [
        ("mirror", json!(true)),
        ("scanMode", json!("required")),
        ("format", json!("sif")),
        ("buildContext", json!({ "location": "data:" })),
        ("containerIncludes", json!(["a"])),
        ("dryRun", json!(true)),
    ] {
        let mut request = json!({ "containerImage": "quay.io/app:1" });
        request[name] = value;
        let message = format!("this service doesn't do what `{name}` asks for: leave it out");
        service.post_to("/v1alpha2/container", &request).await.assert_failure(501, &message);
        service.post(&request).await.assert_failure(501, &message);
    }
    // What asks for nothing is no obstacle.
    service
        .submit(&json!({
            "containerImage": "quay.io/app:1", "mirror": false, "scanMode": "none", "format": "docker",
            "buildContext": null, "containerIncludes": [], "dryRun": false, "nameStrategy": "none",
        }))
        .await;
    let cran = json!({ "packages": { "type": "CRAN", "entries": ["dplyr"] } });
    service
        .post_to("/v1alpha2/container", &cran)
        .await
        .assert_failure(501, "this service doesn't install CRAN packages, only CONDA ones");
    for (path, what) in [
        ("/v1alpha1/inspect", "inspections"),
        ("/v1alpha1/mirrors/mr-1", "mirrors"),
        ("/v1alpha1/scans/sc-1", "scans"),
        ("/v1alpha1/builds/bd-1/other", "such view of a build"),
    ] {
        for method in [Method::GET, Method::POST] {
            service.method(method, path).await.assert_failure(501, &format!("this service has no {what}"));
        }
    }
    assert_eq!(bed.engine.begun(), 0);
}

#[tokio::test(start_paused = true)]
async fn recipes_and_freezes_need_what_makes_them() {
    let bed = Bed::new();
    bed.push("quay.io/app:1", &image("app"));
    let recipe = json!({ "containerFile": base64(FILE) });
    let mut kept = recipe.clone();
    kept["buildRepository"] = json!("registry.example/kept");
    kept["freeze"] = json!(true);
    let frozen = json!({ "containerImage": "quay.io/app:1", "buildRepository": "registry.example/kept", "freeze": true });
    for request in [&recipe, &kept, &json!({ "condaFile": base64("dependencies: [a]\n") })] {
        bed.freezer().post(request).await.assert_failure(
            501,
            "this service has no engine to build images with (buildah, docker, or BuildKit): it takes a \
             `containerImage` only",
        );
        bed.proxy()
            .post(request)
            .await
            .assert_failure(501, "this service builds no images: it takes a `containerImage` only");
    }
    assert_eq!(bed.freezer().submit(&frozen).await["succeeded"], true);
    bed.proxy().post(&frozen).await.assert_failure(501, "this service freezes no images: leave `freeze` out");
    let id = "bd-000102030405060708090a0b0c0d0e0f";
    bed.proxy().get(&format!("/v1alpha1/builds/{id}")).await.assert_failure(404, "unknown build");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_recipe_is_refused_before_it_is_built() {
    let bed = Bed::new();
    let service = bed.service();
    let (file, conda, spack) = (base64(FILE), base64("dependencies: [a]\n"), base64("spack: {}\n"));
    let packages = |rest: Value| {
        let mut packages = json!({ "type": "CONDA" });
        packages.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "packages": packages })
    };
    for (request, message) in [
        (
            json!({ "containerImage": "a", "containerFile": file }),
            "`containerImage` and `containerFile` are both given: only one of them can be",
        ),
        (
            json!({ "containerImage": "a", "condaFile": conda }),
            "`containerImage` and `condaFile` are both given: only one of them can be",
        ),
        (
            json!({ "condaFile": conda, "spackFile": spack }),
            "`condaFile` and `spackFile` are both given: only one of them can be",
        ),
        (
            json!({ "containerFile": file, "packages": { "type": "CONDA", "entries": ["a"] } }),
            "`containerFile` and `packages` are both given: only one of them can be",
        ),
        (
            json!({ "containerFile": "FROM scratch" }),
            "`containerFile` is no valid base64: the character at 4 doesn't belong there",
        ),
        (
            json!({ "condaFile": "_" }),
            "`condaFile` is no valid base64: the character at 0 doesn't belong there",
        ),
        (json!({ "containerFile": base64("# nothing\n") }), "the container file has no `FROM`"),
        (json!({ "containerFile": base64("\n") }), "the container file is empty"),
        (json!({ "condaFile": base64(" ") }), "the Conda file is empty"),
        (packages(json!({})), "`packages` has neither `entries` nor an `environment`"),
        (
            packages(json!({ "entries": ["a"], "environment": conda })),
            "`packages.entries` and `packages.environment` are both given: only one can be",
        ),
        (
            packages(json!({ "entries": ["a; rm -rf /"] })),
            "the package `a; rm -rf /` is not one: it has characters that no name, version or address has, or begins with one of them, or is too long",
        ),
        (
            json!({ "packages": { "type": "PIP", "entries": ["a"] } }),
            "`packages.type` is neither CONDA nor CRAN: `PIP`",
        ),
        (json!({ "packages": { "entries": ["a"] } }), "`packages.type` is missing: CONDA is what there is"),
        (
            json!({ "containerFile": file, "freeze": true }),
            "`freeze` needs a `buildRepository` to put the image into",
        ),
        (
            json!({ "containerFile": file, "buildRepository": "registry.example/a:1" }),
            "`buildRepository`: invalid repository `registry.example/a:1`: it has a tag",
        ),
        (
            json!({ "containerFile": file, "cacheRepository": "https://registry.example/a" }),
            "`cacheRepository`: invalid repository `https://registry.example/a`: it starts with a protocol",
        ),
    ] {
        let answer = service.post(&request).await;
        println!("{request}");
        answer.assert_failure(400, message);
    }
    assert_eq!(bed.engine.begun(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_repository_of_the_service_one_has_to_be_named() {
    let bed = Bed::new();
    let engine = std::sync::Arc::clone(&bed.engine);
    let building = tower_oci::wave::Building::new(tower_oci::hosted::Memory::new())
        .engine(tower::service_fn(move |request| std::future::ready(engine.begin(request))));
    let wave = tower_oci::wave::Wave::builder("http://localhost:9090").building(building).build().unwrap();
    let service = bed.proxy().of(wave);
    service.post(&json!({ "containerFile": base64(FILE) })).await.assert_failure(
        400,
        "`buildRepository` is missing, and this service has no repository of its own for builds",
    );
}

#[tokio::test(start_paused = true)]
async fn the_service_writes_for_nobody_but_where_it_was_told_to() {
    let only_ours = |building: tower_oci::wave::Building| {
        building.writes(|_, repository| repository.repository().as_str() == "team/app")
    };
    let bed = Bed::with(|wave| wave, only_ours);
    bed.push("quay.io/app:1", &image("app"));
    let service = bed.service();
    for (member, repository) in
        [("buildRepository", "quay.io/other/app"), ("cacheRepository", "quay.io/steps")]
    {
        let mut request = json!({ "containerFile": base64(FILE) });
        request[member] = json!(repository);
        let message = format!("`{member}`: this service doesn't write to `{repository}` for you");
        service.post(&request).await.assert_failure(403, &message);
    }
    let freeze = |repository| json!({ "containerImage": "quay.io/app:1", "freeze": true, "buildRepository": repository });
    let message = "`buildRepository`: this service doesn't write to `quay.io/other/app` for you";
    service.post(&freeze("quay.io/other/app")).await.assert_failure(403, message);
    assert_eq!(service.post(&freeze("quay.io/team/app")).await.status, StatusCode::OK);
    assert_eq!(bed.engine.begun(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_one_caller_is_no_image_for_others() {
    let bed = Bed::new();
    bed.push("quay.io/app:1", &image("app"));
    let service = bed.service();
    let image = format!("{OWN}/builds/0123456789abcdef0123:1");
    let message = format!("`containerImage` names an image of this service itself: `{image}`");
    service.post(&json!({ "containerImage": image })).await.assert_failure(400, &message);
    let repository = format!("{OWN}/builds/0123456789abcdef0123");
    let freeze = json!({ "containerImage": "quay.io/app:1", "freeze": true, "buildRepository": repository });
    let message = format!("`buildRepository`: this service doesn't write to `{repository}` for you");
    service.post(&freeze).await.assert_failure(403, &message);
}

#[tokio::test(start_paused = true)]
async fn anonymous_requests_can_be_refused() {
    let bed = Bed::with(|wave| wave.anonymous(false), |building| building);
    bed.push("quay.io/app:1", &image("app"));
    let service = bed.service();
    for request in [json!({ "containerImage": "quay.io/app:1" }), json!({ "containerFile": base64(FILE) })] {
        let answer = service.post(&request).await;
        answer.assert_failure(401, "this service takes no anonymous requests: send a `towerAccessToken`");
        assert_eq!(as_somebody(&service, &request, Some("ann"), 1).await.status, StatusCode::OK);
        assert_eq!(as_somebody(&service, &request, None, 1).await.status, StatusCode::UNAUTHORIZED);
    }
    // A token that no platform is asked about identifies nobody.
    let answer = service.post(&json!({ "containerImage": "quay.io/app:1", "towerAccessToken": "t" })).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn submissions_and_builds_are_counted_apart() {
    let submissions = Limiter::new(Rate::per_minute(3)).of("submissions");
    let orders = Limiter::new(Rate::per_hour(1)).of("builds");
    let bed = Bed::with(
        move |wave| wave.submission_limit(submissions.clone()).build_limit(orders.clone()),
        |building| building,
    );
    bed.push("quay.io/app:1", &image("app"));
    let service = bed.service();
    let (plain, recipe) =
        (json!({ "containerImage": "quay.io/app:1" }), json!({ "containerFile": base64(FILE) }));
    let frozen = json!({ "containerImage": "quay.io/app:1", "buildRepository": "registry.example/kept", "freeze": true });
    assert_eq!(as_somebody(&service, &recipe, Some("ann"), 1).await.status, StatusCode::OK);
    let answer = as_somebody(&service, &frozen, Some("ann"), 1).await;
    answer.assert_failure(429, "too many builds: 1 per hour are allowed; try again in 3600 s");
    assert_eq!(answer.headers["retry-after"], "3600");
    assert_eq!(as_somebody(&service, &plain, Some("ann"), 1).await.status, StatusCode::OK);
    let answer = as_somebody(&service, &plain, Some("ann"), 1).await;
    answer.assert_failure(429, "too many submissions: 3 per minute are allowed; try again in 20 s");
    assert_eq!(answer.headers["retry-after"], "20");
    // Others have their own, by name or by address.
    assert_eq!(as_somebody(&service, &frozen, Some("bob"), 1).await.status, StatusCode::OK);
    assert_eq!(as_somebody(&service, &recipe, None, 1).await.status, StatusCode::OK);
    assert_eq!(as_somebody(&service, &recipe, None, 1).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(as_somebody(&service, &recipe, None, 2).await.status, StatusCode::OK);
    // And time passes.
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert_eq!(as_somebody(&service, &plain, Some("ann"), 1).await.status, StatusCode::OK);
}

/// A submission with what the embedder's layers found out about the caller.
async fn as_somebody(service: &Service, body: &Value, name: Option<&str>, address: u8) -> Answer {
    let mut request = Request::post("/container-token").body(Body::from(body.to_string())).unwrap();
    if let Some(name) = name {
        request.extensions_mut().insert(Identity::named(name));
    }
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, address));
    request.extensions_mut().insert(ClientAddress::new(address));
    service.ask(request).await
}
