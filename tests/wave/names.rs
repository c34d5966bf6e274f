//! Names under a token: what reaches the image stack, and what doesn't.

use tower_oci::body::Body;
use tower_oci::error::{ErrorCode, ErrorKind};
use tower_oci::operation::{
    CancelUpload, DeleteBlob, DeleteManifest, FinishUpload, GetManifest, Handlers, ListRepositories,
    ListTags, Mount, Operation, Origin, Ping, Pong, PutManifest, Registry as _, Request, StartUpload,
    UploadChunk, UploadStarted, UploadState, UploadStatus,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::{Host, Reference, Repository};
use tower_oci::wave::Wave;

use super::support::Service;

fn latest() -> Reference {
    "latest".parse().unwrap()
}

#[tokio::test]
async fn a_pull_is_mapped_and_pinned() {
    let service = Service::new();
    let submitted = service.submit(r#"{"containerImage":"quay.io/a/b:v1"}"#).await;
    let name: Repository = format!("wt/{}/a/b", submitted.container_token).parse().unwrap();
    let request = Request::new(GetManifest::new(name.clone(), "v1".parse().unwrap()));
    let manifest = service.images.send(request).await.unwrap().into_reply().full().unwrap();
    assert_eq!(
        manifest.digest,
        Digest::sha256(format!("{} {}", Digest::sha256(b"a/b:v1"), service.seen()[0].plan).as_bytes())
    );
    let tags = service.images.send(Request::new(ListTags::new(name.clone()))).await.unwrap().into_reply();
    assert_eq!(tags.repository, name, "the name in the answer is the one that was asked for");
    let seen = service.seen();
    assert_eq!(
        seen.iter().map(|seen| seen.what.as_str()).collect::<Vec<_>>(),
        ["HEAD a/b v1", "GET a/b v1", "tags a/b"]
    );
    for pull in &seen[1..] {
        assert_eq!((pull.origin.as_str(), pull.tag.as_deref(), pull.pinned), ("quay.io", Some("v1"), true));
        assert_eq!(pull.plan, seen[0].plan);
    }
}

#[tokio::test]
async fn an_image_named_by_digest_has_no_tag() {
    let service = Service::new();
    let body = format!(r#"{{"containerImage":"busybox:1@{}"}}"#, Digest::sha256(b"x"));
    let submitted = service.submit(&body).await;
    let name: Repository = format!("wt/{}/library/busybox", submitted.container_token).parse().unwrap();
    let request = Request::new(GetManifest::new(name, submitted.target_digest.into()));
    service.images.send(request).await.unwrap();
    let pull = service.seen().pop().unwrap();
    assert_eq!(pull.what, format!("GET library/busybox {}", submitted.target_digest));
    assert_eq!((pull.tag, pull.pinned), (None, true));
}

#[tokio::test]
async fn another_repository_is_not_what_the_token_is_for() {
    let service = Service::new();
    let token = service.submit(r#"{"containerImage":"quay.io/a/b:v1"}"#).await.container_token;
    for (name, message) in [
        (format!("wt/{token}/a"), "the container token is for another repository"),
        (format!("wt/{token}/a/b/c"), "the container token is for another repository"),
        (format!("wt/{token}"), "unknown container token"),
        ("wt".to_owned(), "unknown container token"),
        ("wt/a/b".to_owned(), "unknown container token"),
        (format!("wt/{}/a/b", "a".repeat(40)), "unknown container token"),
    ] {
        let request = Request::new(GetManifest::new(name.parse().unwrap(), latest()));
        let error = service.images.send(request).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (ErrorCode::NameUnknown, 404), "{name}");
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?}").contains(&token));
    }
    assert_eq!(service.seen().len(), 1, "only the submission went down");
}

#[tokio::test]
async fn only_pulls_are_answered_under_a_token() {
    let service = Service::new();
    let token = service.submit(r#"{"containerImage":"quay.io/a/b:v1"}"#).await.container_token;
    let name: Repository = format!("wt/{token}/a/b").parse().unwrap();
    let digest = Digest::sha256(b"");
    let upload: tower_oci::operation::UploadId = "u".parse().unwrap();
    let operations: [Operation; 8] = [
        PutManifest::new(name.clone(), latest(), MediaType::OCI_MANIFEST, "{}".into()).into(),
        DeleteManifest::new(name.clone(), latest()).into(),
        DeleteBlob::new(name.clone(), digest).into(),
        StartUpload::new(name.clone()).into(),
        UploadChunk::new(name.clone(), upload.clone(), Body::empty()).into(),
        FinishUpload::new(name.clone(), upload.clone(), digest, Body::empty()).into(),
        UploadStatus::new(name.clone(), upload.clone()).into(),
        CancelUpload::new(name, upload).into(),
    ];
    for operation in operations {
        let kind = operation.kind();
        let error =
            tower::ServiceExt::oneshot(service.images.clone(), Request::new(operation)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, ErrorCode::Denied), "{kind:?}");
        assert_eq!(error.to_string(), "an image under a container token can only be pulled");
    }
}

/// A registry that shows what it was asked.
fn registry() -> Handlers {
    Handlers::new()
        .on(|_: Request<Ping>| async { Ok(Pong::new()) })
        .on(|request: Request<ListTags>| async move {
            let repository = request.into_operation().repository;
            Ok(tower_oci::operation::Tags::new(repository, Vec::new(), None))
        })
        .on(|_: Request<ListRepositories>| async { Ok(tower_oci::operation::Repositories::default()) })
        .on(|request: Request<StartUpload>| async move {
            assert_eq!(request.operation().mount, None, "nothing is mounted out of a token's repository");
            Ok(UploadStarted::Open(UploadState::new("u".parse()?, 0)))
        })
}

#[tokio::test]
async fn other_names_pass() {
    let wave = Wave::builder("http://localhost:9090").build().unwrap();
    let images = tower_layer::Layer::layer(&wave.images(), registry());
    images.send(Request::new(Ping::new())).await.unwrap();
    images.send(Request::new(ListRepositories::new())).await.unwrap();
    for name in ["a/b", "wtf/a", "a/wt/b"] {
        let tags = images.send(Request::new(ListTags::new(name.parse().unwrap()))).await.unwrap();
        assert_eq!(tags.reply().repository.as_str(), name);
    }
    // A layer above has decided already: here `wt` is the registry's own.
    let mut request = Request::new(ListTags::new("wt/a/b".parse().unwrap()));
    request.extensions_mut().insert(Origin::new(Host::docker_hub()));
    assert_eq!(images.send(request).await.unwrap().reply().repository.as_str(), "wt/a/b");
}

#[tokio::test]
async fn nothing_is_mounted_out_of_a_tokens_repository() {
    let wave = Wave::builder("http://localhost:9090").build().unwrap();
    let images = tower_layer::Layer::layer(&wave.images(), registry());
    let mut upload = StartUpload::new("a/b".parse().unwrap());
    upload.mount = Some(Mount::new(Digest::sha256(b""), Some("wt/token/x".parse().unwrap())));
    let started = images.send(Request::new(upload)).await.unwrap().into_reply();
    assert!(matches!(started, UploadStarted::Open(_)));
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (service, mut handle) = tower_test::mock::pair::<Request, tower_oci::operation::Response>();
    handle.allow(0);
    let wave = Wave::builder("http://localhost:9090").build().unwrap();
    let mut images = tower_test::mock::Spawn::new(tower_layer::Layer::layer(
        &wave.images(),
        tower::util::MapErr::new(service, tower_oci::error::Error::from),
    ));
    assert!(images.poll_ready().is_pending());
    handle.allow(1);
    assert!(images.poll_ready().is_ready());
    let call = images.call(Request::new(Ping::new().into()));
    let (_, answer) = handle.next_request().await.unwrap();
    answer.send_response(tower_oci::operation::Response::new(Pong::new().into()));
    call.await.unwrap();
}

#[tokio::test]
async fn a_server_url_is_a_scheme_and_an_authority() {
    for (url, reason) in [
        ("wave.test", "it starts with neither `http://` nor `https://`"),
        ("", "it is no URL"),
        ("ftp://wave.test", "it starts with neither `http://` nor `https://`"),
        ("https://wave.test/registry", "it has a path or a query, and registries have none"),
        ("https://wave.test/?a", "it has a path or a query, and registries have none"),
        ("https://user@wave.test", "its authority is no registry host"),
        ("https://wave.test:0", "its authority is no registry host"),
        ("https://wave", "its host has no dot and no port, so that image names would mean Docker Hub"),
    ] {
        let error = Wave::builder(url).build().unwrap_err();
        assert_eq!(error.to_string(), format!("invalid server URL `{url}`: {reason}"));
        assert_eq!(error.code(), ErrorCode::NameInvalid);
    }
    for url in ["http://localhost", "https://WAVE.test/", "http://[::1]:9090", "http://wave:80"] {
        Wave::builder(url).build().unwrap();
    }
    let error =
        Wave::builder("http://localhost").token_lifetime(std::time::Duration::from_millis(999)).build();
    assert_eq!(error.unwrap_err().to_string(), "tokens can't live for 999ms: a second is the least");
}
