//! What a client is told of each fault of an upstream: through the cache the same as without it.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tower::Layer as _;
use tower_oci::error::Error;
use tower_oci::layer::cache::CacheLayer;
use tower_oci::operation::{BlobContent, BoxRegistry, Registry as _};
use tower_oci::spec::digest::Digest;
use tower_oci::store::blobs::MemoryBlobs;

use crate::faults::{Network, SIZE, faults};
use crate::origin::{content, whole};

/// Status and code of what was answered, and of what came in place of its end.
async fn told(registry: &BoxRegistry, digest: Digest) -> String {
    let words = |error: Error| format!("{} {}", error.status().as_u16(), error.code().as_str());
    let blob = match registry.send(whole(digest)).await {
        Ok(response) => response.into_reply(),
        Err(error) => return words(error),
    };
    let BlobContent::Whole(mut body) = blob.content else { panic!("{blob:?}") };
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.data_ref().unwrap().len(),
            Err(error) => return format!("200, then {}", words(error)),
        }
    }
    assert_eq!(length, SIZE);
    "200".to_owned()
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_told_as_it_is() {
    let blob = content(SIZE);
    let digest = Digest::sha256(&blob);
    let mut found = Vec::new();
    for (name, faults, is_survived) in faults() {
        let mut both = Vec::new();
        for is_cached in [false, true] {
            let network = Network::new(&blob);
            for (when, fault) in faults.clone() {
                (network.faults)(when, fault);
            }
            let registry = match is_cached {
                true => {
                    let store = MemoryBlobs::with_capacity(1 << 24);
                    BoxRegistry::new(CacheLayer::new(store).breaker(None).layer(network.upstream.clone()))
                }
                false => BoxRegistry::new(network.upstream.clone()),
            };
            let told = timeout(Duration::from_secs(3600), told(&registry, digest)).await;
            both.push(told.unwrap_or_else(|_| "it hangs".to_owned()));
        }
        // The time-out for the bytes of a body is the transport's, which this network isn't; the cache has its own.
        // And a page that is all there at once is found out before the head, where a connection would give it later.
        let plain = match name {
            "stall" => "it hangs",
            "HTML" => "502 DIGEST_INVALID",
            _ => &both[1],
        };
        assert_eq!(both[0], plain, "{name}: without the cache, and with it");
        assert_eq!(both[1] == "200", is_survived, "{name}");
        found.push(format!("{name}: {}", both[1]));
    }
    assert_eq!(found, TOLD);
}

const TOLD: [&str; 38] = [
    "nothing: 200",
    "one flipped byte: 200, then 502 DIGEST_INVALID",
    "one flipped byte at the end: 200, then 502 DIGEST_INVALID",
    "cut off: 200",
    "cut off at once: 200",
    "cut off before the last byte: 200",
    "cut off each time: 200, then 503 UNSUPPORTED",
    "gone in the middle: 200, then 503 UNSUPPORTED",
    "ends early: 200, then 502 DIGEST_INVALID",
    "trickle: 200",
    "stall: 200, then 504 UNSUPPORTED",
    "close: 503 UNSUPPORTED",
    "close once: 200",
    "hang: 504 UNSUPPORTED",
    "delay: 200",
    "429 with seconds: 429 TOOMANYREQUESTS",
    "429 with a date: 429 TOOMANYREQUESTS",
    "429: 429 TOOMANYREQUESTS",
    "500: 502 UNSUPPORTED",
    "502 and then fine: 200",
    "503 and then fine: 200",
    "504: 504 UNSUPPORTED",
    "a foreign realm: 503 UNSUPPORTED",
    "a redirect to another origin: 200",
    "a redirect loop: 502 UNSUPPORTED",
    "200 for a range: 200",
    "wrong Content-Range: 200, then 502 DIGEST_INVALID",
    "changed meanwhile: 200, then 502 DIGEST_INVALID",
    "no Content-Length: 200",
    "no Content-Length and cut off: 200",
    "no digest: 200",
    "wrong digest: 502 DIGEST_INVALID",
    "wrong digest in a header that is none: 200",
    "HTML: 200, then 502 DIGEST_INVALID",
    "gzip: 502 UNSUPPORTED",
    "an expired token as 403: 403 DENIED",
    "401: 403 DENIED",
    "404: 404 BLOB_UNKNOWN",
];
