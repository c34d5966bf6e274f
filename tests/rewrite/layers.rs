use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tower_oci::error::{ErrorCode, ErrorKind};
use tower_oci::layer::rewrite::{InjectedLayer, LayerKind, Limits, Plan, Rewrite, RewriteLayer};
use tower_oci::operation::{
    BlobContent, BoxRegistry, Conditional, Conditions, EntityTags, GetBlob, GetManifest, Registry, Request,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Manifest as Document;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::platform::Platform;

use crate::source::*;

#[tokio::test]
async fn a_docker_image_gets_layers_of_its_own_family() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", true);
    let manifest = get(&source.stack(Rewrite::new(plan())), "v1").await.unwrap();
    assert_eq!(manifest.media_type, MediaType::DOCKER_MANIFEST);
    let Document::Image(image) = parse(&manifest) else { unreachable!() };
    assert_eq!(image.layers()[1].media_type(), &MediaType::DOCKER_LAYER_GZIP);

    let packed = zstd::encode_all(&tar()[..], 3).unwrap();
    let layer = InjectedLayer::from_blob(packed.into(), LayerKind::Zstd, &Limits::default()).unwrap();
    let plan = Plan::builder().layer(layer.clone()).build().unwrap();
    let error = get(&source.stack(Rewrite::new(plan)), "v1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, ErrorCode::ManifestInvalid));
    assert!(error.to_string().contains("packed with zstd"), "{error}");
}

#[tokio::test]
async fn injected_layers_and_configs_answer_head_ranges_and_conditions() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.tar");
    let file: Vec<u8> = (0..700_000_u32).map(|byte| (byte % 251) as u8).collect();
    std::fs::write(&path, &file).unwrap();
    let from_file = InjectedLayer::from_file(&path, LayerKind::Tar, &Limits::default()).unwrap();
    let in_memory = InjectedLayer::from_tar(tar()).unwrap();
    let packed = in_memory.bytes().unwrap().clone();
    let plan = Plan::builder().layer(from_file).layer(in_memory).build().unwrap();
    let registry = source.stack(Rewrite::new(plan));
    let manifest = get(&registry, "v1").await.unwrap();
    let Document::Image(image) = parse(&manifest) else { unreachable!() };
    let config = blob(&registry, *image.config_digest()).await.unwrap();

    for (digest, content) in [
        (*image.layers()[1].digest(), Bytes::from(file)),
        (*image.layers()[2].digest(), packed),
        (*image.config_digest(), config),
    ] {
        let send = async |change: &dyn Fn(&mut GetBlob)| {
            let mut asked = GetBlob::new(repository(), digest);
            change(&mut asked);
            registry.send(Request::new(asked)).await.map(|response| response.into_reply())
        };
        assert_eq!(blob(&registry, digest).await.unwrap(), content);
        let head = send(&|asked| asked.head = true).await.unwrap();
        assert_eq!(head.size, Some(content.len() as u64));
        assert!(matches!(head.content, BlobContent::Whole(body) if body.size() == Some(0)));

        let ranged = async |text: &str| send(&|asked| asked.range = Some(text.parse().unwrap())).await;
        let BlobContent::Part(part) = ranged("bytes=-5").await.unwrap().content else { unreachable!() };
        assert_eq!(part.body.read(5).await.unwrap(), content[content.len() - 5..]);
        let BlobContent::Parts(parts) = ranged("bytes=0-0,3-4").await.unwrap().content else {
            unreachable!()
        };
        for (part, expected) in parts.into_iter().zip([&content[..1], &content[3..5]]) {
            assert_eq!(part.body.read(5).await.unwrap(), expected);
        }
        let error = ranged("bytes=99999999-").await.unwrap_err();
        assert_eq!(error.status(), http::StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(error.content_size(), Some(content.len() as u64));

        let tags = |text: &str| Some(EntityTags::parse(text));
        let cached = send(&|asked| asked.conditions.if_none_match = tags(&format!("\"{digest}\""))).await;
        assert!(matches!(cached.unwrap().content, BlobContent::NotModified));
        let stale = send(&|asked| {
            asked.range = Some("bytes=0-0".parse().unwrap());
            asked.conditions.if_range = tags("\"other\"");
        })
        .await;
        assert!(matches!(stale.unwrap().content, BlobContent::Whole(_)));
    }
    let mut asked = GetManifest::new(repository(), "v1".parse().unwrap());
    let mut conditions = Conditions::default();
    conditions.if_none_match = Some(EntityTags::parse(&format!("\"{}\"", manifest.digest)));
    asked.conditions = conditions;
    let reply = registry.send(Request::new(asked)).await.unwrap().into_reply();
    assert_eq!(reply, Conditional::NotModified(manifest.digest));
}

#[tokio::test]
async fn a_layer_is_for_its_platforms_only() {
    let source = Source::new();
    source.index("v1");
    let layer = InjectedLayer::from_tar(tar()).unwrap().for_platforms([Platform::LINUX_ARM64]);
    let plan = Plan::builder().layer(layer).build().unwrap();
    let registry = source.stack(Rewrite::new(plan));
    let manifest = get(&registry, "v1").await.unwrap();
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    let mut layers = Vec::new();
    for entry in index.manifests() {
        let Document::Image(image) = parse(&get(&registry, entry.digest()).await.unwrap()) else { continue };
        layers.push(image.layers().len());
    }
    assert_eq!(layers, [1, 2, 1], "the first image is untouched, and so is its attestation");
    assert_eq!(walk(&registry, &manifest).await, 1 + 3 + 4 + 3);
}

mod elsewhere {
    use std::convert::Infallible;

    use http::{StatusCode, header};
    use tower::service_fn;
    use tower_oci::body::Body;
    use tower_oci::layer::rewrite::HttpMode;

    use super::*;

    type Answer = http::response::Builder;

    /// A web server that answers by the path, and the requests that it got.
    fn web(
        content: Bytes,
        log: Arc<Mutex<Vec<String>>>,
    ) -> impl tower_service::Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        service_fn(move |request: http::Request<Body>| {
            let headers: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
            log.lock().unwrap().push(format!("{} {}", request.uri(), headers.join(" ")));
            let response = answer(&request, content.clone());
            async move { Ok(response) }
        })
    }

    fn answer(request: &http::Request<Body>, content: Bytes) -> http::Response<Body> {
        let status = |status: u16| Answer::new().status(status);
        let (head, body) = match request.uri().path() {
            "/good" | "/v1/good" => (status(200), content),
            "/flipped" => {
                let mut flipped = content.to_vec();
                *flipped.last_mut().unwrap() ^= 1;
                (status(200), flipped.into())
            }
            "/short" => (status(200), content.slice(1..)),
            "/encoded" => (status(200).header(header::CONTENT_ENCODING, "gzip"), content),
            "/ranges" => {
                let range: tower_oci::spec::range::Ranges =
                    request.headers()[header::RANGE].to_str().unwrap().parse().unwrap();
                let range = range.single().unwrap().resolve(content.len() as u64).unwrap();
                let value = format!("bytes {range}/{}", content.len());
                (status(206).header(header::CONTENT_RANGE, value), range.slice(&content).unwrap())
            }
            "/wrong-range" => {
                let value = format!("bytes 1-1/{}", content.len());
                (status(206).header(header::CONTENT_RANGE, value), content.slice(1..2))
            }
            "/moved" => (status(302).header(header::LOCATION, "v1/good?sig=a%2Fb"), Bytes::new()),
            "/loop" => (status(307).header(header::LOCATION, "/loop"), Bytes::new()),
            "/down" => (status(307).header(header::LOCATION, "http://host/good"), Bytes::new()),
            "/nowhere" => (status(307), Bytes::new()),
            "/busy" => (status(429).header(header::RETRY_AFTER, "7"), Bytes::new()),
            "/broken" => (status(503), Bytes::new()),
            _ => (status(404), Bytes::new()),
        };
        head.body(body.into()).unwrap()
    }

    /// A registry with an image on which the layer at `path` is put, that layer's digest, and its content.
    async fn registry(path: &str, mode: HttpMode) -> (BoxRegistry, Digest, Bytes, Arc<Mutex<Vec<String>>>) {
        let source = Source::new();
        source.image(Some("v1"), "linux/amd64", false);
        let there = InjectedLayer::from_tar(tar()).unwrap();
        let content = there.bytes().unwrap().clone();
        let uri = format!("https://host{path}").parse().unwrap();
        let (digest, diff_id) = (*there.digest(), *there.diff_id());
        let layer = InjectedLayer::from_http(uri, digest, diff_id, there.size(), mode).unwrap();
        let rewrite = Rewrite::new(Plan::builder().layer(layer).build().unwrap());
        let log = Arc::default();
        let registry = source.under(
            RewriteLayer::new(move |_| Some(rewrite.clone())).http(web(content.clone(), Arc::clone(&log))),
        );
        get(&registry, "v1").await.unwrap();
        (registry, digest, content, log)
    }

    #[tokio::test]
    async fn a_layer_is_streamed_through_and_checked_on_its_way() {
        let (registry, digest, content, log) = registry("/good", HttpMode::Stream).await;
        assert_eq!(blob(&registry, digest).await.unwrap(), content);
        let head = registry.send(Request::new(GetBlob::head(repository(), digest))).await.unwrap();
        assert_eq!(head.into_reply().size, Some(content.len() as u64));
        assert_eq!(*log.lock().unwrap(), ["https://host/good accept-encoding"]);

        for (path, kind, message) in [
            ("/flipped", ErrorKind::Corrupt, "the content of sha256:"),
            ("/short", ErrorKind::Corrupt, "the layer at host has "),
            ("/encoded", ErrorKind::BadGateway, "host answered with a layer in another encoding"),
            (
                "/absent",
                ErrorKind::BadGateway,
                "host answered with status 404 Not Found when asked for a layer",
            ),
            ("/busy", ErrorKind::TooManyRequests, "host answered with status 429"),
            ("/broken", ErrorKind::Unavailable, "host answered with status 503"),
            ("/loop", ErrorKind::BadGateway, "a layer is behind more than 5 redirects"),
            ("/down", ErrorKind::BadGateway, "host redirects away from https"),
            ("/nowhere", ErrorKind::BadGateway, "host redirects to nowhere"),
        ] {
            let (registry, digest, ..) = self::registry(path, HttpMode::Stream).await;
            let error = blob(&registry, digest).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{path}");
            assert!(error.to_string().starts_with(message), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn redirects_are_followed_to_the_byte() {
        let (registry, digest, content, log) = registry("/moved", HttpMode::Stream).await;
        assert_eq!(blob(&registry, digest).await.unwrap(), content);
        let log = log.lock().unwrap().join("\n");
        assert_eq!(log, "https://host/moved accept-encoding\nhttps://host/v1/good?sig=a%2Fb accept-encoding");
    }

    #[tokio::test]
    async fn parts_are_passed_on_where_they_are_given() {
        for (path, is_part) in [("/ranges", true), ("/good", false)] {
            let (registry, digest, content, log) = registry(path, HttpMode::Stream).await;
            let ranges = "bytes=-5".parse().unwrap();
            let request = Request::new(GetBlob::ranges(repository(), digest, ranges));
            match registry.send(request).await.unwrap().into_reply().content {
                BlobContent::Part(part) if is_part => {
                    assert_eq!(part.body.read(5).await.unwrap(), content[content.len() - 5..]);
                }
                BlobContent::Whole(body) if !is_part => {
                    assert_eq!(body.read(1 << 20).await.unwrap(), content)
                }
                other => assert_eq!(format!("{other:?}"), "a part or the whole"),
            }
            assert_eq!(*log.lock().unwrap(), [format!("https://host{path} accept-encoding range")]);
        }
        let (registry, digest, ..) = registry("/wrong-range", HttpMode::Stream).await;
        let request = Request::new(GetBlob::ranges(repository(), digest, "bytes=0-5".parse().unwrap()));
        let error = registry.send(request).await.unwrap_err();
        assert_eq!(error.to_string(), "host answered with another part of a layer");
    }

    #[tokio::test]
    async fn a_client_is_sent_to_the_layer_where_the_embedder_says_so() {
        let (registry, digest, _, log) = registry("/good?sig=x", HttpMode::Redirect).await;
        let send = async |asked| registry.send(Request::new(asked)).await.unwrap();
        let BlobContent::Redirect(uri) = send(GetBlob::new(repository(), digest)).await.into_reply().content
        else {
            unreachable!()
        };
        assert_eq!(uri, "https://host/good?sig=x");
        assert!(send(GetBlob::head(repository(), digest)).await.into_reply().size.is_some());
        assert_eq!(log.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn without_a_service_for_it_nothing_goes_there() {
        let source = Source::new();
        source.image(Some("v1"), "linux/amd64", false);
        let digest = Digest::sha256(b"x");
        let uri = "https://host/x".parse().unwrap();
        let layer = InjectedLayer::from_http(uri, digest, digest, 1, HttpMode::Stream).unwrap();
        let registry = source.stack(Rewrite::new(Plan::builder().layer(layer).build().unwrap()));
        get(&registry, "v1").await.unwrap();
        let error = blob(&registry, digest).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.to_string().ends_with("is kept elsewhere, and nothing here goes there"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_never_ends_well() {
    let source = Source::new();
    source.image(Some("v1"), "linux/amd64", false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.tar");
    let write = |content: &[u8]| std::fs::write(&path, content).unwrap();
    write(&[7; 600_000]);
    let layer = InjectedLayer::from_file(&path, LayerKind::Tar, &Limits::default()).unwrap();
    let digest = *layer.digest();
    let registry = source.stack(Rewrite::new(Plan::builder().layer(layer).build().unwrap()));
    get(&registry, "v1").await.unwrap();
    assert_eq!(blob(&registry, digest).await.unwrap(), vec![7; 600_000]);
    write(&[7; 500_000]);
    assert_eq!(blob(&registry, digest).await.unwrap_err().kind(), ErrorKind::Internal);
    let mut changed = vec![7; 600_000];
    changed[599_999] = 8;
    write(&changed);
    assert_eq!(blob(&registry, digest).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(blob(&registry, digest).await.unwrap_err().kind(), ErrorKind::Internal);
    let absent = InjectedLayer::from_file(&path, LayerKind::Tar, &Limits::default()).unwrap_err();
    assert!(absent.to_string().ends_with("can't be read"), "{absent}");
}
