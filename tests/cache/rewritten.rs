//! Two principals and images that are rewritten: what is derived from what is kept obeys the same record.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_oci::error::{Error, ErrorKind};
use tower_oci::hosted::Memory;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::rewrite::{InjectedLayer, Plan, Rewrite, RewriteLayer};
use tower_oci::operation::{
    BlobContent, BoxRegistry, Conditional, EntityTags, GetBlob, GetManifest, Operation, Registry as _,
    Request,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::{Descriptor, Manifest as Document};
use tower_oci::spec::media_type::MediaType;
use tower_oci::store::blobs::MemoryBlobs;

use crate::origin::{self, content};
use crate::registry::{REPOSITORY, by, get, head};

/// An image of one layer, a record of what is asked, and who may not read.
struct Source {
    memory: Memory,
    layer: Bytes,
    config: Bytes,
    manifest: Digest,
    seen: Arc<Mutex<Vec<String>>>,
    refused: Arc<Mutex<Option<&'static str>>>,
}

impl Source {
    fn new() -> Self {
        let (memory, repository) = (Memory::new(), REPOSITORY.parse().unwrap());
        let layer = content(300_000);
        let config: Bytes = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::sha256(b"unpacked")
        )
        .into();
        memory.push_blob(&repository, MediaType::OCI_CONFIG, config.clone()).unwrap();
        memory.push_blob(&repository, MediaType::OCI_LAYER, layer.clone()).unwrap();
        let text = |media_type, content: &Bytes| {
            let raw = Descriptor::of(media_type, content).object().to_raw();
            String::from_utf8(raw.bytes().to_vec()).unwrap()
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
            MediaType::OCI_MANIFEST,
            text(MediaType::OCI_CONFIG, &config),
            text(MediaType::OCI_LAYER, &layer)
        );
        let tag = "v1".parse().unwrap();
        let manifest = memory.push_manifest(&repository, &tag, MediaType::OCI_MANIFEST, manifest).unwrap();
        Self { memory, layer, config, manifest, seen: Arc::default(), refused: Arc::default() }
    }

    /// A cache of it, and above that what rewrites.
    fn stack(&self) -> BoxRegistry {
        let (memory, seen, refused) = (self.memory.clone(), self.seen.clone(), self.refused.clone());
        let upstream = service_fn(move |request: Request| {
            let user = match request.extensions().get() {
                Some(tower_oci::operation::Credential::Basic { username, .. }) => username.clone(),
                other => panic!("{other:?}"),
            };
            seen.lock().unwrap().push(user.clone());
            let is_refused = refused.lock().unwrap().is_some_and(|refused| refused == user);
            let memory = memory.clone();
            async move {
                // As from a network: not at once.
                tokio::task::yield_now().await;
                if is_refused { Err(Error::denied("not yours")) } else { memory.oneshot(request).await }
            }
        });
        let layer = InjectedLayer::from_tar(vec![0; 1024].into()).unwrap();
        let plan = Plan::builder().layer(layer).env("A=1").build().unwrap();
        let rewrite = Rewrite::new(plan);
        BoxRegistry::new(
            ServiceBuilder::new()
                .layer(RewriteLayer::new(move |request: &Request| {
                    assert!(!matches!(request.operation(), Operation::Ping(_)));
                    Some(rewrite.clone())
                }))
                .layer(CacheLayer::new(MemoryBlobs::with_capacity(1 << 24)).breaker(None))
                .service(upstream),
        )
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

enum Asked {
    Manifest(Request<GetManifest>),
    Blob(Request<GetBlob>),
}

/// Everything that can be asked for of the image: as it is, and as it is derived.
fn requests(source: &Source, derived: &[Digest]) -> Vec<Asked> {
    let mut all = Vec::new();
    let [manifest, blobs @ ..] = derived else { panic!("nothing is derived") };
    for reference in ["v1".to_owned(), manifest.to_string(), source.manifest.to_string()] {
        let mut unless = get(&reference);
        unless.operation_mut().conditions.if_none_match =
            Some(EntityTags::Digests(vec![*manifest, source.manifest]));
        all.extend([get(&reference), head(&reference), unless].map(Asked::Manifest));
    }
    let own = [&source.config, &source.layer].map(|content| Digest::sha256(content));
    for digest in blobs.iter().chain(&own).copied() {
        let mut unless = origin::whole(digest);
        unless.operation_mut().conditions.if_none_match = Some(EntityTags::Digests(vec![digest]));
        let parts = ["0-9", "-5", "0-1,5-9", "9999999-"].map(|ranges| origin::part(digest, ranges));
        let others = [origin::whole(digest), origin::head(digest), unless];
        all.extend(others.into_iter().chain(parts).map(Asked::Blob));
    }
    all
}

/// What somebody is told: the bytes, or kind, status and words of an error.
async fn told(registry: &BoxRegistry, user: &str, asked: Asked) -> Result<Vec<u8>, (ErrorKind, u16, String)> {
    let error = |error: Error| (error.kind(), error.status().as_u16(), error.to_string());
    match asked {
        Asked::Manifest(request) => match registry.send(by(user, request)).await.map_err(error)?.into_reply()
        {
            Conditional::Full(manifest) => Ok(manifest.content.unwrap_or_default().into()),
            Conditional::NotModified(digest) => Ok(digest.to_string().into()),
            other => panic!("{other:?}"),
        },
        Asked::Blob(request) => {
            let blob = registry.send(by(user, request)).await.map_err(error)?.into_reply();
            let bodies = match blob.content {
                BlobContent::Whole(body) => vec![body],
                BlobContent::Part(part) => vec![part.body],
                BlobContent::Parts(parts) => parts.into_iter().map(|part| part.body).collect(),
                BlobContent::NotModified => vec![],
                other => panic!("{other:?}"),
            };
            let mut all = Vec::new();
            for body in bodies {
                all.extend_from_slice(&body.collect().await.map_err(error)?.to_bytes());
            }
            Ok(all)
        }
    }
}

/// The digests of what somebody is given for the tag: the manifest, the configuration, the layers.
async fn derived(registry: &BoxRegistry, user: &str) -> Vec<Digest> {
    let reply = registry.send(by(user, get("v1"))).await.unwrap().into_reply();
    let Conditional::Full(manifest) = reply else { panic!("{reply:?}") };
    let document = Document::parse(Some(&manifest.media_type), manifest.content.unwrap()).unwrap();
    let Document::Image(image) = document else { panic!("no image") };
    let layers = image.layers().iter().map(|layer| *layer.digest());
    [manifest.digest, *image.config_digest()].into_iter().chain(layers).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_derived_for_one_stays_hidden_from_the_other() {
    let source = Source::new();
    let warm = source.stack();
    let derived = derived(&warm, "ann").await;
    assert_eq!(derived.len(), 4, "a configuration, the source's layer and the one that is injected");
    assert_eq!(derived[2], Digest::sha256(&source.layer));
    assert!(
        derived[..2].iter().all(|digest| ![source.manifest, Digest::sha256(&source.config)].contains(digest))
    );
    let count = requests(&source, &derived).len();
    assert_eq!(count, 9 + 7 * 5);
    let mut anns = Vec::new();
    for asked in requests(&source, &derived) {
        anns.push(told(&warm, "ann", asked).await);
    }
    assert_eq!(anns.iter().filter(|told| told.is_err()).count(), 5, "what lies outside of each blob");
    assert_eq!(anns[9 + 7], Ok(source.layer.to_vec()));
    origin::settle().await;

    // What bob is told, where all is kept and derived for ann, and where nothing is.
    *source.refused.lock().unwrap() = Some("bob");
    source.seen();
    for (name, stack) in [("warm", &warm), ("cold", &source.stack())] {
        for (number, asked) in requests(&source, &derived).into_iter().enumerate() {
            let told = told(stack, "bob", asked).await;
            assert_eq!(told, Err((ErrorKind::Denied, 403, "not yours".to_owned())), "{name} {number}");
            assert_eq!(source.seen(), ["bob"], "{name} {number}: one question, on his own behalf");
        }
    }

    // Ann is given the same as before, and nobody is asked.
    for (asked, before) in requests(&source, &derived).into_iter().zip(&anns) {
        assert_eq!(&told(&warm, "ann", asked).await, before);
    }
    assert_eq!(source.seen(), [""; 0]);

    // As soon as the source lets bob in, he is given the same.
    *source.refused.lock().unwrap() = None;
    for (asked, before) in requests(&source, &derived).into_iter().zip(&anns) {
        assert_eq!(&told(&warm, "bob", asked).await, before);
    }
    assert!(source.seen().iter().all(|user| user == "bob"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_turned_away_is_given_nothing_derived_any_more() {
    let source = Source::new();
    let registry = source.stack();
    let derived = derived(&registry, "bob").await;
    for asked in requests(&source, &derived) {
        drop(told(&registry, "bob", asked).await);
    }
    *source.refused.lock().unwrap() = Some("bob");
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    for (number, asked) in requests(&source, &derived).into_iter().enumerate() {
        let told = told(&registry, "bob", asked).await;
        assert_eq!(told, Err((ErrorKind::Denied, 403, "not yours".to_owned())), "{number}");
    }
}
