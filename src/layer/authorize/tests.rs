use std::sync::Mutex;
use std::task::{Context, Poll};

use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower_layer::Layer as _;
use tower_service::Service;

use super::*;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::hosted::Memory;
use crate::operation::middleware::{Next, from_fn};
use crate::operation::{
    Access, BoxRegistry, CancelUpload, DeleteBlob, DeleteManifest, FinishUpload, GetBlob, GetManifest,
    Identity, ListReferrers, ListRepositories, ListTags, Mount, Operation, OperationKind, Ping, PutManifest,
    Registry, Repositories, Request, Response, StartUpload, UploadChunk, UploadStarted, UploadStatus,
};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::spec::name::Repository;
use crate::spec::page::Page;

const EMPTY_INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

/// Every operation there is, about one repository where it is about one.
fn every(repository: &str) -> Vec<Operation> {
    let name = || name(repository);
    let digest = Digest::sha256(b"blob");
    let tag = || "v1".parse().unwrap();
    let upload = || "1f".parse().unwrap();
    let mut filtered = ListReferrers::new(name(), digest);
    filtered.artifact_type = Some("a/b".to_owned());
    vec![
        Ping::new().into(),
        GetManifest::new(name(), tag()).into(),
        GetManifest::head(name(), tag()).into(),
        PutManifest::new(name(), tag(), MediaType::OCI_INDEX, EMPTY_INDEX.into()).into(),
        DeleteManifest::new(name(), tag()).into(),
        GetBlob::new(name(), digest).into(),
        GetBlob::head(name(), digest).into(),
        DeleteBlob::new(name(), digest).into(),
        StartUpload::new(name()).into(),
        UploadChunk::new(name(), upload(), Body::from("x")).into(),
        FinishUpload::new(name(), upload(), digest, Body::empty()).into(),
        UploadStatus::new(name(), upload()).into(),
        CancelUpload::new(name(), upload()).into(),
        ListTags::new(name()).into(),
        ListReferrers::new(name(), digest).into(),
        filtered.into(),
        ListRepositories::new().into(),
    ]
}

fn request(operation: impl Into<Operation>, caller: Option<&str>) -> Request {
    let mut request = Request::new(operation.into());
    if let Some(caller) = caller {
        request.extensions_mut().insert(Identity::named(caller));
    }
    request
}

async fn ask(
    registry: &BoxRegistry,
    operation: impl Into<Operation>,
    caller: Option<&str>,
) -> Result<Response, Error> {
    registry.clone().call(request(operation, caller)).await
}

/// An answer as a client can see it.
fn seen(answer: Result<Response, Error>) -> String {
    match answer {
        Ok(response) => format!("{:?}", response.reply()),
        Err(error) => format!("{} {} {error} {:?}", error.status(), error.code(), error.challenge()),
    }
}

fn rules() -> Rules {
    Rules::new()
        .allow("reader", Access::Pull, "team/*".parse().unwrap())
        .allow("writer", Access::Push, "team/*".parse().unwrap())
        .allow("deleter", Access::Delete, "team/*".parse().unwrap())
        .allow_catalog("reader")
}

/// Notes the operations that come through, and answers none.
fn noted() -> (BoxRegistry, std::sync::Arc<Mutex<Vec<OperationKind>>>) {
    let noted = std::sync::Arc::new(Mutex::new(Vec::new()));
    let list = std::sync::Arc::clone(&noted);
    let note = from_fn(move |request: Request, _: Next| {
        list.lock().unwrap().push(request.operation().kind());
        async { Err(Error::unsupported("noted")) }
    });
    let registry =
        ServiceBuilder::new().layer(AuthorizeLayer::new(rules())).layer(note).service(Memory::new());
    (registry.boxed_registry(), noted)
}

#[tokio::test]
async fn every_operation_passes_for_those_who_may_and_for_nobody_else() {
    let (registry, noted) = noted();
    for caller in [None, Some("stranger"), Some("reader"), Some("writer"), Some("deleter")] {
        for operation in every("team/app") {
            let (access, kind) = (operation.access(), operation.kind());
            let expected = match (access, caller) {
                (Access::Ping, _) => None,
                (_, None) => Some((ErrorKind::Unauthorized, 401)),
                (Access::Pull, Some("reader" | "writer" | "deleter")) => None,
                (Access::Push, Some("writer")) | (Access::Delete, Some("deleter")) => None,
                (Access::Catalog, Some("reader")) => None,
                (Access::Catalog | Access::Push, _) => Some((ErrorKind::Denied, 403)),
                (Access::Delete, Some("reader" | "writer")) => Some((ErrorKind::Denied, 403)),
                _ => Some((ErrorKind::NotFound, 404)),
            };
            let answer = ask(&registry, operation, caller).await;
            let passed = noted.lock().unwrap().pop();
            let Some((error_kind, status)) = expected else {
                assert_eq!(passed, Some(kind), "{caller:?} {kind:?}");
                continue;
            };
            assert_eq!(passed, None, "{caller:?} {kind:?}");
            match answer {
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.status().as_u16()),
                        (error_kind, status),
                        "{caller:?} {kind:?}"
                    );
                }
                // Absent referrers are an empty list.
                Ok(_) => assert_eq!((kind, status), (OperationKind::ListReferrers, 404), "{caller:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_hidden_is_answered_as_what_is_not_there() {
    let memory = Memory::new();
    memory
        .push_manifest(&name("secret/app"), &"v1".parse().unwrap(), MediaType::OCI_INDEX, EMPTY_INDEX)
        .unwrap();
    memory.push_blob(&name("secret/app"), MediaType::OCI_CONFIG, "blob").unwrap();
    let registry = AuthorizeLayer::new(rules()).layer(memory.clone()).boxed_registry();
    let open = Rules::new().allow("all", Access::Push, "*".parse().unwrap()).allow(
        "all",
        Access::Delete,
        "*".parse().unwrap(),
    );
    let open = AuthorizeLayer::new(open).layer(memory).boxed_registry();
    let pairs = every("secret/app").into_iter().zip(every("secret/app")).zip(every("secret/none"));
    for ((there, hidden), absent) in pairs {
        let (kind, access) = (there.kind(), there.access());
        if matches!(access, Access::Ping | Access::Catalog) {
            continue;
        }
        let hidden = seen(ask(&registry, hidden, Some("reader")).await);
        let none = seen(
            ask(
                &registry,
                every("secret/none").into_iter().find(|o| o.kind() == kind).unwrap(),
                Some("reader"),
            )
            .await,
        );
        match access {
            // Whoever may do everything, asks for what isn't there.
            Access::Pull | Access::Delete => {
                let absent = seen(ask(&open, absent, Some("all")).await).replace("secret/none", "secret/app");
                assert_eq!(hidden, absent, "{kind:?}");
            }
            _ => assert!(hidden.starts_with("403 Forbidden DENIED"), "{kind:?} {hidden}"),
        }
        // The empty list says whether it was filtered.
        if kind != OperationKind::ListReferrers {
            assert_eq!(hidden, none.replace("secret/none", "secret/app"), "{kind:?}");
        }
        let anonymous = seen(ask(&registry, there, None).await);
        assert_eq!(anonymous, "401 Unauthorized UNAUTHORIZED authentication required None", "{kind:?}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_only_from_where_it_may_be_pulled() {
    let memory = Memory::builder().mount_from_anywhere(true).build();
    let blob = *memory.push_blob(&name("team/base"), MediaType::OCI_CONFIG, "blob").unwrap().digest();
    memory.push_blob(&name("secret/app"), MediaType::OCI_CONFIG, "blob").unwrap();
    let rules = rules().allow("writer", Access::Push, "secret/drop".parse().unwrap());
    let registry = AuthorizeLayer::new(rules).layer(memory).boxed_registry();
    for (from, is_mounted) in
        [(Some("team/base"), true), (Some("secret/app"), false), (Some("secret/none"), false), (None, false)]
    {
        let mut start = StartUpload::new(name("team/app"));
        start.mount = Some(Mount::new(blob, from.map(name)));
        let mut request = Request::new(start);
        request.extensions_mut().insert(Identity::named("writer"));
        let started = registry.send(request).await.unwrap().into_reply();
        assert_eq!(matches!(started, UploadStarted::Created(_)), is_mounted, "{from:?}");
    }
}

#[tokio::test]
async fn the_catalog_names_what_may_be_pulled_and_pages_over_the_rest() {
    let memory = Memory::builder().catalog(true).build();
    for repository in ["a/hidden", "team/a", "team/b", "team-x/hidden", "team/c", "z/hidden"] {
        memory.push_blob(&name(repository), MediaType::OCI_CONFIG, "blob").unwrap();
    }
    let registry = ServiceBuilder::new()
        .layer(AuthorizeLayer::new(rules()))
        // The layer asks for pages while it answers; the place that it was polled ready with is given back first.
        .layer(ConcurrencyLimitLayer::new(1))
        .service(memory);
    let list = async |n: Option<u64>, last: Option<&str>| {
        let mut list = ListRepositories::new();
        list.page = Page::new(n, last.map(str::to_owned));
        let mut request = Request::new(list);
        request.extensions_mut().insert(Identity::named("reader"));
        let Repositories { repositories, next, .. } = registry.send(request).await.unwrap().into_reply();
        (repositories.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" "), next)
    };
    assert_eq!(list(None, None).await, ("team/a team/b team/c".to_owned(), None));
    assert_eq!(list(Some(2), None).await, ("team/a team/b".to_owned(), Some("team/b".to_owned())));
    assert_eq!(list(Some(2), Some("team/b")).await, ("team/c".to_owned(), None));
    assert_eq!(list(Some(3), None).await, ("team/a team/b team/c".to_owned(), None));
    assert_eq!(list(Some(0), None).await, (String::new(), None));
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let endless = crate::operation::Handlers::new().on(|request: Request<ListRepositories>| async move {
        assert_eq!(request.operation().page.n, Some(1000));
        Ok(Repositories::new(vec![name("secret/app")], Some("secret/app".to_owned())))
    });
    let registry = AuthorizeLayer::new(rules()).layer(endless).boxed_registry();
    let error = ask(&registry, ListRepositories::new(), Some("reader")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_closure_is_a_policy_and_what_it_allows_is_asked_unchanged() {
    let policy = |caller: &Identity, access: Access, _: Option<&Repository>| match access {
        Access::Pull if caller.name() == Some("ann") => Decision::Allow,
        _ => Decision::Deny,
    };
    let memory = Memory::new();
    memory.push_manifest(&name("a"), &"v1".parse().unwrap(), MediaType::OCI_INDEX, EMPTY_INDEX).unwrap();
    let registry = AuthorizeLayer::new(policy).layer(memory).boxed_registry();
    let get = || GetManifest::new(name("a"), "v1".parse().unwrap());
    assert!(ask(&registry, get(), Some("ann")).await.is_ok());
    let error = ask(&registry, get(), Some("bob")).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.to_string()), (403, "you may not pull from `a`".to_owned()));
}

#[tokio::test]
async fn it_is_ready_when_the_inner_service_is() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_with(|inner: tower_test::mock::Mock<Request, Response>| {
            AuthorizeLayer::new(rules()).layer(Shared(std::sync::Arc::new(std::sync::Mutex::new(inner))))
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
