//! Registries that want credentials, which the service has and its clients haven't.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::skopeo::{Skopeo, Take};
use crate::support::agree::check;
use crate::support::embedded::Embedded;
use crate::support::image::{Image, Kind, image, marker_layer};
use crate::support::registry::{PASSWORD, Registry};
use crate::support::token::{Asked, TokenService};
use crate::support::wave::{Token, ask};

const HERE: &str = "linux/amd64";
const WRONG: &str = "not the password";

#[cfg(feature = "docker-config")]
#[test]
fn basic_credentials_of_a_docker_config_go_upstream() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use crate::support::registry::USER;
    use crate::support::wave::Wave;

    need!("examples/wave", "docker-registry", "busybox", "skopeo");
    let registry = Registry::basic();
    let image = image(Kind::OciAttested);
    registry.push(image);
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({"auths": {registry.address.to_string(): {"auth": auth}}});
    let wave = Wave::with_credentials(&registry, &config);
    let token = pulls(wave.address, &registry, image);
    wave.check_log([&token]);
}

#[test]
fn a_bearer_token_is_fetched_once_with_the_credentials() {
    need!("docker-registry", "busybox", "skopeo");
    let service = TokenService::start();
    let registry = Registry::bearer(&service);
    let image = image(Kind::OciAttested);
    registry.push(image);
    let embedded = Embedded::start(&registry, PASSWORD, Some(service.address()));
    pulls(embedded.address, &registry, image);
    assert_eq!(service.asked(), [asked(image, true)]);
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    need!("docker-registry", "busybox");
    let image = image(Kind::DockerManifest);

    let registry = Registry::basic();
    registry.push(image);
    let embedded = Embedded::start(&registry, WRONG, None);
    tells(&refused(embedded.address, &registry, image), &["answered with 401", "refuses the credentials"]);

    let service = TokenService::start();
    let registry = Registry::bearer(&service);
    registry.push(image);
    let embedded = Embedded::start(&registry, WRONG, Some(service.address()));
    let realm = format!("the token service http://{} answered 401", service.address());
    let scope = format!("repository:{}:pull", image.repository);
    tells(&refused(embedded.address, &registry, image), &[&realm, &scope, "wrong user or password"]);
    assert_eq!(service.asked(), [asked(image, false)]);
}

#[test]
fn a_token_service_that_nobody_named_is_asked_nothing() {
    need!("docker-registry", "busybox");
    let image = image(Kind::DockerManifest);
    let service = TokenService::start();
    let registry = Registry::bearer(&service);
    registry.push(image);
    let embedded = Embedded::start(&registry, PASSWORD, None);
    let realm = format!("the token service http://{}: ", service.address());
    tells(&refused(embedded.address, &registry, image), &[&realm, "is a loopback address"]);
    assert_eq!(service.asked(), []);
}

/// Pulls an image through the service, with no credentials of the client's.
fn pulls(service: SocketAddr, registry: &Registry, image: &Image) -> Token {
    let layer = marker_layer();
    let token = Token::of(service, &registry.name(image), HERE, &layer);
    let skopeo = Skopeo::new();
    let copied = skopeo.copy(&token.image, Take::One, image.kind.name());
    check(image.kind, &copied.root(), |digest| copied.blob(digest), Some(&layer));
    token
}

/// The message with which the service refuses an image; it names the image and the registry.
fn refused(service: SocketAddr, registry: &Registry, image: &Image) -> String {
    let answer = ask(service, &registry.name(image), HERE, &marker_layer());
    assert_eq!(answer.status, 400, "{}", answer.text());
    // An upstream's challenge is no business of the service's clients.
    assert_eq!(answer.header("www-authenticate"), None);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let message = body["message"].as_str().unwrap();
    tells(message, &[&registry.name(image)]);
    for secret in [PASSWORD, WRONG] {
        assert!(!message.contains(secret), "a password in {message}");
    }
    message.to_owned()
}

/// The exact words are pinned where they are made; here it counts what they say.
fn tells(message: &str, facts: &[&str]) {
    for fact in facts {
        assert!(message.contains(fact), "no `{fact}` in {message}");
    }
}

/// What the token service is asked for a pull of an image.
fn asked(image: &Image, authorized: bool) -> Asked {
    let query = [
        ("scope", format!("repository:{}:pull", image.repository)),
        ("service", TokenService::SERVICE.to_owned()),
    ];
    Asked {
        path: "/auth/token".to_owned(),
        query: query.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect(),
        authorized,
    }
}
