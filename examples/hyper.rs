//! A registry proxy under plain hyper, without any framework.
//!
//! ```text
//! cargo run --example hyper
//! skopeo inspect --tls-verify=false docker://127.0.0.1:5001/library/busybox
//! ```

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::http::OciService;
use tower_oci::layer::route::{RouteLayer, Routes};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let images = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host("docker.io".parse()?)))
        .service(Upstreams::builder().any_host(true).build()?);
    let service = TowerToHyperService::new(OciService::new(images));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the crate's rule; a server of one's own spawns as it likes"
        )]
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            // What is queued for each client that doesn't read; hyper's own limit is 400 KiB.
            server.http1().max_buf_size(16 * 1024);
            // A client that speaks TLS to a plain port, as podman does first, is no event worth a log line.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
