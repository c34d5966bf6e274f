//! The rewrite layer over registries in memory: what clients get, and which requests the source gets for it.
#![expect(clippy::unwrap_used, reason = "a test that finds a fault is meant to stop")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::error::{Error, ErrorCode, ErrorKind};
use tower_oci::hosted::Memory;
use tower_oci::layer::rewrite::{
    DerivedFrom, InjectedLayer, LayerKind, Limits, Pin, Plan, Rewrite, RewriteLayer,
};
use tower_oci::operation::middleware::{FromFnLayer, Next, from_fn};
use tower_oci::operation::{
    BlobContent, BoxRegistry, Conditional, Conditions, EntityTags, GetBlob, GetManifest, ListReferrers,
    ListRepositories, ListTags, Manifest, Operation, Ping, PutManifest, Registry, Request, StartUpload,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::{Config, Descriptor, Manifest as Document};
use tower_oci::spec::json::{Object, Raw};
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::{Reference, Repository};
use tower_oci::spec::page::Page;
use tower_oci::spec::platform::Platform;
use tower_oci::store::MemoryRecords;

fn repository() -> Repository {
    "demo/app".parse().unwrap()
}

fn tar() -> Bytes {
    vec![0; 1024].into()
}

fn plan() -> Plan {
    Plan::builder()
        .layer(InjectedLayer::from_tar(tar()).unwrap())
        .env("A=2")
        .env("B=3")
        .entrypoint(["/start"])
        .entry_chain("CHAIN")
        .build()
        .unwrap()
}

/// A source, and what it was asked.
#[derive(Clone)]
struct Source {
    memory: Memory,
    log: Arc<Mutex<Vec<String>>>,
    denied: Arc<Mutex<bool>>,
}

impl Source {
    fn new() -> Self {
        Self { memory: Memory::new(), log: Arc::default(), denied: Arc::default() }
    }

    /// Pushes an image of one layer.
    fn image(&self, reference: Option<&str>, platform: &str, docker: bool) -> Digest {
        let (manifest_type, config_type, layer_type) = if docker {
            (MediaType::DOCKER_MANIFEST, MediaType::DOCKER_CONFIG, MediaType::DOCKER_LAYER_GZIP)
        } else {
            (MediaType::OCI_MANIFEST, MediaType::OCI_CONFIG, MediaType::OCI_LAYER_GZIP)
        };
        let (os, architecture) = platform.split_once('/').unwrap();
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"{os}","config":{{"Env":["PATH=/bin","A=1"],"Entrypoint":["/entry","-x"],"Cmd":["run"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"base"}}]}}"#,
            Digest::sha256(platform.as_bytes()),
        );
        let config = self.memory.push_blob(&repository(), config_type, config).unwrap();
        let layer = self.memory.push_blob(&repository(), layer_type, format!("layer {platform}")).unwrap();
        let mut object = Object::new();
        object.set("schemaVersion", Raw::of(&2));
        object.set("mediaType", Raw::of(&manifest_type));
        object.set("config", config.object().to_raw());
        object.set("layers", Raw::list([&layer.object().to_raw()]));
        self.push(reference, manifest_type, object)
    }

    fn push(&self, reference: Option<&str>, media_type: MediaType, object: Object) -> Digest {
        let content = object.to_raw().bytes().clone();
        let reference = match reference {
            Some(reference) => reference.parse().unwrap(),
            None => Reference::Digest(Digest::sha256(&content)),
        };
        self.memory.push_manifest(&repository(), &reference, media_type, content).unwrap()
    }

    fn descriptor(&self, media_type: MediaType, digest: Digest, platform: Option<&str>) -> Descriptor {
        let content = content(&self.memory, digest);
        let descriptor = Descriptor::new(media_type, digest, content.len() as u64);
        let Some(platform) = platform else { return descriptor };
        let (os, architecture) = platform.split_once('/').unwrap();
        let mut member = Object::new();
        member.set("architecture", Raw::of(architecture));
        member.set("os", Raw::of(os));
        descriptor.with_member("platform", member.to_raw())
    }

    /// Pushes an index of amd64, arm64, and an attestation of the first.
    fn index(&self, tag: &str) -> Digest {
        let amd64 = self.image(None, "linux/amd64", false);
        let arm64 = self.image(None, "linux/arm64", false);
        let mut statement = Object::new();
        let config = self.memory.push_blob(&repository(), MediaType::OCI_EMPTY, "{}").unwrap();
        let layer = self.memory.push_blob(&repository(), "a/intoto".parse().unwrap(), "{\"x\":1}").unwrap();
        statement.set("schemaVersion", Raw::of(&2));
        statement.set("mediaType", Raw::of(&MediaType::OCI_MANIFEST));
        statement.set("config", config.object().to_raw());
        statement.set("layers", Raw::list([&layer.object().to_raw()]));
        let attestation = self.push(None, MediaType::OCI_MANIFEST, statement);
        let mut annotations = Object::new();
        annotations.set("vnd.docker.reference.digest", Raw::of(&amd64));
        annotations.set("vnd.docker.reference.type", Raw::of("attestation-manifest"));
        let entries = [
            self.descriptor(MediaType::OCI_MANIFEST, amd64, Some("linux/amd64")),
            self.descriptor(MediaType::OCI_MANIFEST, arm64, Some("linux/arm64")),
            self.descriptor(MediaType::OCI_MANIFEST, attestation, Some("unknown/unknown"))
                .with_member("annotations", annotations.to_raw()),
        ];
        self.push_index(Some(tag), &entries)
    }

    fn push_index(&self, tag: Option<&str>, entries: &[Descriptor]) -> Digest {
        let entries: Vec<_> = entries.iter().map(|entry| entry.object().to_raw()).collect();
        let mut index = Object::new();
        index.set("schemaVersion", Raw::of(&2));
        index.set("mediaType", Raw::of(&MediaType::OCI_INDEX));
        index.set("manifests", Raw::list(&entries));
        self.push(tag, MediaType::OCI_INDEX, index)
    }

    /// Writes down what comes by, and denies everything once `denied` is set.
    fn recorder(&self) -> FromFnLayer {
        let (log, denied) = (Arc::clone(&self.log), Arc::clone(&self.denied));
        from_fn(move |request: Request, next: Next| {
            log.lock().unwrap().push(line(request.operation()));
            let denied = *denied.lock().unwrap();
            async move { if denied { Err(Error::denied("not yours")) } else { next.run(request).await } }
        })
    }

    /// The source under a rewrite layer.
    fn stack(&self, rewrite: Rewrite) -> BoxRegistry {
        self.under(RewriteLayer::new(move |_| Some(rewrite.clone())))
    }

    fn under(&self, layer: RewriteLayer) -> BoxRegistry {
        let stack = ServiceBuilder::new().layer(layer).layer(self.recorder()).service(self.memory.clone());
        stack.boxed_registry()
    }

    /// What the source was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

fn line(operation: &Operation) -> String {
    match operation {
        Operation::GetManifest(asked) if asked.head => format!("HEAD {}", short(&asked.reference)),
        Operation::GetManifest(asked) => format!("GET {}", short(&asked.reference)),
        Operation::GetBlob(asked) if asked.head => format!("HEAD blob {}", short(&asked.digest)),
        Operation::GetBlob(asked) => format!("GET blob {}", short(&asked.digest)),
        other => other.kind().as_str().to_owned(),
    }
}

fn short(reference: &impl ToString) -> String {
    let text = reference.to_string();
    text.strip_prefix("sha256:").map_or(text.clone(), |hex| hex[..8].to_owned())
}

/// The bytes of a manifest in a registry without going through a recorder.
fn content(memory: &Memory, digest: Digest) -> Bytes {
    let request = Request::new(GetManifest::new(repository(), digest.into()));
    let sent = memory.send(request);
    futures_util::FutureExt::now_or_never(sent)
        .unwrap()
        .unwrap()
        .into_reply()
        .full()
        .unwrap()
        .content
        .unwrap()
}

async fn get(registry: &BoxRegistry, reference: impl ToString) -> Result<Manifest, Error> {
    let reference = reference.to_string().parse().unwrap();
    let request = Request::new(GetManifest::new(repository(), reference));
    registry.send(request).await?.into_reply().full()
}

async fn head(registry: &BoxRegistry, reference: impl ToString) -> Result<Manifest, Error> {
    let reference = reference.to_string().parse().unwrap();
    let request = Request::new(GetManifest::head(repository(), reference));
    registry.send(request).await?.into_reply().full()
}

async fn blob(registry: &BoxRegistry, digest: Digest) -> Result<Bytes, Error> {
    let request = Request::new(GetBlob::new(repository(), digest));
    registry.send(request).await?.into_reply().into_whole()?.read(1 << 20).await
}

fn parse(manifest: &Manifest) -> Document {
    Document::parse(Some(&manifest.media_type), manifest.content.clone().unwrap()).unwrap()
}

/// Every document and blob below a manifest, checked against its descriptor on the way. Answers how many there were.
async fn walk(registry: &BoxRegistry, manifest: &Manifest) -> usize {
    assert_eq!(Digest::sha256(manifest.content.as_ref().unwrap()), manifest.digest);
    let mut count = 1;
    match parse(manifest) {
        Document::Index(index) => {
            for entry in index.manifests() {
                let child = get(registry, entry.digest()).await.unwrap();
                assert_eq!((child.digest, child.size), (*entry.digest(), entry.size()));
                assert_eq!(head(registry, entry.digest()).await.unwrap().size, entry.size());
                count += Box::pin(walk(registry, &child)).await;
            }
        }
        Document::Image(image) => {
            let config = blob(registry, *image.config_digest()).await.unwrap();
            assert_eq!(config.len() as u64, image.config().size());
            if image.is_image() {
                let config = Config::parse(config).unwrap();
                assert_eq!(config.diff_ids().len(), image.layers().len());
                assert!(config.history_agrees());
            }
            for layer in image.layers() {
                let content = blob(registry, *layer.digest()).await.unwrap();
                assert_eq!(content.len() as u64, layer.size());
                count += 1;
            }
            count += 1;
        }
        other => assert_eq!(format!("{other:?}"), "an index or an image"),
    }
    count
}

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
async fn a_pin_serves_its_image_and_nothing_else() {
    let source = Source::new();
    let digest = source.index("v1");
    let other = source.image(Some("v2"), "linux/s390x", false);
    let rewrite = Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest));
    let registry = source.stack(rewrite);
    let manifest = get(&registry, "v1").await.unwrap();
    assert_eq!(source.asked().len(), 5, "no tag is resolved");
    assert_eq!(walk(&registry, &manifest).await, 1 + 2 * 4);
    source.asked();

    let Document::Index(index) = Document::parse(None, content(&source.memory, digest)).unwrap() else {
        unreachable!()
    };
    let unknown = [
        "v2".to_owned(),
        "latest".to_owned(),
        digest.to_string(),
        other.to_string(),
        index.manifests()[0].digest().to_string(),
    ];
    for reference in unknown {
        let error = get(&registry, &reference).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ManifestUnknown, "{reference}");
        assert_eq!(error.to_string(), format!("no manifest `{reference}` in `demo/app`"));
    }
    let foreign = source.memory.push_blob(&repository(), MediaType::OCI_LAYER, "another image's").unwrap();
    let error = blob(&registry, *foreign.digest()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BlobUnknown);
    assert_eq!(source.asked(), Vec::<String>::new(), "nothing of this reaches the source");

    let tags = registry.send(Request::new(ListTags::new(repository()))).await.unwrap().into_reply();
    assert_eq!(tags.tags, ["v1".parse().unwrap()]);
    let mut after = ListTags::new(repository());
    after.page = Page::new(Some(1), Some("v1".to_owned()));
    let tags = registry.send(Request::new(after)).await.unwrap().into_reply();
    assert_eq!((tags.tags, tags.next), (Vec::new(), None));
    for digest in [manifest.digest, digest] {
        let request = Request::new(ListReferrers::new(repository(), digest));
        assert_eq!(registry.send(request).await.unwrap().into_reply().manifests, []);
    }
    assert_eq!(source.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn under_a_pin_what_is_not_known_fails_closed() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let pinned = source.stack(Rewrite::new(plan()).pinned(Pin::new(None, digest)));
    let free = source.stack(Rewrite::new(plan()));
    let put = || {
        let content = content(&source.memory, digest);
        PutManifest::new(repository(), "v3".parse().unwrap(), MediaType::OCI_MANIFEST, content)
    };
    for error in [
        pinned.send(Request::new(put())).await.unwrap_err(),
        pinned.send(Request::new(StartUpload::new(repository()))).await.unwrap_err(),
        pinned.send(Request::new(ListRepositories::new())).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }
    assert_eq!(source.asked(), Vec::<String>::new());
    assert!(pinned.send(Request::new(Ping::new())).await.is_ok(), "guards below can challenge it");
    free.send(Request::new(put())).await.unwrap();
    free.send(Request::new(StartUpload::new(repository()))).await.unwrap();
    assert_eq!(source.asked(), ["Ping", "PutManifest", "StartUpload"]);
}

#[tokio::test]
async fn who_may_not_see_the_source_sees_nothing_derived_from_it() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    for rewrite in
        [Rewrite::new(plan()), Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest))]
    {
        let registry = source.stack(rewrite);
        let manifest = get(&registry, "v1").await.unwrap();
        let Document::Image(image) = parse(&manifest) else { unreachable!() };
        *source.denied.lock().unwrap() = true;
        for error in [
            get(&registry, "v1").await.unwrap_err(),
            get(&registry, manifest.digest).await.unwrap_err(),
            head(&registry, manifest.digest).await.unwrap_err(),
            blob(&registry, *image.config_digest()).await.unwrap_err(),
            blob(&registry, *image.layers()[0].digest()).await.unwrap_err(),
            blob(&registry, *image.layers()[1].digest()).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Denied, "not yours"));
        }
        *source.denied.lock().unwrap() = false;
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
async fn another_process_rebuilds_what_was_derived_elsewhere() {
    let source = Source::new();
    let digest = source.index("v1");
    let records = Arc::new(MemoryRecords::with_capacity(100));
    let process = |with_records: bool| {
        let rewrite = Rewrite::new(plan());
        let layer = RewriteLayer::new(move |_| Some(rewrite.clone()));
        source.under(if with_records { layer.records(records.clone()) } else { layer })
    };
    let manifest = get(&process(true), "v1").await.unwrap();
    let Document::Index(index) = parse(&manifest) else { unreachable!() };
    source.asked();

    // Each of these is asked of a process of its own, which has derived nothing yet.
    assert_eq!(get(&process(true), manifest.digest).await.unwrap(), manifest);
    assert_eq!(source.asked().len(), 5, "reading the source is the check");
    let child = get(&process(true), index.manifests()[1].digest()).await.unwrap();
    let Document::Image(image) = parse(&child) else { unreachable!() };
    assert!(blob(&process(true), *image.config_digest()).await.is_ok());
    assert!(blob(&process(true), *image.layers()[1].digest()).await.is_ok());
    assert!(get(&process(false), manifest.digest).await.is_err());
    let request = ListReferrers::new(repository(), manifest.digest);
    source.asked();
    assert_eq!(process(true).send(Request::new(request)).await.unwrap().into_reply().manifests, []);
    assert_eq!(source.asked(), Vec::<String>::new());

    // A pin needs no record.
    let pinned = || source.stack(Rewrite::new(plan()).pinned(Pin::new(Some("v1".parse().unwrap()), digest)));
    assert_eq!(get(&pinned(), manifest.digest).await.unwrap(), manifest);
    assert!(blob(&pinned(), *image.layers()[1].digest()).await.is_ok());
}

#[tokio::test]
async fn a_digest_names_the_source_only_for_who_says_so() {
    let source = Source::new();
    let digest = source.image(Some("v1"), "linux/amd64", false);
    let plain = source.stack(Rewrite::new(plan()));
    assert_eq!(get(&plain, digest).await.unwrap().digest, digest);
    assert_eq!(source.asked(), [format!("GET {}", short(&digest))]);

    let resolving = source.stack(Rewrite::new(plan()).resolving());
    let request = Request::new(GetManifest::head(repository(), digest.into()));
    let response = resolving.send(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&DerivedFrom::new(digest)));
    let derived = response.into_reply().full().unwrap().digest;
    assert_eq!(derived, get(&plain, "v1").await.unwrap().digest);
    assert_ne!(derived, digest);
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
