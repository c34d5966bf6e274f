//! Putting content into a registry.

use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;

use super::load::Client;

/// In two requests, as containerd does.
pub(crate) fn blob(client: &mut Client, repository: &str, digest: &Digest, content: &[u8]) {
    let path = format!("/v2/{repository}/blobs/uploads/");
    assert_eq!(client.send("POST", &path, "content-length: 0\r\n", &[]).status, 202);
    let location = client.location.clone().expect("a location");
    let path = location.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
    let path = path.unwrap_or(location);
    let joined = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{joined}digest={digest}");
    let status = client.send("PUT", &path, "content-type: application/octet-stream\r\n", content).status;
    assert_eq!(status, 201);
}

pub(crate) fn manifest(client: &mut Client, repository: &str, reference: &str, content: &[u8]) {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let header = format!("content-type: {}\r\n", MediaType::OCI_MANIFEST);
    assert_eq!(client.send("PUT", &path, &header, content).status, 201);
}
