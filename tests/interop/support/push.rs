//! Pushing an image to a registry, by the short way: each blob in one piece, then the manifests.

use std::net::SocketAddr;

use crate::support::http::send;
use crate::support::image::{Image, digest};

/// Pushes all of an image; `authorization` is a whole header value.
pub(crate) fn push(image: &Image, to: SocketAddr, authorization: Option<&str>) {
    let repository = &image.repository;
    let authorization: Vec<(&str, &str)> =
        authorization.into_iter().map(|value| ("Authorization", value)).collect();
    for (digest, blob) in &image.blobs {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let started = send(to, "POST", &target, &authorization, &[]);
        assert_eq!(started.status, 202, "POST {target}: {}", started.text());
        let location = started.header("location").expect("a Location for the upload");
        let path = location.strip_prefix(&format!("http://{to}")).unwrap_or(location);
        let join = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{join}digest={digest}");
        let mut headers = authorization.clone();
        headers.push(("Content-Type", "application/octet-stream"));
        let stored = send(to, "PUT", &target, &headers, blob);
        assert_eq!(stored.status, 201, "PUT {target}: {}", stored.text());
    }
    for manifest in &image.manifests {
        let target = format!("/v2/{repository}/manifests/{}", manifest.reference);
        let mut headers = authorization.clone();
        headers.push(("Content-Type", manifest.media_type));
        let stored = send(to, "PUT", &target, &headers, &manifest.bytes);
        assert_eq!(stored.status, 201, "PUT {target}: {}", stored.text());
        assert_eq!(stored.header("docker-content-digest"), Some(digest(&manifest.bytes).as_str()));
    }
}
