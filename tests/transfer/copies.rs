//! What is copied, and at which price, when all goes well.

use tower_oci::hosted::Memory;
use tower_oci::operation::{BoxFuture, Credential};
use tower_oci::spec::digest::{Algorithm, Digest};
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::json::Raw;
use tower_oci::spec::media_type::MediaType;
use tower_oci::testing::image::{File, Image, Index};
use tower_oci::testing::{Account, BasicAuth, BearerAuth, Fault, Faulty, Hosts, Kind, When, serve};
use tower_oci::transfer::{Place, Transfer};

use crate::support::*;

#[tokio::test]
async fn an_image_is_copied_between_two_registries() {
    let (source, target) = (Memory::new(), Memory::new());
    let image = image(3);
    image.push(&source, &repository("a/b"), &reference("v1")).unwrap();
    let told = Told::default();
    let transfer = Transfer::new(
        Place::new(source.clone(), repository("a/b")),
        Place::new(target.clone(), repository("c/d")),
    )
    .progress(told.listener());
    // It can be spawned.
    let running: BoxFuture<'static, _> =
        Box::pin(async move { transfer.run(&reference("v1"), &[tag("v1"), tag("latest")]).await });
    let done = running.await.unwrap();
    assert_eq!((&done.digest, &done.media_type), (image.digest(), &MediaType::OCI_MANIFEST));
    assert_eq!(done.size, image.content().len() as u64);
    let bytes: u64 = image.blobs().iter().map(|(blob, _)| blob.size()).sum();
    assert_eq!((done.manifests, done.copied, done.copied_bytes), (1, 4, bytes));
    assert_eq!((done.mounted, done.present), (0, 0));
    for tag in ["v1", "latest"] {
        assert_eq!(tree(&target, "c/d", tag).await, tree(&source, "a/b", "v1").await);
    }
    let last = told.last();
    assert_eq!((last.blobs, last.blobs_done, last.manifests, last.manifests_done), (4, 4, 1, 1));
    assert_eq!((last.bytes, last.bytes_done), (bytes, bytes));
    assert!(told.all().is_sorted_by_key(|progress| progress.bytes_done));
    assert_eq!(target.usage().uploads, 0);
}

#[tokio::test]
async fn within_one_registry_blobs_are_mounted() {
    let memory = Memory::new();
    let image = image(10);
    image.push(&memory, &repository("a/b"), &reference("v1")).unwrap();
    let to = Place::new(memory.clone(), repository("c/d"));
    let transfer =
        Transfer::new(Place::new(memory.clone(), repository("a/b")), to).mount_from(repository("a/b"));
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((done.mounted, done.copied, done.copied_bytes, done.present), (11, 0, 0, 0));
    assert_eq!(tree(&memory, "c/d", "v1").await, tree(&memory, "a/b", "v1").await);
}

#[tokio::test(start_paused = true)]
async fn children_come_before_parents_and_the_root_last() {
    let pair = Pair::new();
    let (amd64, arm64) = (image(1), image(2));
    let inner = Index::new().image(amd64.clone()).attestation().build();
    let attestation = &inner.children()[1];
    // One image twice, and layers that two images share.
    let root = Index::new().image(inner.clone()).image(arm64.clone()).image(amd64.clone()).build();
    root.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    let transfer = Transfer::new(pair.from("a/b"), pair.to("c/d")).concurrency(1);
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((&done.digest, done.media_type.clone()), (root.digest(), MediaType::OCI_INDEX));
    assert_eq!((done.manifests, done.copied), (5, 2 + 2 + 2));
    let name = |digest: &Digest| short(digest);
    let head = |digest: &Digest| format!("HEAD /v2/c/d/manifests/{}", name(digest));
    let put = |digest: &Digest| format!("PUT /v2/c/d/manifests/{}", name(digest));
    let mut expected = vec!["HEAD /v2/c/d/manifests/v1".to_owned(), head(root.digest())];
    expected.extend([&inner, &arm64, &amd64, attestation].map(|child| head(child.digest())));
    let blobs = amd64.blobs().iter().chain(attestation.blobs()).chain(arm64.blobs());
    let mut sent = Vec::new();
    for (blob, _) in blobs.filter(|(blob, _)| {
        !sent.contains(blob.digest()) && {
            sent.push(*blob.digest());
            true
        }
    }) {
        let digest = name(blob.digest());
        expected.push(format!("HEAD /v2/c/d/blobs/{digest}"));
        expected.push("POST /v2/c/d/blobs/uploads/".to_owned());
        expected.push(format!("PUT /v2/c/d/blobs/uploads/<id>?digest={digest}"));
    }
    expected.extend([&amd64, attestation, &inner, &arm64].map(|child| put(child.digest())));
    expected.push("PUT /v2/c/d/manifests/v1".to_owned());
    assert_eq!(pair.target.seen(), expected);
    assert_eq!(pair.source.seen().len(), 1 + 5 + 6, "the tag, each manifest, each blob");
    assert_eq!(tree(&pair.target.memory, "c/d", "v1").await, tree(&pair.source.memory, "a/b", "v1").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_costs_two_requests() {
    let pair = Pair::new();
    let image = image(2);
    image.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    image.push(&pair.target.memory, &repository("c/d"), &reference("v1")).unwrap();
    let told = Told::default();
    let transfer = Transfer::new(pair.from("a/b"), pair.to("c/d")).progress(told.listener());
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((&done.digest, done.size), (image.digest(), image.content().len() as u64));
    assert_eq!(pair.source.seen(), ["HEAD /v2/a/b/manifests/v1"]);
    assert_eq!(pair.target.seen(), ["HEAD /v2/c/d/manifests/v1"]);
    assert_eq!(told.all(), []);

    // By digest the source isn't even asked.
    let digest = (*image.digest()).into();
    let by_digest = transfer.run(&digest, &[]).await.unwrap();
    assert_eq!(by_digest, done);
    assert_eq!(pair.source.seen(), [""; 0]);
    assert_eq!(pair.target.seen(), [format!("HEAD /v2/c/d/manifests/{}", short(image.digest()))]);

    // One more tag costs no blob; one that is named twice is set once.
    let tags = [tag("v1"), tag("v2"), tag("v2")];
    assert_eq!(transfer.run(&digest, &tags).await.unwrap(), done);
    assert_eq!(pair.source.seen(), [""; 0]);
    assert_eq!(
        pair.target.seen(),
        [
            "HEAD /v2/c/d/manifests/v1".to_owned(),
            "HEAD /v2/c/d/manifests/v2".to_owned(),
            "HEAD /v2/c/d/manifests/v2".to_owned(),
            format!("GET /v2/c/d/manifests/{}", short(image.digest())),
            "PUT /v2/c/d/manifests/v2".to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_means_another_image_is_moved() {
    let pair = Pair::new();
    let (old, new) = (image(1), image(2));
    new.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
    old.push(&pair.target.memory, &repository("c/d"), &reference("v1")).unwrap();
    let transfer = Transfer::new(pair.from("a/b"), pair.to("c/d"));
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((done.digest, done.copied, done.present), (*new.digest(), 2, 1));
    assert_eq!(tree(&pair.target.memory, "c/d", "v1").await, tree(&pair.source.memory, "a/b", "v1").await);
}

#[tokio::test(start_paused = true)]
async fn several_tags_are_set_at_once_or_one_by_one() {
    let image = image(0);
    let puts = async |pair: &Pair| {
        image.push(&pair.source.memory, &repository("a/b"), &reference("v1")).unwrap();
        let transfer = Transfer::new(pair.from("a/b"), pair.to("c/d"));
        transfer.run(&reference("v1"), &[tag("v1"), tag("v2")]).await.unwrap();
        for tag in ["v1", "v2"] {
            assert_eq!(tree(&pair.target.memory, "c/d", tag).await.len(), 2);
        }
        let seen = pair.target.seen().into_iter();
        seen.filter(|line| line.starts_with("PUT") && line.contains("/manifests/")).collect::<Vec<_>>()
    };
    let at_once = format!("PUT /v2/c/d/manifests/{}?tag=v1&tag=v2", short(image.digest()));
    assert_eq!(puts(&Pair::new()).await, std::slice::from_ref(&at_once));
    let pair = Pair::new();
    let no_tags = Fault::NoHeader(http::HeaderName::from_static("oci-tag"));
    pair.target.faulty.inject(When::kind(Kind::Manifest), no_tags);
    assert_eq!(
        puts(&pair).await,
        [at_once, "PUT /v2/c/d/manifests/v1".to_owned(), "PUT /v2/c/d/manifests/v2".to_owned()]
    );
}

#[tokio::test(start_paused = true)]
async fn foreign_layers_stay_and_embedded_and_sha512_content_is_copied() {
    let pair = Pair::new();
    let memory = &pair.source.memory;
    let name = repository("a/b");
    let embedded = memory.push_blob(&name, MediaType::OCI_CONFIG, r#"{"os":"linux"}"#).unwrap();
    let embedded = embedded.with_member("data", Raw::of(&"eyJvcyI6ImxpbnV4In0="));
    let long = Digest::of(Algorithm::Sha512, b"a layer with a long digest");
    let long = Descriptor::new(MediaType::OCI_LAYER, long, 26);
    let foreign = Descriptor::of(MediaType::DOCKER_FOREIGN_LAYER, b"kept elsewhere");
    let nowhere = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".parse().unwrap();
    let oci_foreign = Descriptor::of(nowhere, b"kept elsewhere as well");
    let empty = memory.push_blob(&name, MediaType::OCI_LAYER, "").unwrap();
    let mut manifest = tower_oci::spec::json::Object::new();
    manifest.set("schemaVersion", Raw::of(&2));
    manifest.set("mediaType", Raw::of(&MediaType::OCI_MANIFEST));
    manifest.set("config", embedded.object().to_raw());
    let layers = [&long, &foreign, &long, &oci_foreign, &empty].map(|layer| layer.object().to_raw());
    manifest.set("layers", Raw::list(&layers));
    // A subject that isn't there, which nobody follows.
    manifest.set("subject", Descriptor::of(MediaType::OCI_MANIFEST, b"absent").object().to_raw());
    push_long(memory, *long.digest()).await;
    let manifest = manifest.to_raw().bytes().clone();
    let digest = memory.push_manifest(&name, &reference("v1"), MediaType::OCI_MANIFEST, manifest).unwrap();

    let transfer = Transfer::new(pair.from("a/b"), pair.to("c/d")).concurrency(1);
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((done.digest, done.copied, done.copied_bytes), (digest, 3, 14 + 26));
    assert_eq!(
        pair.source.seen(),
        [
            "HEAD /v2/a/b/manifests/v1".to_owned(),
            format!("GET /v2/a/b/manifests/{}", short(&digest)),
            format!("GET /v2/a/b/blobs/{}", short(long.digest())),
            format!("GET /v2/a/b/blobs/{}", short(empty.digest())),
        ],
        "what is embedded isn't asked for"
    );
    let posts: Vec<_> = pair.target.seen().into_iter().filter(|line| line.starts_with("POST")).collect();
    let post = "POST /v2/c/d/blobs/uploads/";
    assert_eq!(posts, [post.to_owned(), format!("{post}?digest-algorithm=sha512"), post.to_owned()]);
    assert_eq!(tree(&pair.target.memory, "c/d", "v1").await.len(), 1 + 1 + 3, "each must be there");
}

async fn push_long(memory: &Memory, digest: Digest) {
    use tower_oci::operation::{Registry as _, SingleUpload, StartUpload};
    let mut upload = StartUpload::new(repository("a/b"));
    upload.single = Some(SingleUpload::new(digest, Some(26), "a layer with a long digest".into()));
    memory.send(Request::new(upload)).await.unwrap();
}

#[tokio::test]
async fn each_registry_is_asked_with_its_own_credentials() {
    let (source, target) = (Home::new(), Home::new());
    let image = image(3);
    image.push(&source.memory, &repository("a/b"), &reference("v1")).unwrap();
    let (basic, bearer) = (
        BasicAuth::new(source.faulty.clone()).account(Account::new("reader", "source-secret")),
        BearerAuth::new(target.faulty.clone())
            .account(Account::new("writer", "target-secret").may("c/d", &["pull", "push"])),
    );
    let (seen_source, seen_target) = (Faulty::new(basic), Faulty::new(bearer));
    let served = [serve(seen_source.clone()).unwrap(), serve(seen_target.clone()).unwrap()];
    let names = served.each_ref().map(|served| served.addr().to_string());
    let upstream = |name: &String| tower_oci::client::Upstream::builder(host(name)).plain_http(true);
    let stack = stack([upstream(&names[0]), upstream(&names[1]).writes(true)]);
    let from = |password: &str| {
        let place = Place::new(stack.clone(), repository("a/b")).origin(host(&names[0]));
        place.credential(Credential::basic("reader", password))
    };
    let to = |password: &str| {
        let place = Place::new(stack.clone(), repository("c/d")).origin(host(&names[1]));
        place.credential(Credential::basic("writer", password))
    };
    let done = Transfer::new(from("source-secret"), to("target-secret"))
        .run(&reference("v1"), &[tag("v1")])
        .await
        .unwrap();
    assert_eq!((done.copied, done.manifests), (4, 1));
    assert_eq!(tree(&target.memory, "c/d", "v1").await, tree(&source.memory, "a/b", "v1").await);
    let headers = |faulty: &tower_oci::testing::Recorder| {
        let lines = faulty.recorded();
        let mut values: Vec<_> =
            lines.iter().filter_map(|line| line.header("authorization").map(str::to_owned)).collect();
        values.sort();
        values.dedup();
        values
    };
    // `reader:source-secret` and `writer:target-secret`.
    assert_eq!(headers(seen_source.recorder()), ["Basic cmVhZGVyOnNvdXJjZS1zZWNyZXQ="]);
    let of_target = headers(seen_target.recorder());
    let tokens = ["Bearer bearer-token-1", "Bearer bearer-token-2"];
    assert_eq!(of_target[1..], tokens, "one to read with, one to write with");
    assert_eq!(of_target[0], "Basic d3JpdGVyOnRhcmdldC1zZWNyZXQ=");

    // Wrong ones: it says who refuses, and nothing of what was refused.
    let error = Transfer::new(from("wrong-secret"), to("target-secret"))
        .run(&reference("v1"), &[tag("v2")])
        .await
        .unwrap_err();
    let message = format!(
        "reading the image `v1` from the source `{0}/a/b`: http://{0} answered with 401; it refuses the credentials \
         that are configured for it",
        names[0]
    );
    assert_eq!((error.status().as_u16(), error.to_string()), (403, message));
    let error = Transfer::new(from("source-secret"), to("wrong-secret"))
        .run(&reference("v1"), &[tag("v2")])
        .await
        .unwrap_err();
    assert_eq!(error.status().as_u16(), 403);
    let message = error.to_string();
    assert!(message.contains(&format!("to the destination `{}/c/d`", names[1])), "{message}");
    assert!(!message.contains("secret"), "{message}");
    for served in served {
        served.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_is_asked_for_with_leave_to_read_the_other_repository() {
    let home = Home::new();
    let image = image(2);
    image.push(&home.memory, &repository("a/b"), &reference("v1")).unwrap();
    let account = Account::new("user", "secret").may("a/b", &["pull"]).may("c/d", &["pull", "push"]);
    let bearer = BearerAuth::new(home.faulty.clone()).account(account);
    let front = Faulty::new(bearer);
    let hosts = Hosts::new().on(TARGET, front.clone());
    let stack = stack([at(TARGET, &hosts).writes(true).credential(Credential::basic("user", "secret"))]);
    let place = |name: &str| Place::new(stack.clone(), repository(name)).origin(host(TARGET));
    let transfer = Transfer::new(place("a/b"), place("c/d")).mount_from(repository("a/b")).concurrency(1);
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert_eq!((done.mounted, done.copied), (3, 0));
    let tokens: Vec<_> =
        front.recorder().lines().into_iter().filter(|line| line.contains("/token")).collect();
    let scope = |scopes: &str| format!("GET /token?service=testing&{scopes}");
    assert_eq!(
        tokens,
        [
            scope("scope=repository:a/b:pull"),
            scope("scope=repository:c/d:pull"),
            scope("scope=repository:a/b:pull&scope=repository:c/d:pull,push"),
            scope("scope=repository:c/d:pull,push"),
        ]
    );
}

#[tokio::test]
async fn a_large_layer_is_streamed() {
    let (source, target) = (Home::new(), Home::new());
    let zeros = "0".repeat(8 << 20);
    let files = [File::new("large", zeros)];
    let image =
        Image::new().compression(tower_oci::testing::image::Compression::None).layer(files).build().unwrap();
    image.push(&source.memory, &repository("a/b"), &reference("v1")).unwrap();
    let served = [serve(source.faulty.clone()).unwrap(), serve(target.faulty.clone()).unwrap()];
    let upstream = |served: &tower_oci::testing::Served| {
        let name = served.addr().to_string();
        let upstream = tower_oci::client::Upstream::builder(host(&name)).plain_http(true);
        upstream.writes(true).build().unwrap()
    };
    let told = Told::default();
    let transfer = Transfer::new(
        Place::new(upstream(&served[0]), repository("a/b")),
        Place::new(upstream(&served[1]), repository("c/d")),
    )
    .progress(told.listener());
    let done = transfer.run(&reference("v1"), &[tag("v1")]).await.unwrap();
    assert!(done.copied_bytes > 8 << 20);
    assert_eq!((told.last().bytes, told.last().bytes_done), (done.copied_bytes, done.copied_bytes));
    assert!(told.all().len() > 8, "it is told of frame by frame: {}", told.all().len());
    assert_eq!(tree(&target.memory, "c/d", "v1").await, tree(&source.memory, "a/b", "v1").await);
    for served in served {
        served.stop().await;
    }
}
