//! A rewritten image that is put into a registry for good.

use tower::ServiceBuilder;
use tower_oci::client::Upstream;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::rewrite::{HttpMode, InjectedLayer, Pin, Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::{BoxRegistry, GetManifest, Registry, UpstreamId};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::name::Reference;
use tower_oci::spec::platform::Platform;
use tower_oci::store::blobs::MemoryBlobs;
use tower_oci::testing::image::{File, Image, Index, tar};
use tower_oci::testing::{Hosts, serve};
use tower_oci::transfer::{Place, Transfer};

use crate::support::*;

/// What is made of the image `digest` under the tag `v1`.
fn pinned(plan: Plan, digest: &Digest) -> Rewrite {
    Rewrite::new(plan).pinned(Pin::new(Some(tag("v1")), *digest))
}

/// The digest of what a place has under a tag, as a client of the stack would see it.
async fn derived(stack: &BoxRegistry, at: &str, name: &str, rewrite: &Rewrite) -> Digest {
    let mut request = Request::new(GetManifest::head(repository(name), reference("v1")));
    request.extensions_mut().insert(tower_oci::operation::Origin::new(host(at)));
    request.extensions_mut().insert(rewrite.clone());
    stack.send(request).await.unwrap().into_reply().full().unwrap().digest
}

#[tokio::test]
async fn within_one_registry_no_layer_is_uploaded() {
    let home = Home::new();
    let image = image(10);
    image.push(&home.memory, &repository("team/app"), &reference("v1")).unwrap();
    let served = serve(home.faulty.clone()).unwrap();
    let name = served.addr().to_string();
    // What an embedder has to say so that something may be frozen there.
    let stack = stack([Upstream::builder(host(&name)).plain_http(true).writes(true)]);
    let place = |repo: &str| Place::new(stack.clone(), repository(repo)).origin(host(&name));
    let rewrite = pinned(plan(), image.digest());
    let expected = derived(&stack, &name, "team/app", &rewrite).await;
    home.seen();

    let told = Told::default();
    let transfer = Transfer::new(place("team/app").with(rewrite), place("team/frozen"))
        .mount_from(repository("team/app"))
        .concurrency(1)
        .progress(told.listener());
    let done = transfer.run(&reference("v1"), &[tag("frozen")]).await.unwrap();
    assert_eq!(done.digest, expected);
    assert_eq!((done.mounted, done.copied, done.present, done.manifests), (10, 2, 0, 1));
    assert_eq!((told.last().blobs_done, told.last().bytes_done), (12, told.last().bytes));

    let frozen = tree(&home.memory, "team/frozen", "frozen").await;
    assert_eq!(frozen[0], expected);
    let (config, injected) = (short(&frozen[1]), short(&frozen[12]));
    let source = short(image.digest());
    let to = |line: &str| line.replace("<to>", "/v2/team/frozen");
    let mut asked = vec![
        // The source has been read when it was derived; whether we may see it is asked again.
        format!("HEAD /v2/team/app/manifests/{source}"),
        to("HEAD <to>/manifests/frozen"),
        to(&format!("HEAD <to>/manifests/{}", short(&expected))),
        format!("HEAD /v2/team/app/manifests/{source}"),
    ];
    let post = |digest: &str| to(&format!("POST <to>/blobs/uploads/?mount={digest}&from=team/app"));
    let sent = |asked: &mut Vec<String>, digest: &str| {
        asked.push(to(&format!("HEAD <to>/blobs/{digest}")));
        asked.push(post(digest));
        asked.push(format!("HEAD /v2/team/app/manifests/{source}"));
        asked.push(to(&format!("PUT <to>/blobs/uploads/<id>?digest={digest}")));
    };
    sent(&mut asked, &config);
    for (layer, _) in &image.blobs()[1..] {
        let digest = short(layer.digest());
        asked.push(to(&format!("HEAD <to>/blobs/{digest}")));
        asked.push(post(&digest));
    }
    sent(&mut asked, &injected);
    asked.push(to("PUT <to>/manifests/frozen"));
    assert_eq!(home.seen(), asked);

    // Again: the tag is there.
    assert_eq!(transfer.run(&reference("v1"), &[tag("frozen")]).await.unwrap().digest, expected);
    assert_eq!(
        home.seen(),
        [format!("HEAD /v2/team/app/manifests/{source}"), to("HEAD <to>/manifests/frozen")]
    );
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn across_registries_all_is_sent_once() {
    let pair = Pair::new();
    let image = image(10);
    image.push(&pair.source.memory, &repository("team/app"), &reference("v1")).unwrap();
    let rewrite = pinned(plan(), image.digest());
    let expected = derived(&pair.stack, SOURCE, "team/app", &rewrite).await;
    pair.source.seen();
    let transfer = Transfer::new(pair.from("team/app").with(rewrite), pair.to("team/frozen"));
    let done = transfer.run(&expected.into(), &[tag("v1")]).await.unwrap();
    assert_eq!((done.digest, done.mounted, done.copied), (expected, 0, 12));
    let read: Vec<_> = pair.source.seen_sorted().into_iter().filter(|line| line.starts_with("GET")).collect();
    let mut layers: Vec<_> = image.blobs()[1..]
        .iter()
        .map(|(layer, _)| format!("GET /v2/team/app/blobs/{}", short(layer.digest())))
        .collect();
    layers.sort();
    assert_eq!(read, layers, "each layer once; manifest and config were read when it was derived");
    let frozen = tree(&pair.target.memory, "team/frozen", "v1").await;
    assert_eq!((frozen[0], frozen.len()), (expected, 13));
}

#[tokio::test(start_paused = true)]
async fn an_index_keeps_what_the_plan_keeps() {
    let amd64 = image(2);
    let arm64 = Image::new().platform(Platform::LINUX_ARM64).layer([File::new("a", "arm")]).build().unwrap();
    let index = Index::new().image(amd64.clone()).attestation().image(arm64.clone()).attestation().build();
    // Both are changed, so that neither attestation holds any more; one is taken as it is, with its attestation.
    let changed = plan();
    let chosen = Plan::builder().platforms([Platform::LINUX_AMD64]).build().unwrap();
    for (plan, manifests, blobs) in [(changed, 3, (1 + 2 + 1) + (1 + 1)), (chosen, 3, 3 + 2)] {
        let pair = Pair::new();
        index.push(&pair.source.memory, &repository("team/app"), &reference("v1")).unwrap();
        let rewrite = pinned(plan, index.digest());
        let transfer = Transfer::new(pair.from("team/app").with(rewrite), pair.to("team/frozen"));
        let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
        assert_eq!((done.manifests, done.copied), (manifests, blobs));
        let frozen = tree(&pair.target.memory, "team/frozen", "v1").await;
        assert_eq!(frozen[0], done.digest);
        assert!(!frozen.contains(index.digest()));
        assert!(!frozen.contains(arm64.digest()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_kept_elsewhere_is_fetched() {
    let pair = Pair::new();
    let image = image(1);
    image.push(&pair.source.memory, &repository("team/app"), &reference("v1")).unwrap();
    let elsewhere = Memory::new();
    let tar = tar(&[File::new("injected", "from elsewhere")]).unwrap();
    let layer = elsewhere
        .push_blob(&repository("x"), tower_oci::spec::media_type::MediaType::OCI_LAYER, tar.clone())
        .unwrap();
    let network =
        Hosts::new().on(SOURCE, pair.source.faulty.clone()).on("layers.example", OciService::new(elsewhere));
    let uri = format!("https://layers.example/v2/x/blobs/{}", layer.digest());
    let injected = |mode| {
        let (digest, size) = (*layer.digest(), layer.size());
        InjectedLayer::from_http(uri.parse().unwrap(), digest, digest, size, mode).unwrap()
    };
    for mode in [HttpMode::Stream, HttpMode::Redirect] {
        let target = Memory::new();
        let frozen = |http: bool| {
            let rewrites = RewriteLayer::by_extension();
            let rewrites = if http { rewrites.http(network.clone()) } else { rewrites };
            let upstream = at(SOURCE, &network).build().unwrap();
            let source = ServiceBuilder::new().layer(rewrites).service(upstream);
            let plan = Plan::builder().layer(injected(mode)).build().unwrap();
            let from = Place::new(source, repository("team/app")).with(pinned(plan, image.digest()));
            let to = Place::new(target.clone(), repository("team/frozen"));
            let transfer = Transfer::new(from, to);
            async move { transfer.run(&reference("v1"), &[tag("v1")]).await }
        };
        let error = frozen(false).await.unwrap_err();
        let message = format!("reading the blob {} from the source `team/app`: ", layer.digest());
        assert!(error.to_string().starts_with(&message), "{error}");
        assert!(error.to_string().ends_with(", and nothing here goes there"), "{error}");
        assert_eq!(target.usage().uploads, 0, "what was opened is given up");
        assert_eq!(frozen(true).await.unwrap().manifests, 1, "{mode:?}");
        assert_eq!(content_of(&target, "team/frozen", layer.digest()).await, tar);
    }
}

#[tokio::test(start_paused = true)]
async fn through_the_whole_stack_the_cache_stays_right() {
    let home = Home::new();
    let (old, new) = (image(2), image(3));
    new.push(&home.memory, &repository("team/app"), &reference("v1")).unwrap();
    old.push(&home.memory, &repository("team/frozen"), &reference("v1")).unwrap();
    let hosts = Hosts::new().on(TARGET, home.faulty.clone());
    let cache = CacheLayer::new(MemoryBlobs::with_capacity(1 << 24));
    let stack = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host(TARGET))))
        .layer(RewriteLayer::by_extension())
        .layer(cache.clone())
        .service(upstreams([at(TARGET, &hosts).writes(true)]))
        .boxed_registry();
    // What is there and what isn't is known to the cache before.
    assert_eq!(tree(&stack, "team/frozen", "v1").await[0], *old.digest());
    assert!(!exists(&stack, "team/frozen", reference("v2")).await);
    let rewrite = pinned(plan(), new.digest());
    let expected = derived(&stack, TARGET, "team/app", &rewrite).await;
    assert!(!exists(&stack, "team/frozen", expected).await);

    let from = Place::new(stack.clone(), repository("team/app")).with(rewrite);
    let to = Place::new(stack.clone(), repository("team/frozen"));
    let transfer = Transfer::new(from, to).mount_from(repository("team/app"));
    let done = transfer.run(&reference("v1"), &[tag("v1"), tag("v2")]).await.unwrap();
    assert_eq!((done.digest, done.mounted, done.present, done.copied), (expected, 1, 2, 2));
    for tag in ["v1", "v2"] {
        assert_eq!(tree(&stack, "team/frozen", tag).await[0], expected, "{tag}");
        assert_eq!(tree(&home.memory, "team/frozen", tag).await[0], expected, "{tag}");
    }
    assert!(cache.figures().hits > 0);
}

#[tokio::test(start_paused = true)]
async fn registries_that_nobody_named_are_not_written_to() {
    let home = Home::new();
    let image = image(0);
    image.push(&home.memory, &repository("a/b"), &reference("v1")).unwrap();
    let hosts = Hosts::new().on(TARGET, home.faulty.clone());
    let read_only = upstreams([at(TARGET, &hosts)]);
    let place =
        |name: &str| Place::new(read_only.clone(), repository(name)).with(UpstreamId::new(host(TARGET)));
    let error = Transfer::new(place("a/b"), place("c/d")).run(&reference("v1"), &[]).await.unwrap_err();
    let config = image.blobs()[0].0.digest();
    let message = format!(
        "writing the blob {config} to the destination `target.example/c/d`: StartUpload is not passed on to \
         target.example: upstreams are only read from"
    );
    assert_eq!((error.status().as_u16(), error.to_string()), (405, message));
    assert_eq!(home.memory.usage().uploads, 0);
    assert!(!exists(&home.memory, "c/d", Reference::from(*image.digest())).await);
}
