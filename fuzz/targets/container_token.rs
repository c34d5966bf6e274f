//! Container-token requests: whatever comes, the answer is a plan or a short text that says what is wrong with the
//! request; the same request means the same, however its JSON is written.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::Value;
use tower_oci::error::ErrorKind;
use tower_oci::spec::name::ImageName;
use tower_oci::wave::{HttpLayers, Limits, Wave};

/// A service whose layers inflate to little, so that an input doesn't take long.
static WAVE: LazyLock<Wave> = LazyLock::new(|| {
    let mut limits = Limits::default();
    limits.layer = limits.layer.with_max_inflated(1 << 20);
    let wave = Wave::builder("http://localhost:9090").limits(limits).http_layers(HttpLayers::Stream);
    wave.build().unwrap_or_else(|error| unreachable!("{error}"))
});

pub(crate) fn run(data: &[u8]) {
    let (image, plan) = match WAVE.read_request(data) {
        Ok(read) => read,
        Err(error) => {
            assert!(
                matches!(error.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED),
                "{error:?}"
            );
            assert!(!matches!(error.kind(), ErrorKind::Internal), "{error:?}");
            let message = error.to_string();
            assert!(!message.is_empty() && message.chars().count() < 1000, "{message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
            return;
        }
    };
    if let Some(image) = &image {
        assert_eq!(image.to_string().parse::<ImageName>().as_ref(), Ok(image));
        assert_ne!(image.registry().as_str(), "localhost:9090");
        assert!(!plan.platforms().is_empty());
    }
    assert!(plan.env().iter().all(|entry| entry.contains('=')));
    for layer in plan.layers() {
        assert!(
            layer
                .bytes()
                .is_none_or(|bytes| { bytes.len() as u64 == layer.size() && layer.digest().matches(bytes) })
        );
    }

    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        unreachable!("what was read is JSON");
    };
    let again = WAVE.read_request(value.to_string().as_bytes());
    let again = again.unwrap_or_else(|error| unreachable!("written anew it is refused: {error}"));
    assert_eq!((again.0, again.1.digest()), (image, plan.digest()));
}
