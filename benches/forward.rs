//! A large blob through the whole stack, beside a bare hyper forward and a plain SHA-256 in the same run.
//!
//! Goal 1: the CPU time of the verified pass-through is at most 1.10 times that of the bare forward plus that of hashing
//! the same bytes. Every server has a thread of its own, whose CPU time the kernel tells; rounds are interleaved, and
//! the ratio is the median of those within a round. Nothing is asserted: the machine is shared.
//!
//! `cargo bench --bench forward` moves 256 MiB a round; with `-- --test` it moves little, once.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "what can't go on stops")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_oci::client::{Upstream, Upstreams};
use tower_oci::http::OciService;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::spec::digest::{Algorithm, Digest, Hasher};

const FRAME: usize = 64 * 1024;

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (frames, rounds) = if test { (64, 1) } else { (4096, 7) };
    let frame = noise();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..frames).for_each(|_| hasher.update(&frame));
    let digest = hasher.finish();
    let size = (FRAME * frames) as u64;

    let origin = start(move |listener| serve_origin(listener, noise(), frames));
    let bare = start(move |listener| serve_bare(listener, origin.address));
    let ours = start(move |listener| serve_stack(listener, origin.address));
    let path = format!("/v2/a/b/blobs/{digest}");

    // Connections are opened and pages touched before anything is counted.
    for server in [bare, ours] {
        assert_eq!(fetch(server.address, &path), size);
    }
    let mut ratios = Vec::new();
    let mut shares = Vec::new();
    for round in 1..=rounds {
        let forward = bare.cpu(|| assert_eq!(fetch(bare.address, &path), size));
        let hash = hash_time(&frame, frames, digest);
        let verified = ours.cpu(|| assert_eq!(fetch(ours.address, &path), size));
        let ratio = verified.as_secs_f64() / (forward + hash).as_secs_f64();
        println!(
            "round {round}: bare forward {forward:.0?}, SHA-256 {hash:.0?}, verified pass-through {verified:.0?}: {ratio:.3} x their sum"
        );
        ratios.push(ratio);
        shares.push(verified.as_secs_f64() / forward.as_secs_f64());
    }
    println!(
        "{} MiB: median {:.3} x (bare forward + SHA-256), goal 1.10; {:.2} x bare forward",
        size >> 20,
        median(ratios),
        median(shares)
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

fn hash_time(frame: &Bytes, frames: usize, digest: Digest) -> Duration {
    let task = own_task();
    let before = cpu_of(&task);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..frames).for_each(|_| hasher.update(frame));
    assert_eq!(hasher.finish(), digest);
    cpu_of(&task) - before
}

/// A server on a thread of its own.
#[derive(Clone, Copy)]
struct Server {
    address: SocketAddr,
    task: u32,
}

impl Server {
    /// The CPU time that the server's thread takes while `work` runs.
    fn cpu(self, work: impl FnOnce()) -> Duration {
        let task = format!("/proc/self/task/{}/schedstat", self.task);
        let before = cpu_of(&task);
        work();
        cpu_of(&task) - before
    }
}

fn own_task() -> String {
    format!("/proc/self/task/{}/schedstat", own_id())
}

fn own_id() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").expect("Linux");
    link.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok())
        .expect("a thread's number")
}

fn cpu_of(task: &str) -> Duration {
    let text = std::fs::read_to_string(task).expect("the thread lives");
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds"))
}

fn start<F, Fut>(serve: F) -> Server
where
    F: FnOnce(TcpListener) -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(Server { address, task: own_id() }).expect("somebody waits");
            serve(listener).await;
        });
    });
    receiver.recv().expect("the server starts")
}

async fn serve<S, B>(listener: TcpListener, service: S)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: std::error::Error + Send + Sync,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service.clone());
        tokio::task::spawn_local(async move { drop(connection.await) });
    }
}

async fn serve_origin(listener: TcpListener, frame: Bytes, frames: usize) {
    let service = service_fn(move |_| {
        let frame = frame.clone();
        async move {
            let body = StreamBody::new(stream::iter(
                (0..frames).map(move |_| Ok::<_, Infallible>(Frame::data(frame.clone()))),
            ));
            let response = Response::builder().header("content-length", FRAME * frames).body(body);
            Ok::<_, Infallible>(response.expect("a response"))
        }
    });
    serve(listener, service).await;
}

async fn serve_bare(listener: TcpListener, origin: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http1_max_buf_size(1 << 20)
        .build(connector);
    let service = service_fn(move |request: Request<Incoming>| {
        let client = client.clone();
        let uri: Uri = format!("http://{origin}{}", request.uri()).parse().expect("a URI");
        async move { client.get(uri).await }
    });
    serve(listener, service).await;
}

async fn serve_stack(listener: TcpListener, origin: SocketAddr) {
    let host: tower_oci::spec::name::Host = origin.to_string().parse().expect("a host");
    let upstream = Upstream::builder(host.clone()).plain_http(true).allow_host(host.clone());
    let images = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(RewriteLayer::by_extension())
        .service(Upstreams::builder().upstream(upstream).build().expect("an upstream"));
    serve(listener, TowerToHyperService::new(OciService::new(images))).await;
}

/// Reads the blob and answers how many bytes came.
fn fetch(address: SocketAddr, path: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let uri: Uri = format!("http://{address}{path}").parse().expect("a URI");
        let mut body = client.get(uri).await.expect("an answer").into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame.expect("a frame").data_ref().map_or(0, Bytes::len) as u64;
        }
        total
    })
}
