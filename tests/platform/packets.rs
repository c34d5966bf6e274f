//! Packets that aren't what they should be: one error, whatever is wrong with them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::support::{World, failure};

/// The packet with its field `at` changed by `change`, which gets what the base64 of it holds.
fn with_bytes(packet: &str, at: usize, change: impl Fn(&mut Vec<u8>)) -> String {
    let mut fields: Vec<String> = packet.split('\\').map(str::to_owned).collect();
    let mut bytes = BASE64_STANDARD.decode(&fields[at]).unwrap();
    change(&mut bytes);
    fields[at] = BASE64_STANDARD.encode(bytes);
    fields.join("\\")
}

#[tokio::test]
async fn whatever_is_wrong_with_a_packet_the_answer_is_the_same() {
    let world = World::new().await;
    world.platform.registry(None, "one", Some("quay.io"), "robot", "canary");
    let expected = (502, format!("{} answered with keys that can't be decrypted", world.name()));
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 15] = [
        ("empty", |_| String::new()),
        ("a field too few", |packet| packet.rsplit_once('\\').unwrap().0.to_owned()),
        ("a field too many", |packet| format!(r"{packet}\x")),
        ("another version", |packet| packet.replacen('1', "2", 1)),
        ("another kind", |packet| packet.replacen('P', "S", 1)),
        ("a session key that is no base64", |packet| packet.replacen(r"P\", r"P\!", 1)),
        ("data that is no base64", |packet| format!("{packet}!")),
        ("no session key", |packet| with_bytes(packet, 2, Vec::clear)),
        ("a session key that is too short", |packet| with_bytes(packet, 2, |key| key.truncate(255))),
        ("a session key with a bit turned over", |packet| with_bytes(packet, 2, |key| key[100] ^= 1)),
        ("a session key of zeros", |packet| with_bytes(packet, 2, |key| key.fill(0))),
        ("no data", |packet| with_bytes(packet, 3, Vec::clear)),
        ("data that is no whole block", |packet| {
            with_bytes(packet, 3, |data| {
                data.pop();
            })
        }),
        ("wrong padding", |packet| with_bytes(packet, 3, |data| *data.last_mut().unwrap() ^= 1)),
        ("data with a bit turned over", |packet| with_bytes(packet, 3, |data| data[0] ^= 1)),
    ];
    for (what, change) in changes {
        world.platform.damage(change);
        let result = world.find("quay.io", "a").await;
        assert!(!format!("{result:?}").contains("canary"));
        assert_eq!(failure(result), expected, "{what}");
    }
    world.platform.damage(str::to_owned);
    assert!(world.find("quay.io", "a").await.is_ok());
}
