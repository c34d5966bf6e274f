use super::*;
use crate::error::ErrorCode;
use crate::operation::{Handlers, ListTags, Mount, Ping, StartUpload, Tags, UploadStarted, UploadState};
use crate::spec::name::Host;

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn routes() -> Routes {
    Routes::new()
        .host(host("quay.io"))
        .host(host("registry.test:5000"))
        .alias("hub", host("docker.io"))
        .unwrap()
        .alias_under("team", host("quay.io"), "acme/team".parse().unwrap())
        .unwrap()
        .own_host(host("proxy.test"))
}

/// A router over a leaf that answers with where it was asked, as the only tag.
fn router(routes: Routes) -> Router<Handlers> {
    let leaf = Handlers::new()
        .on(|request: Request<ListTags>| async move {
            let upstream = request.extensions().get::<UpstreamId>().unwrap().to_string().replace(':', "-");
            let repository = request.into_operation().repository;
            let tag = format!("{upstream}__{}", repository.as_str().replace('/', "--"));
            Ok(Tags::new(repository, vec![tag.parse()?], None))
        })
        .on(|request: Request<StartUpload>| async move {
            let mount = request.into_operation().mount;
            let from = mount
                .and_then(|mount| mount.from)
                .map_or("none".into(), |from| from.as_str().replace('/', "-"));
            Ok(UploadStarted::Open(UploadState::new(from.parse()?, 0)))
        });
    RouteLayer::new(routes).layer(leaf)
}

async fn ask(
    routes: Routes,
    name: &str,
    facts: impl FnOnce(&mut Request<ListTags>),
) -> Result<String, Error> {
    let mut request = Request::new(ListTags::new(name.parse().unwrap()));
    facts(&mut request);
    let response = router(routes).send(request).await?;
    let namespace =
        response.extensions().get::<Namespace>().map(|ns| format!(" ns={}", ns.0)).unwrap_or_default();
    let tags = response.into_reply();
    assert_eq!(tags.repository.as_str(), name, "the name in the reply is the client's");
    Ok(format!("{}{namespace}", tags.tags[0]))
}

#[tokio::test]
async fn names_mean_registries() {
    let with_default = || routes().default_host(host("docker.io"));
    for (name, expected) in [
        ("quay.io/a/b", "quay.io__a--b"),
        ("hub/busybox", "docker.io__library--busybox"),
        ("hub/a/b", "docker.io__a--b"),
        ("team/app", "quay.io__acme--team--app"),
        ("docker.io/busybox", "docker.io__library--busybox"),
        ("busybox", "docker.io__library--busybox"),
        ("a/b", "docker.io__a--b"),
        ("quay.io", "docker.io__library--quay.io"),
    ] {
        assert_eq!(ask(with_default(), name, |_| {}).await.unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_registry_is_never_asked() {
    for (routes, name) in [
        (routes().default_host(host("docker.io")), "evil.test/a"),
        (routes().default_host(host("docker.io")), "localhost/a"),
        (routes().default_host(host("docker.io")), "127.0.0.1/a"),
        (routes(), "a/b"),
        (routes(), "docker.io/a"),
    ] {
        let error = ask(routes, name, |_| {}).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (ErrorCode::NameUnknown, 404), "{name}");
    }
    assert_eq!(ask(routes().any_host(true), "ghcr.io/a", |_| {}).await.unwrap(), "ghcr.io__a");
}

#[tokio::test]
async fn ns_means_a_configured_registry_and_is_echoed() {
    let ns = |text: &'static str| {
        move |request: &mut Request<ListTags>| {
            request.extensions_mut().insert(Namespace::new(host(text)));
        }
    };
    assert_eq!(ask(routes(), "a/b", ns("quay.io")).await.unwrap(), "quay.io__a--b ns=quay.io");
    assert_eq!(
        ask(routes(), "a/b", ns("registry.test:5000")).await.unwrap(),
        "registry.test-5000__a--b ns=registry.test:5000"
    );
    assert_eq!(
        ask(routes(), "hub/b", ns("quay.io")).await.unwrap(),
        "docker.io__library--b",
        "the name goes first"
    );
    let any = routes().any_host(true).default_host(host("docker.io"));
    assert_eq!(ask(any, "a/b", ns("evil.test")).await.unwrap_err().code(), ErrorCode::NameUnknown);
    let own = routes().default_host(host("quay.io"));
    assert_eq!(ask(own, "a/b", ns("proxy.test")).await.unwrap(), "quay.io__a--b");
}

#[tokio::test]
async fn an_origin_is_believed() {
    let origin = |request: &mut Request<ListTags>| {
        request.extensions_mut().insert(Origin::new(host("ghcr.io")));
        request.extensions_mut().insert(Namespace::new(host("evil.test")));
    };
    assert_eq!(ask(routes(), "quay.io/b", origin).await.unwrap(), "ghcr.io__quay.io--b");
}

#[tokio::test]
async fn under_an_origin_blobs_are_mounted_by_its_own_names() {
    for (origin, from, mapped) in [
        ("ghcr.io", "quay.io/c", "quay.io-c"),
        ("ghcr.io", "team/c", "team-c"),
        ("docker.io", "busybox", "library-busybox"),
    ] {
        let mut upload = StartUpload::new("a/b".parse().unwrap());
        let digest = crate::spec::digest::Digest::sha256(b"");
        upload.mount = Some(Mount::new(digest, Some(from.parse().unwrap())));
        let mut request = Request::new(upload);
        request.extensions_mut().insert(Origin::new(host(origin)));
        match router(routes()).send(request).await.unwrap().into_reply() {
            UploadStarted::Open(state) => assert_eq!(state.upload.to_string(), mapped, "{origin} {from}"),
            UploadStarted::Created(_) => panic!(),
        }
    }
}

#[tokio::test]
async fn blobs_are_mounted_within_one_registry_only() {
    let mount = |from: &str| {
        let mut upload = StartUpload::new("quay.io/a/b".parse().unwrap());
        let digest = crate::spec::digest::Digest::sha256(b"");
        upload.mount = Some(Mount::new(digest, Some(from.parse().unwrap())));
        Request::new(upload)
    };
    let from = async |from: &str| match router(routes()).send(mount(from)).await?.into_reply() {
        UploadStarted::Open(state) => Ok::<_, Error>(state.upload.to_string()),
        UploadStarted::Created(_) => panic!(),
    };
    assert_eq!(from("team/c").await.unwrap(), "acme-team-c");
    assert_eq!(from("hub/c").await.unwrap(), "none");
    assert_eq!(from("evil.test/c").await.unwrap(), "none");
}

#[tokio::test]
async fn a_ping_is_answered_and_readiness_is_the_inner_services() {
    router(Routes::new()).send(Request::new(Ping::new())).await.unwrap();
    let (mut service, mut handle) =
        tower_test::mock::spawn_with(|inner: tower_test::mock::Mock<Request, Response>| {
            RouteLayer::new(Routes::new()).layer(Shared(std::sync::Arc::new(std::sync::Mutex::new(inner))))
        });
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
}

/// tower-test's mock is no `Sync`, which a registry has to be.
#[derive(Clone)]
struct Shared(std::sync::Arc<std::sync::Mutex<tower_test::mock::Mock<Request, Response>>>);

impl Service<Request> for Shared {
    type Response = Response;
    type Error = crate::error::BoxError;
    type Future = tower_test::mock::future::ResponseFuture<Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.lock().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.lock().unwrap().call(request)
    }
}
