use proptest::prelude::*;

use super::*;

const LOCATION: &str = "/v2/team/app/blobs/uploads/1?_state=a%2Fb&sig=0f";

fn seal(key: char) -> Seal {
    Seal::new(&Secret::from(key.to_string().repeat(32))).unwrap()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_location_comes_back_where_it_belongs_and_nowhere_else() {
    let (upstream, name) = (host("registry.example"), repository("team/app"));
    let purpose = Purpose { upstream: &upstream, repository: &name };
    let id = seal('k').close(purpose, LOCATION, at(1000)).unwrap();
    assert_eq!(seal('k').open(purpose, &id, at(1000)).as_deref(), Some(LOCATION));
    // It says nothing of what is in it, and the same location is never the same identity.
    assert_eq!((LOCATION.len(), id.as_str().len()), (48, 139));
    let plain = BASE64_URL_SAFE_NO_PAD.decode(id.as_str()).unwrap();
    assert!(!plain.windows(4).any(|window| LOCATION.as_bytes().windows(4).any(|part| part == window)));
    assert_ne!(seal('k').close(purpose, LOCATION, at(1000)).unwrap(), id);

    assert_eq!(seal('l').open(purpose, &id, at(1000)), None, "another key");
    assert_eq!(Seal::random().unwrap().open(purpose, &id, at(1000)), None, "a random key");
    for (other, name) in [
        ("registry.example", "team/apq"),
        ("registry.example", "team/app/x"),
        ("registry.exampla", "team/app"),
        ("other.example", "team/app"),
        ("registry.examplet", "eam/app"),
    ] {
        let (other, name) = (host(other), repository(name));
        let purpose = Purpose { upstream: &other, repository: &name };
        assert_eq!(seal('k').open(purpose, &id, at(1000)), None, "{other} {name}");
    }
}

#[test]
fn a_location_holds_for_a_day() {
    let (upstream, name) = (host("registry.example"), repository("team/app"));
    let purpose = Purpose { upstream: &upstream, repository: &name };
    let id = seal('k').close(purpose, LOCATION, at(1000)).unwrap();
    assert!(seal('k').open(purpose, &id, at(1000 + 24 * 60 * 60 - 1)).is_some());
    assert_eq!(seal('k').open(purpose, &id, at(1000 + 24 * 60 * 60)), None);
}

#[test]
fn what_is_too_long_and_keys_too_short_are_refused() {
    let (upstream, name) = (host("registry.example"), repository("team/app"));
    let purpose = Purpose { upstream: &upstream, repository: &name };
    let longest = "x".repeat(MAX_LOCATION);
    let id = seal('k').close(purpose, &longest, at(1000)).unwrap();
    assert_eq!((id.as_str().len(), MAX_LOCATION), (UploadId::MAX_LEN, 1480));
    assert_eq!(seal('k').open(purpose, &id, at(1000)), Some(longest.clone()));
    let error = seal('k').close(purpose, &format!("{longest}x"), at(1000)).unwrap_err();
    assert_eq!(
        (error.status().as_u16(), error.to_string()),
        (502, "the location of the upload has 1481 bytes, 1480 may be".to_owned())
    );
    let error = Seal::new(&Secret::from("k".repeat(31))).err().unwrap();
    assert_eq!(error.to_string(), "the key for uploads is shorter than 32 bytes");
}

proptest! {
    #[test]
    fn every_location_comes_back(location in "/[ -~]{0,300}") {
        let (upstream, name) = (host("registry.example"), repository("team/app"));
        let purpose = Purpose { upstream: &upstream, repository: &name };
        let id = seal('k').close(purpose, &location, at(1000)).unwrap();
        prop_assert_eq!(seal('k').open(purpose, &id, at(1000)), Some(location));
    }

    #[test]
    fn what_we_did_not_seal_is_refused(text in "[A-Za-z0-9_~=-][A-Za-z0-9_.~=-]{0,200}") {
        let (upstream, name) = (host("registry.example"), repository("team/app"));
        let purpose = Purpose { upstream: &upstream, repository: &name };
        prop_assert_eq!(seal('k').open(purpose, &text.parse().unwrap(), at(1000)), None);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused(bit in 0usize..6 * 139, length in 0usize..139) {
        let (upstream, name) = (host("registry.example"), repository("team/app"));
        let purpose = Purpose { upstream: &upstream, repository: &name };
        let id = seal('k').close(purpose, LOCATION, at(1000)).unwrap();
        // Bits of the characters, so that what base64 leaves unused is flipped as well.
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = id.as_str().as_bytes().to_vec();
        let place = bit / 6;
        let value = ALPHABET.iter().position(|known| *known == text[place]).unwrap();
        text[place] = ALPHABET[value ^ (1 << (bit % 6))];
        let flipped: UploadId = String::from_utf8(text).unwrap().parse().unwrap();
        prop_assert_eq!(seal('k').open(purpose, &flipped, at(1000)), None);
        if let Ok(cut) = id.as_str()[..length].parse() {
            prop_assert_eq!(seal('k').open(purpose, &cut, at(1000)), None);
        }
    }
}
