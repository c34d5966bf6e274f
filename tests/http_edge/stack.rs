//! What stands around the edge and inside of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Notify;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::trace::TraceLayer;
use tower_oci::body::Body;
use tower_oci::error::Error;
use tower_oci::http::{OciLayer, OciService};
use tower_oci::operation::middleware::{Next, from_fn, on};
use tower_oci::operation::{
    self as op, Blob, GetBlob, GetManifest, Handlers, ListTags, Manifest, Registry, StartUpload, Tags,
    UploadStarted, UploadState,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;

/// Well above the size from which middleware compresses.
const CONTENT: &[u8] = &[b' '; 4096];

fn registry() -> Handlers {
    Handlers::new()
        .on(|_: op::Request<GetManifest>| async {
            let digest = Digest::sha256(CONTENT);
            Ok(Manifest::new(MediaType::OCI_MANIFEST, digest, Bytes::from_static(CONTENT)))
        })
        .on(|request: op::Request<GetBlob>| async move {
            let size = Some(CONTENT.len() as u64);
            let digest = request.into_operation().digest;
            let frames = CONTENT.chunks(1000).map(|frame| Ok::<_, Error>(Bytes::from_static(frame)));
            Ok(Blob::whole(digest, size, Body::from_stream(futures_util::stream::iter(frames))))
        })
        .on(|request: op::Request<ListTags>| async move {
            let tags: Result<Vec<_>, _> = (0..500).map(|n| format!("v{n}").parse()).collect();
            Ok(Tags::new(request.into_operation().repository, tags?, None))
        })
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn bytes<B: http_body::Body<Data = Bytes>>(body: B) -> Bytes
where
    B::Error: std::fmt::Debug,
{
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn manifests_and_blobs_pass_http_middleware_untouched() {
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::new().allow_origin(Any))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(CompressionLayer::new())
        .service(OciService::new(registry()));
    let digest = Digest::sha256(CONTENT);
    for path in [format!("/v2/a/blobs/{digest}"), "/v2/a/manifests/v1".into()] {
        for coding in ["gzip", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5", "identity"] {
            let mut request = get(&path);
            request.headers_mut().insert("accept-encoding", coding.parse().unwrap());
            request.headers_mut().insert("origin", "https://ui.example".parse().unwrap());
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-length"], "4096");
            assert_eq!(response.headers()["content-encoding"], "identity");
            assert_eq!(response.headers()["docker-content-digest"], digest.to_string().as_str());
            assert_eq!(response.headers()["access-control-allow-origin"], "*");
            assert_eq!(bytes(response.into_body()).await, CONTENT);
        }
    }
    // Lists are ours to compress.
    let mut request = get("/v2/a/tags/list");
    request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn a_preflight_is_the_cors_layers() {
    let service = ServiceBuilder::new()
        .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any))
        .service(OciService::new(registry()));
    let request = Request::options("/v2/a/tags/list")
        .header("origin", "https://ui.example")
        .header("access-control-request-method", "GET")
        .body(Body::empty())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

/// A registry whose answers wait, and how many are waiting.
fn waiting() -> (Handlers, Arc<Notify>, Arc<AtomicUsize>) {
    let (notify, count) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (release, entered) = (notify.clone(), count.clone());
    let registry = Handlers::new().on(move |request: op::Request<ListTags>| {
        let release = release.clone();
        entered.fetch_add(1, Ordering::SeqCst);
        async move {
            release.notified().await;
            Ok(Tags::new(request.into_operation().repository, Vec::new(), None))
        }
    });
    (registry, notify, count)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_a_504() {
    let (registry, _release, _) = waiting();
    let registry = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(5))).service(registry);
    let response = OciService::new(registry).oneshot(get("/v2/a/tags/list")).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(
        bytes(response.into_body()).await,
        r#"{"errors":[{"code":"UNSUPPORTED","message":"the operation took too long"}]}"#
    );
}

#[tokio::test]
async fn a_limit_inside_lets_the_next_one_wait_and_malformed_ones_pass() {
    let (registry, release, entered) = waiting();
    let registry = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(registry);
    let service = OciService::new(registry);
    let ask = |path| asking(service.clone(), path);
    let (first, second) = (ask("/v2/a/tags/list"), ask("/v2/b/tags/list"));
    settle().await;
    assert_eq!(entered.load(Ordering::SeqCst), 1);
    // What isn't an operation needs no permit.
    assert_eq!(service.clone().oneshot(get("/v2/A/tags/list")).await.unwrap().status(), 400);
    release.notify_one();
    assert_eq!(first.await.unwrap(), 200);
    settle().await;
    assert_eq!(entered.load(Ordering::SeqCst), 2);
    release.notify_one();
    assert_eq!(second.await.unwrap(), 200);
}

#[tokio::test]
async fn shedding_inside_is_a_503() {
    let (registry, release, entered) = waiting();
    let registry = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(registry);
    let service = OciService::new(registry);
    let first = asking(service.clone(), "/v2/a/tags/list");
    settle().await;
    assert_eq!(entered.load(Ordering::SeqCst), 1);
    let response = service.clone().oneshot(get("/v2/b/tags/list")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(
        bytes(response.into_body()).await,
        r#"{"errors":[{"code":"UNSUPPORTED","message":"the service is overloaded; try again"}]}"#
    );
    release.notify_one();
    assert_eq!(first.await.unwrap(), 200);
    // The permit has come back.
    release.notify_one();
    assert_eq!(service.oneshot(get("/v2/b/tags/list")).await.unwrap().status(), 200);
}

/// Asks in a task of its own and hands back the status.
fn asking<R: Registry>(service: OciService<R>, path: &'static str) -> tokio::task::JoinHandle<u16> {
    #[expect(clippy::disallowed_methods, reason = "a test's own client; it is awaited")]
    tokio::spawn(async move { service.oneshot(get(path)).await.unwrap().status().as_u16() })
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_layer_is_ready_when_the_service_inside_is() {
    let (mut inner, mut handle) =
        tower_test::mock::spawn_layer::<Request<Body>, Response<Full<Bytes>>, _>(OciLayer::new(registry()));
    handle.allow(0);
    assert_pending(&mut inner);
    handle.allow(1);
    assert!(inner.poll_ready().is_ready());
    // Ours doesn't touch the service inside; theirs does.
    let ours = inner.call(get("/v2/a/tags/list")).await.unwrap();
    assert_eq!(ours.status(), 200);
    assert!(inner.poll_ready().is_ready());
    let theirs = inner.call(get("/v20"));
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(request.uri(), "/v20");
    respond.send_response(Response::new(Full::from("inner")));
    assert_eq!(bytes(theirs.await.unwrap().into_body()).await, "inner");
}

fn assert_pending<T>(service: &mut tower_test::mock::Spawn<T>)
where
    T: tower::Service<Request<Body>>,
    T::Error: std::fmt::Debug,
{
    assert!(service.poll_ready::<Request<Body>>().is_pending());
}

#[tokio::test]
async fn facts_about_the_caller_reach_the_registry() {
    #[derive(Clone)]
    struct Identity(&'static str);
    let registry = ServiceBuilder::new()
        .layer(from_fn(|request: op::Request, next: Next| async move {
            match request.extensions().get::<Identity>() {
                Some(Identity("ann")) => next.run(request).await,
                _ => Err(Error::denied("only ann may")),
            }
        }))
        .service(registry());
    let service = OciService::new(registry);
    let mut request = get("/v2/a/tags/list");
    assert_eq!(service.clone().oneshot(get("/v2/a/tags/list")).await.unwrap().status(), 403);
    request.extensions_mut().insert(Identity("ann"));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn locations_have_the_clients_names_whatever_layers_make_of_them() {
    let registry = ServiceBuilder::new()
        .layer(on(|mut request: op::Request<StartUpload>, next: Next<StartUpload>| async move {
            request.operation_mut().repository = "mapped/name".parse()?;
            next.run(request).await
        }))
        .service(Handlers::new().on(|request: op::Request<StartUpload>| async move {
            assert_eq!(request.operation().repository.as_str(), "mapped/name");
            Ok(UploadStarted::Open(UploadState::new("1f".parse()?, 0)))
        }));
    let request = Request::post("/v2/quay.io/a/blobs/uploads/").body(Body::empty()).unwrap();
    let response = OciService::new(registry).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["location"], "/v2/quay.io/a/blobs/uploads/1f");
}

#[tokio::test]
async fn a_reply_to_something_else_is_a_500() {
    let registry = service_fn(|_: op::Request| async {
        Ok::<_, Infallible>(op::Response::new(op::Reply::from(op::Pong::new())))
    });
    let mut service = OciService::new(registry);
    let response = service.call(get("/v2/a/tags/list")).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(
        bytes(response.into_body()).await,
        r#"{"errors":[{"code":"UNSUPPORTED","message":"ListTags was answered with the reply to something else"}]}"#
    );
}

#[tokio::test]
async fn a_limit_on_bodies_around_the_edge_is_a_413() {
    let body = http_body_util::Limited::new(Full::new(Bytes::from_static(b"{ \"a\": 1 }")), 5);
    let request = Request::put("/v2/a/manifests/x").body(body).unwrap();
    let response = OciService::new(registry()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(
        bytes(response.into_body()).await,
        r#"{"errors":[{"code":"SIZE_INVALID","message":"the request's body is larger than this service takes"}]}"#
    );
}

#[tokio::test]
async fn over_http_2_lengths_are_told_and_broken_bodies_are_reset() {
    let registry = Handlers::new().on(|request: op::Request<GetBlob>| async move {
        let get = request.into_operation();
        if get.head {
            return Ok(Blob::head(get.digest, Some(4096)));
        }
        let whole = Ok(Bytes::from_static(CONTENT));
        let frames = match get.repository.as_str() {
            "fine" => vec![whole],
            _ => vec![Ok(Bytes::from_static(&CONTENT[..4000])), Err(Error::corrupt("another content"))],
        };
        Ok(Blob::whole(get.digest, Some(4096), crate::wire::unsized_body(frames)))
    });
    let server = crate::wire::serve(registry).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<Full<Bytes>>();
    let ask = |method: &str, repository: &str| {
        let uri = format!("http://{}/v2/{repository}/blobs/{}", server.address, Digest::sha256(CONTENT));
        client.request(Request::builder().method(method).uri(uri).body(Full::default()).unwrap())
    };
    let head = ask("HEAD", "fine").await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["content-length"]),
        (StatusCode::OK, &"4096".parse().unwrap())
    );
    let fine = ask("GET", "fine").await.unwrap();
    assert_eq!(fine.headers()["content-length"], "4096");
    assert_eq!(bytes(fine.into_body()).await, CONTENT);
    let broken = ask("GET", "broken").await.unwrap();
    assert!(broken.into_body().collect().await.is_err());
}
