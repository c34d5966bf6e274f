//! The paths that every pull takes, each by itself: digest, decode, rewrite, a warm manifest, a submission.
//!
//! Times are told, never asserted: the machine is shared. What gates a change is counted elsewhere.

#![expect(clippy::expect_used, reason = "what can't go on stops")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{Method, Request as HttpRequest, header};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_oci::body::Body;
use tower_oci::hosted::Memory;
use tower_oci::http::{OciService, request};
use tower_oci::layer::rewrite::{InjectedLayer, Plan, Rewrite, RewriteLayer, apply};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::Request;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::{Config, Descriptor, ImageManifest, Manifest};
use tower_oci::spec::json::Raw;
use tower_oci::spec::media_type::MediaType;
use tower_oci::store::MemoryRecords;
use tower_oci::wave::Wave;

fn digest(c: &mut Criterion) {
    let mut group = c.benchmark_group("digest");
    for size in [4 * 1024, 64 * 1024, 1024 * 1024] {
        let content = vec![7_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("sha256 of {size} bytes"), |b| {
            b.iter(|| Digest::sha256(black_box(&content)))
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("decode");
    let blob = format!("/v2/library/busybox/blobs/{}", Digest::sha256(b""));
    for (what, path) in [("manifest by tag", "/v2/library/busybox/manifests/latest"), ("blob", &blob)] {
        let (parts, ()) = HttpRequest::get(path)
            .header(
                header::ACCEPT,
                "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
            )
            .header(header::USER_AGENT, "containerd/1.6")
            .body(())
            .expect("a request")
            .into_parts();
        group.bench_function(what, |b| {
            b.iter(|| {
                runtime.block_on(request::decode(black_box(&parts), Body::empty())).expect("an operation")
            });
        });
    }
    group.finish();
}

/// A manifest of ten layers and its config, as bytes.
fn image() -> (Bytes, Bytes) {
    let digests: Vec<_> = (0..10_u8).map(|n| Digest::sha256(&[n])).collect();
    let steps = (0..20).map(|n| {
        format!(
            r#"{{"created":"2024-01-01T00:00:00Z","created_by":"RUN step {n}","empty_layer":{}}}"#,
            n % 2 == 0
        )
    });
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin","LANG=C.UTF-8"],"Entrypoint":["/entry.sh"],"Cmd":["serve"],"Labels":{{"maintainer":"nobody"}}}},"rootfs":{{"type":"layers","diff_ids":{}}},"history":[{}]}}"#,
        String::from_utf8_lossy(Raw::of(&digests).bytes()),
        steps.collect::<Vec<_>>().join(","),
    );
    let layers: Vec<_> = digests
        .iter()
        .map(|digest| Descriptor::new(MediaType::OCI_LAYER_GZIP, *digest, 1).object().to_raw())
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":{}}}"#,
        MediaType::OCI_MANIFEST,
        String::from_utf8_lossy(
            Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()).object().to_raw().bytes()
        ),
        String::from_utf8_lossy(Raw::list(&layers).bytes()),
    );
    (manifest.into(), config.into())
}

/// An index that names the image for eight platforms.
fn index(manifest: &Bytes) -> Bytes {
    let (digest, size) = (Digest::sha256(manifest), manifest.len());
    let entry = |n| {
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"arch{n}"}}}}"#,
            MediaType::OCI_MANIFEST
        )
    };
    let entries: Vec<_> = (0..8).map(entry).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        entries.join(",")
    )
    .into()
}

fn plan() -> Plan {
    let layer = InjectedLayer::from_tar(Bytes::from(vec![0; 1024])).expect("a layer");
    Plan::builder().layer(layer).env("INJECTED=yes").entry_chain("WAVE_ENTRY_CHAIN").build().expect("a plan")
}

fn parse(manifest: &Bytes) -> ImageManifest {
    match Manifest::parse(Some(&MediaType::OCI_MANIFEST), manifest.clone()).expect("a manifest") {
        Manifest::Image(image) => image,
        other => unreachable!("{other:?}"),
    }
}

fn rewrite(c: &mut Criterion) {
    let mut group = c.benchmark_group("rewrite");
    let (manifest, config) = image();
    let (digest, plan) = (Digest::sha256(&manifest), plan());
    group.bench_function("image of 10 layers: parse, edit, serialize, digest", |b| {
        b.iter(|| {
            let config = Config::parse(config.clone()).expect("a config");
            apply::image(&parse(&manifest), &digest, &config, &plan).expect("derived").expect("changed")
        });
    });
    let index = index(&manifest);
    group.bench_function("index of 8 such images", |b| {
        b.iter(|| {
            let Manifest::Index(source) =
                Manifest::parse(Some(&MediaType::OCI_INDEX), index.clone()).expect("an index")
            else {
                unreachable!("it says that it is one")
            };
            let outcomes: Vec<_> = (0..8)
                .map(|_| {
                    let config = Config::parse(config.clone()).expect("a config");
                    let image = apply::image(&parse(&manifest), &digest, &config, &plan);
                    let image = image.expect("derived").expect("changed");
                    apply::Outcome::Derived(image.manifest, image.manifest_digest)
                })
                .collect();
            apply::index(&source, &outcomes).expect("derived").expect("changed")
        });
    });
    group.finish();
}

const NAME: &str = "registry.test/library/demo";

/// A registry in memory with the image of ten layers.
fn memory() -> Memory {
    let (manifest, config) = image();
    let memory = Memory::new();
    let repository = "library/demo".parse().expect("a name");
    for n in 0..10_u8 {
        memory
            .push_blob(&repository, MediaType::OCI_LAYER_GZIP, Bytes::copy_from_slice(&[n]))
            .expect("pushed");
    }
    memory.push_blob(&repository, MediaType::OCI_CONFIG, config).expect("pushed");
    memory
        .push_manifest(&repository, &"latest".parse().expect("a tag"), MediaType::OCI_MANIFEST, manifest)
        .expect("pushed");
    memory
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn get<S>(service: &mut S, path: &str) -> http::Response<Body>
where
    S: Service<HttpRequest<Body>, Response = http::Response<Body>, Error = std::convert::Infallible>,
{
    let request = HttpRequest::get(path).body(Body::empty()).expect("a request");
    let Ok(response) = service.ready().await.expect("ready").call(request).await;
    assert_eq!(response.status(), 200);
    response
}

fn warm_manifest(c: &mut Criterion) {
    let mut group = c.benchmark_group("warm manifest");
    let runtime = runtime();
    let routes = || Routes::new().host("registry.test".parse().expect("a host"));
    let path = format!("/v2/{NAME}/manifests/latest");

    let plain = ServiceBuilder::new().layer(RouteLayer::new(routes())).service(memory());
    let mut plain = OciService::new(plain);
    group.bench_function("edge, route, memory", |b| {
        b.iter(|| runtime.block_on(get(&mut plain, &path)));
    });

    let rewrite = Rewrite::new(plan());
    let rewritten = ServiceBuilder::new()
        .layer(RouteLayer::new(routes()))
        .layer(RewriteLayer::new(move |_: &Request| Some(rewrite.clone())))
        .service(memory());
    let mut rewritten = OciService::new(rewritten);
    group.bench_function("edge, route, rewrite, memory", |b| {
        b.iter(|| runtime.block_on(get(&mut rewritten, &path)));
    });
    group.finish();
}

fn submission(c: &mut Criterion) {
    let mut group = c.benchmark_group("submission");
    let runtime = runtime();
    // Each submission makes a token, of which the usual number would be used up within a second.
    let records = Arc::new(MemoryRecords::with_capacity(4_000_000));
    let wave = Wave::builder("http://wave.test").records(records).build().expect("a service");
    let images = ServiceBuilder::new()
        .layer(wave.images())
        .layer(RouteLayer::new(Routes::new()))
        .layer(RewriteLayer::by_extension())
        .service(memory());
    let elsewhere = tower::service_fn(|_: HttpRequest<Body>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
    });
    let mut service = wave.endpoints(images).layer(elsewhere);
    let body = Bytes::from(format!(
        r#"{{"containerImage":"{NAME}","containerConfig":{{"env":["A=1"]}},"timestamp":"2024-01-01T00:00:00Z","fingerprint":"x"}}"#
    ));
    group.bench_function("POST /container-token, source memoized", |b| {
        b.iter_batched(
            || {
                HttpRequest::builder()
                    .method(Method::POST)
                    .uri("/container-token")
                    .body(Body::from(body.clone()))
            },
            |request| {
                runtime.block_on(async {
                    let service = service.ready().await.expect("ready");
                    let Ok(response) = service.call(request.expect("a request")).await;
                    assert_eq!(response.status(), 200);
                });
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(50);
    targets = digest, decode, rewrite, warm_manifest, submission
}
criterion_main!(benches);
