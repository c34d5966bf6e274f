//! `WWW-Authenticate`: whatever a registry sends, what is read of it is bounded, and written anew it is read as the same.

use http::HeaderValue;
use tower_oci::http::challenge::{Challenge, parse};

pub(crate) fn run(data: &[u8]) {
    let lines: Vec<HeaderValue> =
        data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let challenges = parse(lines.iter());
    assert!(challenges.len() <= Challenge::MAX);
    let mut size = 0;
    for challenge in &challenges {
        assert!(!challenge.scheme.is_empty() && !challenge.scheme.contains(|c: char| c.is_ascii_uppercase()));
        assert!(challenge.parameters.len() <= Challenge::MAX_PARAMETERS);
        assert!(challenge.token68.is_none() || challenge.parameters.is_empty(), "one or the other");
        size += challenge.scheme.len() + challenge.token68.as_ref().map_or(0, String::len);
        for (name, value) in &challenge.parameters {
            assert!(challenge.parameter(name).is_some());
            size += name.len() + value.len();
        }
    }
    // A byte that is no UTF-8 is read as a replacement character of three.
    assert!(size <= 3 * data.len());

    let written = challenges.iter().map(write).collect::<Vec<_>>().join(", ");
    let Ok(line) = HeaderValue::from_bytes(written.as_bytes()) else {
        unreachable!("{written:?}");
    };
    assert_eq!(parse([&line].into_iter()), challenges, "{written}");
}

fn write(challenge: &Challenge) -> String {
    let mut text = challenge.scheme.clone();
    if let Some(token) = &challenge.token68 {
        text = format!("{text} {token}");
    }
    for (index, (name, value)) in challenge.parameters.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(if index == 0 { " " } else { ", " });
        text.push_str(&format!("{name}=\"{value}\""));
    }
    text
}
