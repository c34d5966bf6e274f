//! Registries at the hosts of a network in memory, stacks over them, and what they were asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::client::transport::HttpService;
use tower_oci::client::{RetryPolicy, Upstream, UpstreamBuilder, Upstreams};
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::layer::rewrite::{InjectedLayer, Plan, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::{BoxRegistry, GetBlob, GetManifest, Registry};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Manifest as Document;
use tower_oci::spec::name::{Host, Reference, Repository, Tag};
use tower_oci::testing::image::{Built, File, Image, tar};
use tower_oci::testing::{Faulty, Hosts};
use tower_oci::transfer::{Place, Progress};

pub(crate) use tower_oci::operation::Request;

pub(crate) const SOURCE: &str = "source.example";
pub(crate) const TARGET: &str = "target.example";

/// A registry in memory, as it is asked over HTTP.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) memory: Memory,
    pub(crate) faulty: Faulty<OciService<Memory>>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::of(Memory::new())
    }

    pub(crate) fn of(memory: Memory) -> Self {
        Self { faulty: Faulty::new(OciService::new(memory.clone())), memory }
    }

    /// What was asked since the last time, with identities of uploads as `<id>` and digests by their first digits.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.faulty.recorder().take().iter().map(|line| named(line)).collect()
    }

    /// The same, sorted: what happens at once has no order.
    pub(crate) fn seen_sorted(&self) -> Vec<String> {
        let mut seen = self.seen();
        seen.sort();
        seen
    }
}

/// Two registries, and a stack over both.
pub(crate) struct Pair {
    pub(crate) source: Home,
    pub(crate) target: Home,
    pub(crate) stack: BoxRegistry,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::of(Home::new(), Home::new())
    }

    pub(crate) fn of(source: Home, target: Home) -> Self {
        let hosts = Hosts::new().on(SOURCE, source.faulty.clone()).on(TARGET, target.faulty.clone());
        let stack = stack([at(SOURCE, &hosts), at(TARGET, &hosts).writes(true)]);
        Self { source, target, stack }
    }

    pub(crate) fn from(&self, name: &str) -> Place {
        Place::new(self.stack.clone(), repository(name)).origin(host(SOURCE))
    }

    pub(crate) fn to(&self, name: &str) -> Place {
        Place::new(self.stack.clone(), repository(name)).origin(host(TARGET))
    }
}

/// An upstream that isn't asked again by itself, so that what is asked is what a transfer asks.
pub(crate) fn at(name: &str, hosts: &Hosts) -> UpstreamBuilder {
    Upstream::builder(host(name)).http(HttpService::new(hosts.clone())).retry(RetryPolicy::never())
}

pub(crate) fn upstreams<const N: usize>(all: [UpstreamBuilder; N]) -> Upstreams {
    let builder = all.into_iter().fold(Upstreams::builder(), |builder, upstream| builder.upstream(upstream));
    builder.build().unwrap()
}

/// Route, rewrite, upstreams.
pub(crate) fn stack<const N: usize>(all: [UpstreamBuilder; N]) -> BoxRegistry {
    ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().any_host(true)))
        .layer(RewriteLayer::by_extension())
        .service(upstreams(all))
        .boxed_registry()
}

/// An image with so many layers, of a little over a kilobyte each when they aren't compressed.
pub(crate) fn image(layers: usize) -> Built {
    let layers = (0..layers).map(|n| [File::new(format!("file{n}"), format!("content {n}"))]);
    layers.fold(Image::new().env("A=1"), |image, files| image.layer(files)).build().unwrap()
}

/// One more layer and a variable.
pub(crate) fn plan() -> Plan {
    let tar = tar(&[File::new("injected", "by a plan")]).unwrap();
    Plan::builder().layer(InjectedLayer::from_tar(tar).unwrap()).env("GREETING=hello").build().unwrap()
}

/// All digests that a registry has below a reference, by asking it; each must be there.
pub(crate) async fn tree(registry: &impl Registry, name: &str, reference: &str) -> Vec<Digest> {
    let mut open: Vec<Reference> = vec![reference.parse().unwrap()];
    let mut all = Vec::new();
    while let Some(reference) = open.pop() {
        let get = GetManifest::new(repository(name), reference);
        let manifest = registry.send(Request::new(get)).await.unwrap().into_reply().full().unwrap();
        let content = manifest.content.unwrap();
        assert!(manifest.digest.matches(&content));
        all.push(manifest.digest);
        match Document::parse(Some(&manifest.media_type), content).unwrap() {
            Document::Index(index) => open.extend(index.manifests().iter().map(|m| (*m.digest()).into())),
            Document::Image(image) => {
                let layers = image.layers().iter().filter(|layer| !layer.media_type().is_foreign_layer());
                for blob in std::iter::once(image.config()).chain(layers) {
                    assert!(blob.digest().matches(&content_of(registry, name, blob.digest()).await));
                    all.push(*blob.digest());
                }
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

pub(crate) async fn content_of(registry: &impl Registry, name: &str, digest: &Digest) -> Bytes {
    let get = GetBlob::new(repository(name), *digest);
    let blob = registry.send(Request::new(get)).await.unwrap().into_reply();
    blob.into_whole().unwrap().read(1 << 24).await.unwrap()
}

/// Whether there is anything to be read under a reference.
pub(crate) async fn exists(registry: &impl Registry, name: &str, reference: impl Into<Reference>) -> bool {
    registry.send(Request::new(GetManifest::head(repository(name), reference.into()))).await.is_ok()
}

/// Keeps what a transfer tells.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Progress>>>);

impl Told {
    pub(crate) fn listener(&self) -> impl Fn(&Progress) + Send + Sync + use<> {
        let told = Arc::clone(&self.0);
        move |progress| told.lock().unwrap().push(*progress)
    }

    pub(crate) fn all(&self) -> Vec<Progress> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Progress {
        *self.0.lock().unwrap().last().unwrap()
    }
}

pub(crate) fn host(text: &str) -> Host {
    text.parse().unwrap()
}

pub(crate) fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// The digest as [`Home::seen`] shows it.
pub(crate) fn short(digest: &Digest) -> String {
    digest.hex()[..8].to_owned()
}

/// A line without what differs from run to run, and short.
fn named(line: &str) -> String {
    let mut line = match line.split_once("/blobs/uploads/") {
        Some((start, rest)) if !rest.is_empty() && !rest.starts_with('?') => {
            let after = rest.find('?').map_or("", |at| &rest[at..]);
            format!("{start}/blobs/uploads/<id>{after}")
        }
        _ => line.to_owned(),
    };
    for (algorithm, length) in [("sha256:", 64), ("sha512:", 128)] {
        while let Some(at) = line.find(algorithm) {
            let hex = at + algorithm.len();
            let shown = line[hex..hex + 8].to_owned();
            line.replace_range(at..hex + length, &shown);
        }
    }
    line
}
