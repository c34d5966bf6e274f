//! A registry proxy inside an axum server: `/v2` answers images of Docker Hub and quay.io, the rest is yours.
//!
//! ```text
//! cargo run --example axum
//! skopeo inspect --tls-verify=false docker://127.0.0.1:5001/quay.io/podman/hello
//! ```

use axum::{Router, routing::get};
use tower::ServiceBuilder;
use tower_oci::{
    client::Upstreams,
    http::OciLayer,
    layer::route::{RouteLayer, Routes},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (hub, quay) = ("docker.io".parse()?, "quay.io".parse()?);
    let images = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(hub).host(quay)))
        .service(Upstreams::builder().any_host(true).build()?);
    let app = Router::new().route("/healthz", get(|| async { "ok" })).layer(OciLayer::new(images));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
