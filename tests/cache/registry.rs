//! An upstream with manifests that does as a test tells it, and writes down what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tower::{Layer as _, service_fn};
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::layer::cache::{Cache, CacheLayer};
use tower_oci::operation::{
    Blob, BoxRegistry, CacheStatus, Call, Conditional, Credential, CredentialId, Deleted, EntityTags,
    GetManifest, ListReferrers, ListTags, Manifest, ManifestCreated, Operation, Referrers, Registry as _,
    Request, Response, Tags, UpstreamId, Warnings,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::store::blobs::MemoryBlobs;

pub(crate) const REPOSITORY: &str = "team/app";

/// The type of all manifests here.
pub(crate) const TYPE: MediaType = MediaType::OCI_INDEX;

/// A manifest that differs from others by its `name`: an index without entries.
pub(crate) fn manifest(name: &str) -> Bytes {
    let name = format!(r#""annotations":{{"name":"{name}"}}"#);
    format!(r#"{{"schemaVersion":2,"mediaType":"{TYPE}","manifests":[],{name}}}"#).into()
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::sha256(&manifest(name))
}

/// An upstream. Every repository has the same manifests.
#[derive(Clone, Default)]
pub(crate) struct Upstream(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tags: Mutex<BTreeMap<String, Bytes>>,
    documents: Mutex<BTreeMap<Digest, Bytes>>,
    seen: Mutex<Vec<String>>,
    refusal: Mutex<Option<Refusal>>,
    delay: Mutex<Duration>,
}

/// What requests are refused with, by what they say of themselves.
type Refusal = Box<dyn Fn(&str) -> Option<Error> + Send + Sync>;

impl Upstream {
    /// One where the tag `v1` means the manifest named `one`.
    pub(crate) fn new() -> Self {
        let upstream = Self::default();
        upstream.tag("v1", "one");
        upstream
    }

    /// The tag means the manifest with this name from now on.
    pub(crate) fn tag(&self, tag: &str, name: &str) {
        let content = manifest(name);
        self.0.documents.lock().unwrap().insert(Digest::sha256(&content), content.clone());
        self.0.tags.lock().unwrap().insert(tag.to_owned(), content);
    }

    /// There is no such tag any more.
    pub(crate) fn untag(&self, tag: &str) {
        self.0.tags.lock().unwrap().remove(tag);
    }

    /// Refuses requests whose line is refused, from now on.
    pub(crate) fn refuse(&self, refusal: impl Fn(&str) -> Option<Error> + Send + Sync + 'static) {
        *self.0.refusal.lock().unwrap() = Some(Box::new(refusal));
    }

    /// Answers everything again.
    pub(crate) fn heal(&self) {
        *self.0.refusal.lock().unwrap() = None;
    }

    /// Answers after so much time from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    /// What was asked since the last time: `GET team/app v1 [who]`.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.seen.lock().unwrap())
    }

    pub(crate) fn registry(&self) -> BoxRegistry {
        let upstream = self.clone();
        BoxRegistry::new(service_fn(move |request: Request| {
            let upstream = upstream.clone();
            async move { upstream.answer(request).await }
        }))
    }

    pub(crate) fn cached(&self, layer: &CacheLayer) -> Cache {
        layer.layer(self.registry())
    }

    /// A cache of this upstream, without a breaker, in memory.
    pub(crate) fn plainly_cached(&self) -> Cache {
        self.cached(&layer())
    }

    async fn answer(&self, request: Request) -> Result<Response, Error> {
        let (operation, facts) = request.into_parts();
        let repository = operation.repository().map(ToString::to_string).unwrap_or_default();
        let mut line = match &operation {
            Operation::GetManifest(asked) => {
                line(if asked.head { "HEAD" } else { "GET" }, &repository, &asked.reference.to_string())
            }
            Operation::PutManifest(put) => line("PUT", &repository, &put.reference.to_string()),
            Operation::DeleteManifest(asked) => line("DELETE", &repository, &asked.reference.to_string()),
            Operation::GetBlob(asked) => {
                line("GET", &format!("{repository} blob"), &asked.digest.to_string())
            }
            Operation::ListTags(asked) => match asked.page.n {
                Some(n) => format!("TAGS {repository} {n}"),
                None => format!("TAGS {repository}"),
            },
            Operation::ListReferrers(asked) => {
                let only = asked.artifact_type.iter().fold(String::new(), |_, only| format!(" {only}"));
                format!("REFERRERS {repository} {}{only}", &asked.digest.hex()[..6])
            }
            other => panic!("{other:?}"),
        };
        if let Some(upstream) = facts.get::<UpstreamId>() {
            line.push_str(&format!(" at {upstream}"));
        }
        if let Some(Credential::Basic { username, .. }) = facts.get::<Credential>() {
            line.push_str(&format!(" {username}"));
        }
        self.0.seen.lock().unwrap().push(line.clone());
        let delay = *self.0.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        // As from a network: not at once.
        tokio::task::yield_now().await;
        if let Some(error) = self.0.refusal.lock().unwrap().as_ref().and_then(|refusal| refusal(&line)) {
            return Err(error);
        }
        match operation {
            Operation::GetManifest(asked) => self.manifest(&asked).map(|found| Response::new(found.into())),
            Operation::GetBlob(asked) => match self.0.documents.lock().unwrap().get(&asked.digest) {
                Some(content) => {
                    let blob = Blob::whole(asked.digest, None, Body::from(content.clone()));
                    Ok(Response::new(blob.into()))
                }
                None => Err(Error::blob_unknown("no such blob")),
            },
            Operation::PutManifest(put) => {
                let digest = Digest::sha256(&put.content);
                self.0.documents.lock().unwrap().insert(digest, put.content.clone());
                self.0.tags.lock().unwrap().insert(put.reference.to_string(), put.content);
                Ok(Response::new(ManifestCreated::new(digest).into()))
            }
            Operation::DeleteManifest(asked) => {
                match asked.reference.digest() {
                    Some(digest) => drop(self.0.documents.lock().unwrap().remove(digest)),
                    None => self.untag(&asked.reference.to_string()),
                }
                Ok(Response::new(Deleted::new().into()))
            }
            Operation::ListTags(asked) => {
                let tags = self.0.tags.lock().unwrap();
                let tags = tags.keys().map(|tag| tag.parse().unwrap()).collect();
                Ok(Response::new(Tags::new(asked.repository, tags, None).into()))
            }
            Operation::ListReferrers(_) => Ok(Response::new(Referrers::default().into())),
            other => panic!("{other:?}"),
        }
    }

    fn manifest(&self, asked: &GetManifest) -> Result<Conditional<Manifest>, Error> {
        assert_eq!(asked.conditions, Default::default(), "the upstream is asked without conditions");
        let found = match asked.reference.digest() {
            Some(digest) => self.0.documents.lock().unwrap().get(digest).cloned(),
            None => self.0.tags.lock().unwrap().get(&asked.reference.to_string()).cloned(),
        };
        let Some(content) = found else {
            return Err(Error::manifest_unknown(format!("there is no {}", asked.reference)));
        };
        let digest = Digest::sha256(&content);
        Ok(Conditional::Full(match asked.head {
            true => Manifest::head(TYPE, digest, content.len() as u64),
            false => Manifest::new(TYPE, digest, content),
        }))
    }
}

/// A cache in memory, without a breaker, so that each fault is one request.
pub(crate) fn layer() -> CacheLayer {
    CacheLayer::new(MemoryBlobs::with_capacity(1 << 20)).breaker(None)
}

/// A request as [`Upstream::seen`] has it. A digest is cut.
pub(crate) fn line(method: &str, repository: &str, reference: &str) -> String {
    let reference = reference.strip_prefix("sha256:").map_or(reference, |hex| &hex[..6]);
    format!("{method} {repository} {reference}")
}

pub(crate) fn get(reference: &str) -> Request<GetManifest> {
    Request::new(GetManifest::new(REPOSITORY.parse().unwrap(), reference.parse().unwrap()))
}

pub(crate) fn head(reference: &str) -> Request<GetManifest> {
    Request::new(GetManifest::head(REPOSITORY.parse().unwrap(), reference.parse().unwrap()))
}

/// The same request for another repository.
pub(crate) fn of(repository: &str, mut request: Request<GetManifest>) -> Request<GetManifest> {
    request.operation_mut().repository = repository.parse().unwrap();
    request
}

/// The same request, unless it is this manifest.
pub(crate) fn unless(digest: Digest, mut request: Request<GetManifest>) -> Request<GetManifest> {
    request.operation_mut().conditions.if_none_match = Some(EntityTags::Digests(vec![digest]));
    request
}

/// The same request by somebody.
pub(crate) fn by<O>(user: &str, mut request: Request<O>) -> Request<O> {
    let credential = Credential::basic(user, "secret");
    request.extensions_mut().insert::<CredentialId>(credential.id());
    request.extensions_mut().insert(credential);
    request
}

/// The same request to the upstream of this host.
pub(crate) fn at<O>(host: &str, mut request: Request<O>) -> Request<O> {
    request.extensions_mut().insert(UpstreamId::new(host.parse().unwrap()));
    request
}

pub(crate) fn tags() -> Request<ListTags> {
    Request::new(ListTags::new(REPOSITORY.parse().unwrap()))
}

pub(crate) fn referrers(digest: Digest) -> Request<ListReferrers> {
    Request::new(ListReferrers::new(REPOSITORY.parse().unwrap(), digest))
}

/// What a request for a manifest is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) digest: Digest,
    /// The content; none to a `HEAD`.
    pub(crate) content: Option<Bytes>,
    pub(crate) is_modified: bool,
    /// What `Cache-Status` says.
    pub(crate) status: String,
    pub(crate) warnings: Vec<String>,
}

impl Told {
    /// The manifest with this name and its content.
    pub(crate) fn full(name: &str, status: &str) -> Self {
        Self { content: Some(manifest(name)), ..Self::head(name, status) }
    }

    pub(crate) fn head(name: &str, status: &str) -> Self {
        let (digest, status) = (digest(name), status.to_owned());
        Self { digest, content: None, is_modified: true, status, warnings: Vec::new() }
    }

    pub(crate) fn not_modified(name: &str, status: &str) -> Self {
        Self { is_modified: false, ..Self::head(name, status) }
    }

    pub(crate) fn warning(self, text: &str) -> Self {
        Self { warnings: vec![text.to_owned()], ..self }
    }
}

pub(crate) async fn ask(cache: &Cache, request: Request<GetManifest>) -> Result<Told, Error> {
    let (reply, facts) = cache.send(request).await?.into_parts();
    let status = status(&facts);
    let warnings = facts.get::<Warnings>().map(|warnings| warnings.0.to_vec()).unwrap_or_default();
    Ok(match reply {
        Conditional::Full(manifest) => {
            assert_eq!(manifest.media_type, TYPE);
            let Manifest { digest, content, size, .. } = manifest;
            assert!(content.as_ref().is_none_or(|content| content.len() as u64 == size));
            Told { digest, content, is_modified: true, status, warnings }
        }
        Conditional::NotModified(digest) => {
            Told { digest, content: None, is_modified: false, status, warnings }
        }
        other => panic!("{other:?}"),
    })
}

pub(crate) fn status(facts: &http::Extensions) -> String {
    let status = facts.get::<CacheStatus>().unwrap().to_string();
    status.strip_prefix("tower-oci; ").unwrap().to_owned()
}

/// What `Cache-Status` says of an answer.
pub(crate) async fn list<O: Call>(cache: &Cache, request: Request<O>) -> Result<String, Error> {
    Ok(status(cache.send(request).await?.extensions()))
}

/// Lets tasks run that write behind the answers.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
