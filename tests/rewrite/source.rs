//! A source in memory that writes down what it is asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::error::Error;
use tower_oci::hosted::Memory;
use tower_oci::layer::rewrite::{InjectedLayer, Plan, Rewrite, RewriteLayer};
use tower_oci::operation::middleware::{FromFnLayer, Next, from_fn};
use tower_oci::operation::{BoxRegistry, GetBlob, GetManifest, Manifest, Operation, Registry, Request};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::{Config, Descriptor, Manifest as Document};
use tower_oci::spec::json::{Object, Raw};
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::{Reference, Repository};

pub(crate) fn repository() -> Repository {
    "demo/app".parse().unwrap()
}

pub(crate) fn tar() -> Bytes {
    vec![0; 1024].into()
}

pub(crate) fn plan() -> Plan {
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
pub(crate) struct Source {
    pub(crate) memory: Memory,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) denied: Arc<Mutex<bool>>,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self { memory: Memory::new(), log: Arc::default(), denied: Arc::default() }
    }

    /// Pushes an image of one layer.
    pub(crate) fn image(&self, reference: Option<&str>, platform: &str, docker: bool) -> Digest {
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

    pub(crate) fn push(&self, reference: Option<&str>, media_type: MediaType, object: Object) -> Digest {
        let content = object.to_raw().bytes().clone();
        let reference = match reference {
            Some(reference) => reference.parse().unwrap(),
            None => Reference::Digest(Digest::sha256(&content)),
        };
        self.memory.push_manifest(&repository(), &reference, media_type, content).unwrap()
    }

    pub(crate) fn descriptor(
        &self,
        media_type: MediaType,
        digest: Digest,
        platform: Option<&str>,
    ) -> Descriptor {
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
    pub(crate) fn index(&self, tag: &str) -> Digest {
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

    pub(crate) fn push_index(&self, tag: Option<&str>, entries: &[Descriptor]) -> Digest {
        let entries: Vec<_> = entries.iter().map(|entry| entry.object().to_raw()).collect();
        let mut index = Object::new();
        index.set("schemaVersion", Raw::of(&2));
        index.set("mediaType", Raw::of(&MediaType::OCI_INDEX));
        index.set("manifests", Raw::list(&entries));
        self.push(tag, MediaType::OCI_INDEX, index)
    }

    /// Writes down what comes by, and denies everything once `denied` is set.
    pub(crate) fn recorder(&self) -> FromFnLayer {
        let (log, denied) = (Arc::clone(&self.log), Arc::clone(&self.denied));
        from_fn(move |request: Request, next: Next| {
            log.lock().unwrap().push(line(request.operation()));
            let denied = *denied.lock().unwrap();
            async move {
                // As over a network, others get their turn meanwhile.
                tokio::task::yield_now().await;
                if denied { Err(Error::denied("not yours")) } else { next.run(request).await }
            }
        })
    }

    /// The source under a rewrite layer.
    pub(crate) fn stack(&self, rewrite: Rewrite) -> BoxRegistry {
        self.under(RewriteLayer::new(move |_| Some(rewrite.clone())))
    }

    pub(crate) fn under(&self, layer: RewriteLayer) -> BoxRegistry {
        let stack = ServiceBuilder::new().layer(layer).layer(self.recorder()).service(self.memory.clone());
        stack.boxed_registry()
    }

    /// What the source was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

pub(crate) fn line(operation: &Operation) -> String {
    match operation {
        Operation::GetManifest(asked) if asked.head => format!("HEAD {}", short(&asked.reference)),
        Operation::GetManifest(asked) => format!("GET {}", short(&asked.reference)),
        Operation::GetBlob(asked) if asked.head => format!("HEAD blob {}", short(&asked.digest)),
        Operation::GetBlob(asked) => format!("GET blob {}", short(&asked.digest)),
        other => other.kind().as_str().to_owned(),
    }
}

pub(crate) fn short(reference: &impl ToString) -> String {
    let text = reference.to_string();
    text.strip_prefix("sha256:").map_or(text.clone(), |hex| hex[..8].to_owned())
}

/// The bytes of a manifest in a registry without going through a recorder.
pub(crate) fn content(memory: &Memory, digest: Digest) -> Bytes {
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

pub(crate) async fn get(registry: &BoxRegistry, reference: impl ToString) -> Result<Manifest, Error> {
    let reference = reference.to_string().parse().unwrap();
    let request = Request::new(GetManifest::new(repository(), reference));
    registry.send(request).await?.into_reply().full()
}

pub(crate) async fn head(registry: &BoxRegistry, reference: impl ToString) -> Result<Manifest, Error> {
    let reference = reference.to_string().parse().unwrap();
    let request = Request::new(GetManifest::head(repository(), reference));
    registry.send(request).await?.into_reply().full()
}

pub(crate) async fn blob(registry: &BoxRegistry, digest: Digest) -> Result<Bytes, Error> {
    let request = Request::new(GetBlob::new(repository(), digest));
    registry.send(request).await?.into_reply().into_whole()?.read(1 << 20).await
}

pub(crate) fn parse(manifest: &Manifest) -> Document {
    Document::parse(Some(&manifest.media_type), manifest.content.clone().unwrap()).unwrap()
}

/// Every document and blob below a manifest, checked against its descriptor on the way. Answers how many there were.
pub(crate) async fn walk(registry: &BoxRegistry, manifest: &Manifest) -> usize {
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
