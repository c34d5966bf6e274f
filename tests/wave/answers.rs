//! The JSON of answers, to the letter.

use http::{Method, StatusCode};
use tower_oci::spec::digest::Digest;

use super::support::{Layer, Service};

#[tokio::test]
async fn a_submission_is_answered_with_the_name_to_pull_by() {
    let service = Service::new();
    let answer = service.post(r#"{"containerImage":"busybox","containerConfig":{"env":["A=1"]}}"#).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let submitted: super::support::Submitted = serde_json::from_str(&answer.body).unwrap();
    let (token, digest) = (&submitted.container_token, submitted.target_digest);
    assert_eq!(
        answer.body,
        format!(
            "{{\"containerToken\":\"{token}\",\
             \"targetImage\":\"wave.test:8443/wt/{token}/library/busybox:latest\",\
             \"expiration\":\"2026-01-02T12:00:00Z\",\
             \"containerImage\":\"docker.io/library/busybox:latest\",\
             \"targetDigest\":\"{digest}\",\"freeze\":false,\"succeeded\":true}}"
        )
    );
    let source = Digest::sha256(b"library/busybox:latest");
    assert_eq!(digest, Digest::sha256(format!("{source} {}", service.seen()[0].plan).as_bytes()));
    assert_eq!((submitted.freeze, submitted.succeeded), (false, true));
}

#[tokio::test]
async fn names_keep_what_wave_keeps_of_them() {
    let service = Service::at("http://localhost:9090/", |wave| wave);
    let digest = Digest::sha256(b"x");
    for (image, looked_up, container_image, target) in [
        ("foo/busybox:bar", "HEAD foo/busybox bar", "docker.io/foo/busybox:bar", "foo/busybox:bar"),
        ("quay.io/busybox", "HEAD busybox latest", "quay.io/busybox:latest", "busybox:latest"),
        (
            "host:5000/fedora/httpd:version1.0",
            "HEAD fedora/httpd version1.0",
            "host:5000/fedora/httpd:version1.0",
            "fedora/httpd:version1.0",
        ),
        (
            &format!("busybox@{digest}"),
            &format!("HEAD library/busybox {digest}"),
            &format!("docker.io/library/busybox@{digest}"),
            "library/busybox@",
        ),
        (
            &format!("busybox:1@{digest}"),
            &format!("HEAD library/busybox {digest}"),
            &format!("docker.io/library/busybox:1@{digest}"),
            "library/busybox@",
        ),
    ] {
        let submitted = service.submit(&format!(r#"{{"containerImage":"{image}"}}"#)).await;
        assert_eq!(submitted.container_image, container_image);
        assert_eq!(service.seen().last().unwrap().what, looked_up);
        let prefix = format!("localhost:9090/wt/{}/", submitted.container_token);
        let name = submitted.target_image.strip_prefix(&prefix).unwrap();
        match target.strip_suffix('@') {
            Some(_) => assert_eq!(name, format!("{target}{}", submitted.target_digest)),
            None => assert_eq!(name, target),
        }
        assert_ne!(submitted.target_digest, digest);
    }
}

#[tokio::test]
async fn a_description_has_no_values_of_variables_and_no_signatures() {
    let service = Service::new();
    let layer = Layer::new();
    let http = format!(
        r#"{{"location":"https://layers.test:8080/a.tgz?sig=hunter2","gzipDigest":"{}","gzipSize":"10","tarDigest":"{}"}}"#,
        layer.digest, layer.diff_id
    );
    let body = format!(
        r#"{{"containerImage":"busybox","containerPlatform":"arm64","timestamp":"2026-01-01T01:00:00Z","fingerprint":"f",
        "containerConfig":{{"entrypoint":["/e"],"cmd":["c"],"workingDir":"/w","env":["PASSWORD=hunter2"],"layers":[{},{http}]}}}}"#,
        layer.json()
    );
    let submitted = service.submit(&body).await;
    let token = &submitted.container_token;
    let answer = service.ask(Method::GET, &format!("/container-token/{token}"), "").await;
    let (gzip, tar, size) = (layer.digest, layer.diff_id, layer.blob.len());
    assert_eq!(
        answer.body,
        format!(
            "{{\"token\":\"{token}\",\"expiration\":\"2026-01-02T12:00:00Z\",\"request\":{{\
             \"containerImage\":\"docker.io/library/busybox:latest\",\"containerConfig\":{{\
             \"entrypoint\":[\"/e\"],\"cmd\":[\"c\"],\"env\":[\"PASSWORD\"],\"workingDir\":\"/w\",\"layers\":[\
             {{\"gzipDigest\":\"{gzip}\",\"gzipSize\":{size},\"tarDigest\":\"{tar}\"}},\
             {{\"location\":\"https://layers.test:8080/a.tgz\",\"gzipDigest\":\"{gzip}\",\"gzipSize\":10,\"tarDigest\":\"{tar}\"}}]}},\
             \"containerPlatform\":\"linux/arm64\",\"timestamp\":\"2026-01-01T01:00:00Z\",\"fingerprint\":\"f\"}},\
             \"source\":{{\"image\":\"docker.io/library/busybox:latest\",\"digest\":\"{}\"}},\
             \"wave\":{{\"image\":\"{}\",\"digest\":\"{}\"}}}}",
            Digest::sha256(b"library/busybox:latest"),
            submitted.target_image,
            submitted.target_digest
        )
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_description_leaves_out_what_is_absent() {
    let service = Service::with(|wave| wave.default_platforms([]));
    let submitted = service.submit(r#"{"containerImage":"busybox"}"#).await;
    let answer =
        service.ask(Method::GET, &format!("/container-token/{}", submitted.container_token), "").await;
    assert!(
        answer.body.contains(
            r#""request":{"containerImage":"docker.io/library/busybox:latest","containerConfig":{}},"#
        ),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("null"));
}

#[tokio::test]
async fn service_info() {
    let service = Service::with(|wave| wave.version("1.2.3", Some("c0ffee")));
    let answer = service.ask(Method::GET, "/service-info", "").await;
    assert_eq!(answer.body, r#"{"serviceInfo":{"version":"1.2.3","commitId":"c0ffee"}}"#);
    assert_eq!(answer.headers["content-type"], "application/json");
    let answer = Service::new().ask(Method::GET, "/service-info", "").await;
    assert_eq!(answer.body, format!(r#"{{"serviceInfo":{{"version":"{}"}}}}"#, env!("CARGO_PKG_VERSION")));
}
