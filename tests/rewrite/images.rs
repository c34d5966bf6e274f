use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::error::{ErrorCode, ErrorKind};
use tower_oci::layer::rewrite::{DerivedFrom, Pin, Plan, Rewrite, RewriteLayer};
use tower_oci::operation::{GetManifest, Manifest, Registry, Request};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Manifest as Document;
use tower_oci::spec::json::{Object, Raw};
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::platform::Platform;

use crate::source::*;

#[tokio::test]
async fn a_cold_tag_costs_three_requests_and_a_warm_one_a_head() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let registry = source.stack(Rewrite::new(plan()));

    let request = Request::new(GetManifest::new(repository(), "v1".parse().unwrap()));
    let response = registry.send(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&DerivedFrom::new(digest)));
    let manifest = response.into_reply().full().unwrap();
    let asked = source.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[..2], ["HEAD v1".to_owned(), format!("GET {}", short(&digest))]);
    assert!(asked[2].starts_with("GET blob "), "{asked:?}");

    let warm = head(&registry, "v1").await.unwrap();
    assert_eq!((warm.digest, warm.size, warm.content), (manifest.digest, manifest.size, None));
    assert_eq!(source.asked(), ["HEAD v1"]);

    // By digest: one question whether the caller may see it.
    assert_eq!(get(&registry, manifest.digest).await.unwrap(), manifest);
    assert_eq!(source.asked(), [format!("HEAD {}", short(&digest))]);

    let Document::Image(image) = parse(&manifest) else { unreachable!() };
    let config = blob(&registry, *image.config_digest()).await.unwrap();
    assert_eq!(source.asked(), [format!("HEAD {}", short(&digest))]);
    let expected = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin","A=2","B=3","CHAIN=[\"/entry\",\"-x\"]"],"Entrypoint":["/start"],"Cmd":["run"]}},"rootfs":{{"type":"layers","diff_ids":["{}","{1}"]}},"history":[{{"created_by":"base"}},{{"created":"1970-01-01T00:00:00Z","created_by":"inject layer {1}"}}]}}"#,
        Digest::sha256(b"linux/amd64"),
        Digest::sha256(&tar()),
    );
    assert_eq!(std::str::from_utf8(&config).unwrap(), expected);
    // The source's layer is asked of the source, which checks by itself.
    let layer = *image.layers()[0].digest();
    assert_eq!(blob(&registry, layer).await.unwrap(), "layer linux/amd64");
    assert_eq!(source.asked(), [format!("GET blob {}", short(&layer))]);
    assert_eq!(walk(&registry, &manifest).await, 4);
}

#[tokio::test]
async fn an_index_is_rewritten_whole_within_the_budget() {
    let source = Source::new();
    source.index("v1");
    let registry = source.stack(Rewrite::new(plan()));
    let manifest = get(&registry, "v1").await.unwrap();
    // HEAD and GET of the index, manifest and config of each platform; the attestation isn't read.
    assert_eq!(source.asked().len(), 2 + 2 * 2);
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    assert_eq!(index.manifests().len(), 2, "the attestation is gone");
    assert_eq!(walk(&registry, &manifest).await, 1 + 2 * 4);
}

#[tokio::test]
async fn an_index_is_narrowed_to_the_wanted_platforms_and_stays_one() {
    let source = Source::new();
    source.index("v1");
    let narrowed = |platform: &str| {
        let plan = Plan::builder().platforms([platform.parse().unwrap()]).env("X=1").build().unwrap();
        source.stack(Rewrite::new(plan))
    };
    let manifest = get(&narrowed("linux/arm64"), "v1").await.unwrap();
    assert_eq!(source.asked().len(), 4);
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    assert_eq!(index.manifests().len(), 1);
    assert_eq!(index.manifests()[0].platform().unwrap(), Some(Platform::LINUX_ARM64));

    let error = get(&narrowed("linux/riscv64"), "v1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, ErrorCode::ManifestUnknown));
    assert_eq!(
        error.to_string(),
        "the image is not there for `linux/riscv64`; it is for `linux/amd64`, `linux/arm64`"
    );
    assert_eq!(source.asked().len(), 2, "the index alone tells");
    // Platforms alone narrow the index and leave the images, and an attestation of a kept one, as they are.
    let plan = Plan::builder().platforms([Platform::LINUX_AMD64]).build().unwrap();
    let registry = source.stack(Rewrite::new(plan));
    let manifest = get(&registry, "v1").await.unwrap();
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    assert_eq!(index.manifests().len(), 2);
    assert!(index.manifests()[1].is_attestation());
    assert_eq!(walk(&registry, &manifest).await, 1 + 3 + 3);
}

#[tokio::test]
async fn a_single_image_for_another_platform_is_refused() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", true);
    let wants = |platforms: &str| {
        let plan = Plan::builder().platforms(Platform::parse_list(platforms).unwrap()).env("X=1");
        source.stack(Rewrite::new(plan.build().unwrap()))
    };
    let error = get(&wants("arm64"), "v1").await.unwrap_err();
    assert_eq!(error.to_string(), "the image is not there for `linux/arm64`; it is for `linux/amd64`");
    assert!(get(&wants("amd64,arm64"), "v1").await.is_ok());
}

#[tokio::test]
async fn an_empty_plan_and_what_is_no_image_keep_their_bytes() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let registry = source.stack(Rewrite::new(Plan::default()));
    let request = Request::new(GetManifest::new(repository(), "v1".parse().unwrap()));
    let response = registry.send(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&DerivedFrom::new(digest)));
    let manifest = response.into_reply().full().unwrap();
    assert_eq!(manifest.content.unwrap(), content(&source.memory, digest));
    assert_eq!(source.asked(), ["GET v1"]);

    let chart = source.memory.push_blob(
        &repository(),
        "application/vnd.cncf.helm.config.v1+json".parse().unwrap(),
        r#"{"name":"chart"}"#,
    );
    let mut object = Object::new();
    object.set("schemaVersion", Raw::of(&2));
    object.set("config", chart.unwrap().object().to_raw());
    object.set("layers", Raw::list([]));
    let digest = source.push(Some("chart"), MediaType::OCI_MANIFEST, object);
    for rewrite in
        [Rewrite::new(plan()), Rewrite::new(plan()).pinned(Pin::new(Some("chart".parse().unwrap()), digest))]
    {
        let registry = source.stack(rewrite);
        let manifest = get(&registry, "chart").await.unwrap();
        assert_eq!(manifest.digest, digest);
        assert_eq!(get(&registry, digest).await.unwrap(), manifest);
        assert_eq!(walk(&registry, &manifest).await, 2);
    }
}

#[tokio::test]
async fn schema_1_is_unsupported_and_says_why() {
    let leaf = tower_oci::operation::Handlers::new().on(|request: Request<GetManifest>| async move {
        let content = Bytes::from_static(br#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#);
        let media_type = if request.operation().repository.as_str() == "a/typed" {
            MediaType::DOCKER_SCHEMA1
        } else {
            MediaType::JSON
        };
        Ok(Manifest::new(media_type, Digest::sha256(&content), content))
    });
    let rewrite = Rewrite::new(plan());
    let registry =
        ServiceBuilder::new().layer(RewriteLayer::new(move |_| Some(rewrite.clone()))).service(leaf);
    for name in ["a/typed", "a/untyped"] {
        let request = Request::new(GetManifest::new(name.parse().unwrap(), "v1".parse().unwrap()));
        let error = registry.send(request).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert!(error.to_string().contains("whose signature a rewrite would break"), "{error}");
    }
}

#[tokio::test]
async fn identical_requests_share_one_derivation() {
    let source = Source::new();
    source.index("v1");
    let registry = source.stack(Rewrite::new(plan()));
    let all = futures_util::future::join_all((0..16).map(|_| get(&registry, "v1"))).await;
    let digests: Vec<_> = all.into_iter().map(|manifest| manifest.unwrap().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    let asked = source.asked();
    assert_eq!(asked.iter().filter(|line| *line == "HEAD v1").count(), 16);
    assert_eq!(asked.len(), 16 + 5, "{asked:?}");
}

#[tokio::test]
async fn a_nested_index_is_rewritten_and_one_nested_too_deeply_refused() {
    let source = Source::new();
    let amd64 = source.image(None, "linux/amd64", false);
    let entry = source.descriptor(MediaType::OCI_MANIFEST, amd64, None);
    let mut digest = source.push_index(Some("depth0"), &[entry]);
    for depth in 1..=3 {
        let entry = source.descriptor(MediaType::OCI_INDEX, digest, None);
        digest = source.push_index(Some(&format!("depth{depth}")), &[entry]);
    }
    let plan = Plan::builder().env("X=1").platforms([Platform::LINUX_AMD64]).build().unwrap();
    let registry = source.stack(Rewrite::new(plan));
    for tag in ["depth0", "depth1", "depth2"] {
        let manifest = get(&registry, tag).await.unwrap();
        let depth: usize = tag[5..].parse().unwrap();
        assert_eq!(walk(&registry, &manifest).await, depth + 1 + 3);
    }
    let error = get(&registry, "depth3").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ManifestInvalid);
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}
