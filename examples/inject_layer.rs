//! One fixed layer and one variable in every image that passes, without Wave.
//!
//! Derived digests are remembered, so that a client may come back for them; images asked for by the digest of their
//! source are passed on as they are.
//!
//! ```text
//! cargo run --example inject_layer
//! podman run --rm --tls-verify=false 127.0.0.1:5001/library/busybox cat /injected.txt
//! ```

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::http::OciService;
use tower_oci::layer::rewrite::{InjectedLayer, Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::Request;
use tower_oci::store::MemoryRecords;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut tar = tar::Builder::new(Vec::new());
    let content = b"hello from the layer\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "injected.txt", &content[..])?;
    let layer = InjectedLayer::from_tar(Bytes::from(tar.into_inner()?))?;

    let plan = Plan::builder().layer(layer).env("INJECTED=yes").build()?;
    let rewrite = Rewrite::new(plan);
    let images = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host("docker.io".parse()?)))
        .layer(
            RewriteLayer::new(move |_: &Request| Some(rewrite.clone()))
                .records(Arc::new(MemoryRecords::with_capacity(10_000))),
        )
        .service(Upstreams::builder().any_host(true).build()?);
    let app = Router::new().fallback_service(OciService::new(images));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
