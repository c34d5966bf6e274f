//! What everybody pulls from: blobs that are made as they are sent, and documents.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_oci::spec::digest::{Algorithm, Digest, Hasher};
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::media_type::MediaType;

use super::Scale;

pub(crate) const REPOSITORY: &str = "bench/app";
const FRAME: usize = 64 * 1024;

/// A large blob: its number, and noise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    seed: u64,
}

impl Blob {
    fn new(seed: u64, size: u64, noise: &Bytes) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for frame in frames(seed, size, noise.clone()) {
            hasher.update(&frame);
        }
        Self { digest: hasher.finish(), size, seed }
    }

    pub(crate) fn path(&self) -> String {
        format!("/v2/{REPOSITORY}/blobs/{}", self.digest)
    }
}

/// The content of a blob: the first bytes tell it from others.
fn frames(seed: u64, size: u64, noise: Bytes) -> impl Iterator<Item = Bytes> {
    let first = Bytes::copy_from_slice(&seed.to_le_bytes());
    let mut left = size - first.len() as u64;
    let rest = std::iter::from_fn(move || {
        let length = left.min(FRAME as u64);
        left -= length;
        (length > 0).then(|| noise.slice(..usize::try_from(length).unwrap_or(FRAME)))
    });
    std::iter::once(first).chain(rest)
}

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    noise: Bytes,
    /// The image's manifest.
    pub(crate) manifest: Bytes,
    pub(crate) config: Bytes,
    pub(crate) layer: Bytes,
}

#[derive(Debug, Default)]
struct Shared {
    blobs: Mutex<HashMap<String, Blob>>,
    /// By path: the type and the bytes.
    documents: Mutex<HashMap<String, (String, Bytes)>>,
    blob_gets: AtomicU64,
    requests: AtomicU64,
}

impl Origin {
    pub(crate) fn start(_: Scale) -> Self {
        let shared = Arc::new(Shared::default());
        let noise = noise();
        let (serving, content) = (Arc::clone(&shared), noise.clone());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.expect("a runtime"), async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("an address")).expect("somebody waits");
                serve(listener, serving, content).await;
            });
        });
        let layer = Bytes::from(vec![7; 512]);
        let config = Bytes::from(format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::sha256(&layer)
        ));
        let manifest = manifest(&config, &layer);
        let address = receiver.recv().expect("the origin starts");
        let origin = Self { address, shared, noise, manifest, config, layer };
        for blob in [&origin.config, &origin.layer] {
            origin.document(
                &format!("/v2/{REPOSITORY}/blobs/{}", Digest::sha256(blob)),
                "application/octet-stream",
                blob,
            );
        }
        for reference in ["latest".to_owned(), Digest::sha256(&origin.manifest).to_string()] {
            let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
            origin.document(&path, MediaType::OCI_MANIFEST.as_str(), &origin.manifest);
        }
        origin
    }

    pub(crate) fn blob(&self, seed: u64, size: u64) -> Blob {
        let blob = Blob::new(seed, size, &self.noise);
        self.shared.blobs.lock().expect("whole").insert(blob.path(), blob);
        blob
    }

    pub(crate) fn document(&self, path: &str, media_type: &str, content: &Bytes) {
        let entry = (media_type.to_owned(), content.clone());
        self.shared.documents.lock().expect("whole").insert(path.to_owned(), entry);
    }

    /// How many `GET`s of large blobs came.
    pub(crate) fn blob_gets(&self) -> u64 {
        self.shared.blob_gets.load(Ordering::Relaxed)
    }

    /// How many requests for content came.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

/// About 1.5 KB, as manifests are.
fn manifest(config: &Bytes, layer: &Bytes) -> Bytes {
    let config = Descriptor::of(MediaType::OCI_CONFIG, config).object().to_raw();
    let layer = Descriptor::of(MediaType::OCI_LAYER, layer).object().to_raw();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}],"annotations":{{"note":"{}"}}}}"#,
        MediaType::OCI_MANIFEST,
        String::from_utf8_lossy(config.bytes()),
        String::from_utf8_lossy(layer.bytes()),
        "x".repeat(1000)
    )
    .into()
}

/// Bytes that are no pattern, the same in each run.
fn noise() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..FRAME / 8).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    });
    words.collect()
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, noise: Bytes) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (shared, noise) = (Arc::clone(&shared), noise.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&shared, &noise, &request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::task::spawn_local(async move { drop(connection.await) });
    }
}

type Content = StreamBody<futures_util::stream::LocalBoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn answer(shared: &Shared, noise: &Bytes, request: &Request<Incoming>) -> Response<Content> {
    use futures_util::StreamExt as _;
    let path = request.uri().path();
    let head = request.method() == http::Method::HEAD;
    let body = |frames: Vec<Bytes>| {
        StreamBody::new(stream::iter(frames.into_iter().map(|frame| Ok(Frame::data(frame)))).boxed_local())
    };
    let response = Response::builder();
    if path == "/v2/" || path == "/v2" {
        return response.body(body(vec![Bytes::from_static(b"{}")])).expect("a response");
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(blob) = shared.blobs.lock().expect("whole").get(path).copied() {
        let response = response
            .header("content-length", blob.size)
            .header("content-type", "application/octet-stream")
            .header("docker-content-digest", blob.digest.to_string())
            .header("etag", format!("\"{}\"", blob.digest));
        if head {
            return response.body(body(Vec::new())).expect("a response");
        }
        shared.blob_gets.fetch_add(1, Ordering::Relaxed);
        let frames = frames(blob.seed, blob.size, noise.clone()).map(|frame| Ok(Frame::data(frame)));
        return response.body(StreamBody::new(stream::iter(frames).boxed_local())).expect("a response");
    }
    if let Some((media_type, content)) = shared.documents.lock().expect("whole").get(path).cloned() {
        let response = response
            .header("content-length", content.len())
            .header("content-type", media_type)
            .header("docker-content-digest", Digest::sha256(&content).to_string());
        return response.body(body(if head { Vec::new() } else { vec![content] })).expect("a response");
    }
    response.status(404).body(body(vec![Bytes::from_static(b"{}")])).expect("a response")
}
