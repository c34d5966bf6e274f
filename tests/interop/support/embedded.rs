//! The service inside of a program of the embedder's: here, the test.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceBuilder;
use tower_oci::client::{Upstream, Upstreams};
use tower_oci::http::OciLayer;
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::Credential;
use tower_oci::spec::name::Host;
use tower_oci::wave::Wave;

use crate::support::registry::{Registry, USER};

/// The service in front of a registry; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Embedded {
    /// With a password for [`USER`], which the token service at `token_host` may be given too.
    pub(crate) fn start(registry: &Registry, password: &str, token_host: Option<SocketAddr>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = {
            let _entered = runtime.enter();
            app(address, registry, password, token_host)
        };
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, _runtime: runtime }
    }
}

fn app(own: SocketAddr, registry: &Registry, password: &str, token_host: Option<SocketAddr>) -> axum::Router {
    let mut upstream = Upstream::builder(host(registry.address))
        .plain_http(true)
        .credential(Credential::basic(USER, password));
    if let Some(token_host) = token_host {
        upstream = upstream.token_host(host(token_host));
    }
    let wave = Wave::builder(format!("http://{own}")).build().unwrap();
    let images = ServiceBuilder::new()
        .layer(wave.images())
        .layer(RouteLayer::new(Routes::new()))
        .layer(RewriteLayer::by_extension())
        .service(Upstreams::builder().upstream(upstream).build().unwrap());
    axum::Router::new().layer(wave.endpoints(images.clone())).layer(OciLayer::new(images))
}

fn host(address: SocketAddr) -> Host {
    address.to_string().parse().unwrap()
}
