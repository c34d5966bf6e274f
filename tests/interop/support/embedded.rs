//! The service inside of a program of the embedder's: here, the test.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceBuilder;
use tower_oci::client::{Upstream, UpstreamBuilder, Upstreams};
use tower_oci::http::{OciLayer, OciService};
use tower_oci::layer::rewrite::RewriteLayer;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::{self, Credential};
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
        Self::serve(|own| app(own, upstream(registry, password, token_host)))
    }

    /// A plain proxy that passes writes on; all that are started so go on with each other's uploads.
    pub(crate) fn writing(registry: &Registry, password: &str, token_host: Option<SocketAddr>) -> Self {
        let upstream = upstream(registry, password, token_host).writes(true);
        let upstreams =
            Upstreams::builder().upstream(upstream).upload_key("the key that all instances have in common");
        let routes = Routes::new().alias("up", host(registry.address)).unwrap();
        Self::serve(|_| {
            let images =
                ServiceBuilder::new().layer(RouteLayer::new(routes)).service(upstreams.build().unwrap());
            axum::Router::new().fallback_service(OciService::new(images))
        })
    }

    /// A registry that keeps what it serves, as it is.
    pub(crate) fn hosting<R: operation::Registry>(registry: impl AsyncFnOnce() -> R) -> Self {
        let runtime = Runtime::new().unwrap();
        let registry = runtime.block_on(registry());
        Self::serve_on(runtime, |_| axum::Router::new().fallback_service(OciService::new(registry)))
    }

    fn serve(app: impl FnOnce(SocketAddr) -> axum::Router) -> Self {
        Self::serve_on(Runtime::new().unwrap(), app)
    }

    fn serve_on(runtime: Runtime, app: impl FnOnce(SocketAddr) -> axum::Router) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = {
            let _entered = runtime.enter();
            app(address)
        };
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, _runtime: runtime }
    }
}

fn upstream(registry: &Registry, password: &str, token_host: Option<SocketAddr>) -> UpstreamBuilder {
    let upstream = Upstream::builder(host(registry.address))
        .plain_http(true)
        .credential(Credential::basic(USER, password));
    match token_host {
        Some(token_host) => upstream.token_host(host(token_host)),
        None => upstream,
    }
}

fn app(own: SocketAddr, upstream: UpstreamBuilder) -> axum::Router {
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
