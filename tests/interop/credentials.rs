//! Registries that want credentials, which the service has and its clients haven't.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::client::skopeo::{Skopeo, Take};
use crate::support::agree::check;
use crate::support::image::{Image, Kind, image, marker_layer};
use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::token::{Asked, TokenService};
use crate::support::wave::Wave;

#[test]
fn basic_credentials_go_upstream() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let registry = Registry::basic();
    let image = image(Kind::OciAttested);
    registry.push(image);
    let wave = Wave::with_credentials(&registry, &[], &docker_config(&registry, PASSWORD));
    pulls(&wave, &registry, image);
}

#[test]
fn a_bearer_token_is_fetched_with_basic_credentials_once() {
    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let service = TokenService::start();
    let registry = Registry::bearer(&service);
    let image = image(Kind::OciAttested);
    registry.push(image);
    let config = docker_config(&registry, PASSWORD);
    let wave = Wave::with_credentials(&registry, &[service.address()], &config);
    pulls(&wave, &registry, image);
    let query = [("scope", "repository:test/oci-attested:pull"), ("service", TokenService::SERVICE)];
    let expected = Asked {
        path: "/auth/token".to_owned(),
        query: query
            .into_iter()
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .collect::<BTreeMap<_, _>>(),
        authorized: true,
    };
    let mut asked = service.asked();
    for asked in &mut asked {
        // A client may say who asks; the answer doesn't depend on it.
        asked.query.remove("account");
        asked.query.remove("client_id");
    }
    assert_eq!(asked, [expected]);
}

#[test]
fn a_wrong_password_is_told_without_being_shown() {
    need!("examples/wave", "docker-registry", "busybox");
    let service = TokenService::start();
    for registry in [Registry::basic(), Registry::bearer(&service)] {
        let image = image(Kind::DockerManifest);
        registry.push(image);
        let config = docker_config(&registry, "not the password");
        let wave = Wave::with_credentials(&registry, &[service.address()], &config);
        let answer = wave.ask(&registry.name(image), "linux/amd64", &marker_layer());
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), None);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(&registry.address.to_string()), "{message}");
        assert!(!answer.text().contains("not the password"));
    }
}

/// Pulls one image through the service, without credentials of the client's.
fn pulls(wave: &Wave, registry: &Registry, image: &Image) {
    let layer = marker_layer();
    let token = wave.token(&registry.name(image), "linux/amd64", &layer);
    let copied = Skopeo::new().copy(&token.image, Take::One, image.kind.name());
    check(image.kind, &copied.root(), |digest| copied.blob(digest), Some(&layer));
    wave.check_log([&token]);
}

fn docker_config(registry: &Registry, password: &str) -> Value {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    json!({"auths": {registry.address.to_string(): {"auth": auth}}})
}
