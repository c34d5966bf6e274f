//! Layers that have nothing to do, over registries.

use tower::ServiceBuilder;
use tower_oci::client::Upstreams;
use tower_oci::hosted::Memory;
use tower_oci::layer::rewrite::{Plan, Rewrite, RewriteLayer};
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::layer::verify::VerifyLayer;
use tower_oci::spec::name::Host;
use tower_oci::testing::conformance::Target;

use crate::proxy::Setting;
use crate::row::{BY_DEFAULT, on_a_socket, passes};

/// A plan that changes nothing, for every request.
fn nothing() -> RewriteLayer {
    let rewrite = Rewrite::new(Plan::builder().build().unwrap());
    RewriteLayer::new(move |_| Some(rewrite.clone()))
}

#[tokio::test]
async fn route_and_rewrite() {
    let host: Host = "registry.example".parse().unwrap();
    let registry = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(nothing())
        .layer(VerifyLayer::new())
        .service(Memory::new());
    let served = on_a_socket(registry);
    passes("route, rewrite, verify → memory", 169, Target::new(served.url("")).without(BY_DEFAULT)).await;
    served.stop().await;
}

#[tokio::test]
async fn the_whole_stack() {
    let setting = Setting::new(Memory::builder());
    let host: Host = setting.behind.addr().to_string().parse().unwrap();
    let registry = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::new().default_host(host)))
        .layer(nothing())
        .layer(VerifyLayer::new())
        .service(Upstreams::builder().upstream(setting.upstream()).build().unwrap());
    let served = on_a_socket(registry);
    let target = Target::new(served.url("")).without(BY_DEFAULT);
    passes("route, rewrite, verify → Upstreams → memory", 169, target).await;
    served.stop().await;
}
