//! A Wave token in a path is a credential, also where the path is wrong.

use tower_layer::Layer as _;
use tower_oci::layer::route::{RouteLayer, Routes};
use tower_oci::operation::Handlers;

use crate::wire::serve;

#[tokio::test]
async fn errors_show_no_wave_token() {
    let server = serve(RouteLayer::new(Routes::new()).layer(Handlers::new())).await;
    for (path, message) in [
        ("/v2/wt/secret/team/app/foo", "the registry API has no endpoint `/v2/wt/_/team/app/foo`"),
        (
            "/v2/wt/secret/App/manifests/v1",
            "invalid repository name `wt/_/App`: its components are not lower-case letters and digits, separated by \
             `.`, `_`, `__` or dashes",
        ),
        (
            "/v2/wt%2fsecret%2fapp/manifests/v1",
            "invalid repository name `wt/_/app`: it must stand in the path without escapes",
        ),
        ("/v2/wt/secret/app/manifests/v1", "the name `wt/_/app` means no registry that is served here"),
        ("/v2/_catalog", "no registry is named, and there is no default one"),
    ] {
        let answer = server.get(path, "").await;
        assert!(answer.text().contains(&format!("\"message\":\"{message}\"")), "{path}: {}", answer.text());
    }
}
