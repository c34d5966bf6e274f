//! An upstream that does as a test tells it, and writes down what it is asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tower::{Layer as _, service_fn};
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::layer::cache::{Cache, CacheLayer};
use tower_oci::operation::{
    Blob, BlobContent, BlobPart, CacheStatus, Credential, CredentialId, GetBlob, Operation, Registry as _,
    Request, Response,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::range::{Ranges, Satisfied};
use tower_oci::store::blobs::BlobStore;

pub(crate) const REPOSITORY: &str = "team/app";

/// Bytes that differ from place to place.
pub(crate) fn content(size: usize) -> Bytes {
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// An upstream with blobs. Their bytes come in frames, as far as they are released.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
    seen: Mutex<Vec<String>>,
    /// Up to where blobs come.
    released: watch::Sender<usize>,
    frame: AtomicUsize,
    delay: Mutex<Duration>,
    ignores_ranges: AtomicBool,
    tells_size: bool,
    refusal: Mutex<Option<Refusal>>,
}

/// What requests are refused with, by what they say of themselves.
type Refusal = Box<dyn Fn(&str) -> Option<Error> + Send + Sync>;

impl Origin {
    /// One that has these blobs and holds nothing back.
    pub(crate) fn new(blobs: impl IntoIterator<Item = Bytes>) -> Self {
        Self::build(blobs, true)
    }

    /// One that doesn't tell sizes.
    pub(crate) fn without_sizes(blobs: impl IntoIterator<Item = Bytes>) -> Self {
        Self::build(blobs, false)
    }

    fn build(blobs: impl IntoIterator<Item = Bytes>, tells_size: bool) -> Self {
        let blobs = blobs.into_iter().map(|blob| (Digest::sha256(&blob), blob)).collect();
        Self(Arc::new(Inner {
            blobs: Mutex::new(blobs),
            seen: Mutex::default(),
            released: watch::Sender::new(usize::MAX),
            frame: AtomicUsize::new(16 * 1024),
            delay: Mutex::default(),
            ignores_ranges: AtomicBool::new(false),
            tells_size,
            refusal: Mutex::default(),
        }))
    }

    /// In frames of so many bytes.
    pub(crate) fn frames(self, bytes: usize) -> Self {
        self.0.frame.store(bytes, Ordering::Relaxed);
        self
    }

    /// Answers with whole blobs, whatever is asked for.
    pub(crate) fn ignore_ranges(&self) {
        self.0.ignores_ranges.store(true, Ordering::Relaxed);
    }

    /// Answers after so much time from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    /// Blobs come up to here from now on.
    pub(crate) fn release(&self, bytes: usize) {
        self.0.released.send_replace(bytes);
    }

    /// Answers with other bytes under this digest from now on.
    pub(crate) fn replace(&self, digest: Digest, blob: Bytes) {
        self.0.blobs.lock().unwrap().insert(digest, blob);
    }

    /// Refuses requests whose line is refused, from now on.
    pub(crate) fn refuse(&self, refusal: impl Fn(&str) -> Option<Error> + Send + Sync + 'static) {
        *self.0.refusal.lock().unwrap() = Some(Box::new(refusal));
    }

    /// Answers everything again.
    pub(crate) fn heal(&self) {
        *self.0.refusal.lock().unwrap() = None;
    }

    /// What was asked since the last time: `GET team/app 5891b5 [bytes=0-1] [who]`.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.seen.lock().unwrap())
    }

    pub(crate) fn cached(&self, layer: &CacheLayer) -> Cache {
        let origin = self.clone();
        layer.layer(service_fn(move |request: Request| {
            let origin = origin.clone();
            async move { origin.answer(request).await }
        }))
    }

    async fn answer(&self, request: Request) -> Result<Response, Error> {
        let (operation, facts) = request.into_parts();
        let Operation::GetBlob(asked) = operation else { panic!("{operation:?}") };
        let mut line = line(if asked.head { "HEAD" } else { "GET" }, asked.repository.as_str(), asked.digest);
        if let Some(range) = &asked.range {
            line.push_str(&format!(" {range}"));
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
        let found = self.0.blobs.lock().unwrap().get(&asked.digest).cloned();
        let Some(blob) = found else { return Err(Error::blob_unknown("no such blob")) };
        let (digest, size) = (asked.digest, blob.len() as u64);
        if asked.head {
            return Ok(Response::new(Blob::head(digest, Some(size)).into()));
        }
        let range = asked.range.filter(|_| !self.0.ignores_ranges.load(Ordering::Relaxed));
        let satisfied = range.map_or(Satisfied::Whole, |range| range.resolve(size));
        let reply = match satisfied {
            Satisfied::One(range) => {
                let body = self.body(blob, range.first() as usize, range.last() as usize + 1);
                Blob::part(digest, size, BlobPart::new(range, body))
            }
            _ => {
                let size = self.0.tells_size.then_some(size);
                let body = self.body(blob.clone(), 0, blob.len());
                Blob::whole(digest, size, body)
            }
        };
        Ok(Response::new(reply.into()))
    }

    fn body(&self, blob: Bytes, first: usize, end: usize) -> Body {
        let frame = self.0.frame.load(Ordering::Relaxed);
        let start = (blob, first, self.0.released.subscribe());
        Body::from_stream(stream::unfold(start, move |(blob, at, mut released)| async move {
            if at >= end {
                return None;
            }
            let next = end.min(at + frame);
            released.wait_for(|released| *released >= next).await.unwrap();
            Some((Ok::<_, Error>(blob.slice(at..next)), (blob, next, released)))
        }))
    }
}

/// A request as [`Origin::seen`] has it.
pub(crate) fn line(method: &str, repository: &str, digest: Digest) -> String {
    format!("{method} {repository} {}", &digest.hex()[..6])
}

pub(crate) fn get(digest: Digest) -> String {
    line("GET", REPOSITORY, digest)
}

pub(crate) fn whole(digest: Digest) -> Request<GetBlob> {
    Request::new(GetBlob::new(REPOSITORY.parse().unwrap(), digest))
}

pub(crate) fn part(digest: Digest, ranges: &str) -> Request<GetBlob> {
    let ranges: Ranges = format!("bytes={ranges}").parse().unwrap();
    Request::new(GetBlob::ranges(REPOSITORY.parse().unwrap(), digest, ranges))
}

pub(crate) fn head(digest: Digest) -> Request<GetBlob> {
    Request::new(GetBlob::head(REPOSITORY.parse().unwrap(), digest))
}

/// The same request by somebody.
pub(crate) fn by(user: &str, mut request: Request<GetBlob>) -> Request<GetBlob> {
    let credential = Credential::basic(user, "secret");
    request.extensions_mut().insert::<CredentialId>(credential.id());
    request.extensions_mut().insert(credential);
    request
}

/// The blob and what `Cache-Status` says.
pub(crate) async fn ask(cache: &Cache, request: Request<GetBlob>) -> Result<(Blob, String), Error> {
    let (blob, facts) = cache.send(request).await?.into_parts();
    let status = facts.get::<CacheStatus>().unwrap().to_string();
    Ok((blob, status.strip_prefix("tower-oci; ").unwrap().to_owned()))
}

/// The bytes that a reader gets, or the error in place of their end.
pub(crate) async fn read(cache: &Cache, request: Request<GetBlob>) -> Result<Bytes, Error> {
    collect(body(ask(cache, request).await?.0)).await
}

pub(crate) fn body(blob: Blob) -> Body {
    match blob.content {
        BlobContent::Whole(body) => body,
        BlobContent::Part(part) => part.body,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn collect(body: Body) -> Result<Bytes, Error> {
    body.collect().await.map(|all| all.to_bytes())
}

/// What comes of a body before it waits.
pub(crate) async fn available(body: &mut Body) -> Bytes {
    let mut all = BytesMut::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(1), body.frame()).await {
        all.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    all.freeze()
}

/// Waits until everything else has done what it can do.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// What a client is told: status, code, message.
pub(crate) fn told<T>(result: Result<T, Error>) -> (u16, &'static str, String) {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => (error.status().as_u16(), error.code().as_str(), error.to_string()),
    }
}

pub(crate) async fn kept(store: &dyn BlobStore) -> Vec<Digest> {
    store.list(None, 1000).await.unwrap().into_iter().map(|blob| blob.digest).collect()
}
