//! The keys that platforms encrypt with.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::support::{World, failure, pairing_request};
use tower_oci::operation::Credential;

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn the_answer_is_a_key_and_its_name() {
    let world = World::unpaired(|platforms| platforms);
    let pairing = world.platforms.pair(pairing_request(&world.endpoint).as_bytes()).await.unwrap();
    let expected =
        serde_json::json!({ "pairingId": pairing.pairing_id(), "publicKey": pairing.public_key() });
    assert_eq!(serde_json::to_value(&pairing).unwrap(), expected);
    assert_eq!(pairing.pairing_id().len(), 32);
    // SubjectPublicKeyInfo of an RSA key of 2048 bits: the algorithm's identifier stands at a known place.
    let key = BASE64_STANDARD.decode(pairing.public_key()).unwrap();
    assert_eq!(key.len(), 294);
    assert_eq!(key[4..19], [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0]);
}

#[tokio::test]
async fn a_platform_keeps_its_key_for_a_day_in_all_processes_and_however_many_ask() {
    let world = World::unpaired(|platforms| platforms);
    let request = pairing_request(&world.endpoint);
    let asks = (0..8).map(|_| world.platforms.pair(request.as_bytes()));
    let answers: Vec<_> =
        futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    world.advance(DAY - 1);
    // In another form.
    let request = pairing_request(&world.endpoint.replace("http:", "HTTP:"));
    assert_eq!(world.restarted().pair(request.as_bytes()).await.unwrap(), answers[0]);
    world.advance(1);
    let next = world.restarted().pair(request.as_bytes()).await.unwrap();
    assert_ne!(next, answers[0]);
    assert_eq!(world.platforms.pair(request.as_bytes()).await.unwrap(), next);
}

#[tokio::test]
async fn the_key_before_decrypts_too_and_each_for_thirty_days() {
    let world = World::new().await;
    world.platform.registry(None, "one", Some("quay.io"), "robot", "hunter2");
    let found = || async { world.find("quay.io", "a").await };
    world.advance(DAY);
    // The platform didn't hear of the new one, and goes on with what it has.
    world.platforms.pair(pairing_request(&world.endpoint).as_bytes()).await.unwrap();
    assert_eq!(found().await.unwrap(), Credential::basic("robot", "hunter2"));
    world.advance(29 * DAY);
    let expected = (502, format!("{} answered with keys that can't be decrypted", world.name()));
    assert_eq!(failure(found().await), expected);
    world.advance(DAY);
    let expected = (400, format!("`towerEndpoint`: {} has not paired with this service", world.name()));
    assert_eq!(failure(found().await), expected);
    world.pair().await;
    assert!(found().await.is_ok());
}

#[tokio::test]
async fn who_may_not_pair_is_told_why() {
    let world = World::unpaired(|platforms| platforms);
    let other = "this service doesn't take credentials from this platform";
    for (body, message) in [
        (
            pairing_request("https://platform.example"),
            format!("`endpoint`: `https://platform.example`: {other}"),
        ),
        (
            pairing_request("platform"),
            "`endpoint`: `platform`: it starts with neither `https://` nor `http://`".to_owned(),
        ),
        (
            r#"{"service":"fusion","endpoint":"https://platform.example"}"#.to_owned(),
            "`service` is `fusion`: only `tower` can pair".to_owned(),
        ),
        (
            r#"{"service":"tower"}"#.to_owned(),
            "the pairing request can't be read: missing field `endpoint` at line 1 column 19".to_owned(),
        ),
        (" ".repeat(16385), "a pairing request has 16385 bytes, more than 16384".to_owned()),
    ] {
        assert_eq!(failure(world.platforms.pair(body.as_bytes()).await), (400, message));
    }
}
