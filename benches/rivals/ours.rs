//! Our server, as a process of its own: the edge, wave, route, rewrite and the cache over a disk store.

use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower::{ServiceBuilder, service_fn};
use tower_oci::client::{Upstream, Upstreams};
use tower_oci::layer::cache::CacheLayer;
use tower_oci::layer::rewrite::{InjectedLayer, Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::{Operation, Request};
use tower_oci::spec::name::Host;
use tower_oci::store::blobs::DiskBlobs;
use tower_oci::wave::Wave;

use super::serving;

/// The tag whose images are rewritten.
pub(crate) const REWRITTEN: &str = "rewritten";

/// How much hyper queues for a reader, and takes in of a head: as [`OciService`] recommends.
const BUFFER: usize = 16 * 1024;

/// Serves what `origin` has, with a cache in `directory`, until standard input ends.
pub(crate) fn serve(origin: &str, directory: &str) {
    serving::serve(Some(BUFFER), async {
        let host: Host = origin.parse().expect("a host");
        let upstream = Upstream::builder(host.clone()).plain_http(true).allow_host(host.clone());
        let layer = InjectedLayer::from_tar(vec![0; 1024].into()).expect("a layer");
        let plan = Plan::builder().layer(layer).env("INJECTED=yes").build().expect("a plan");
        let rewrite = Rewrite::new(plan);
        let wave = Wave::builder("http://wave.test").build().expect("a service");
        let store = DiskBlobs::open(directory).await.expect("a store");
        ServiceBuilder::new()
            .layer(wave.images())
            .layer(RouteLayer::new(Routes::new().default_host(host)))
            .layer(RewriteLayer::new(move |request| plan_for(request, &rewrite)))
            .layer(CacheLayer::new(store))
            .service(Upstreams::builder().upstream(upstream).build().expect("an upstream"))
    });
}

/// What hyper does alone: answers everything with a manifest's worth of bytes, until standard input ends.
pub(crate) fn serve_fixed() {
    let content = Bytes::from(vec![b'x'; 1422]);
    serving::serve_http(Some(BUFFER), async move {
        service_fn(move |_| {
            let body = Full::new(content.clone());
            let response = Response::builder().header("content-type", "application/json").body(body);
            async move { Ok::<_, Infallible>(response.expect("a response")) }
        })
    });
}

fn plan_for(request: &Request, rewrite: &Rewrite) -> Option<Rewrite> {
    if let Some(token) = request.extensions().get::<Rewrite>() {
        return Some(token.clone());
    }
    let Operation::GetManifest(asked) = request.operation() else { return None };
    asked.reference.tag().is_some_and(|tag| tag.as_str() == REWRITTEN).then(|| rewrite.clone())
}
