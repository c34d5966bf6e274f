//! An authorization of one's own, over operations in place of paths and methods.
//!
//! The HTTP layer of the embedder says who calls; the guard says what that caller may do. It sees every operation
//! through one door, and lets nothing pass that it doesn't know.
//!
//! ```text
//! cargo run --example custom_layer
//! curl -i http://127.0.0.1:5001/v2/team/app/tags/list                      # 401
//! curl -i -H 'x-team: team' http://127.0.0.1:5001/v2/team/app/tags/list    # 200
//! curl -i -H 'x-team: other' http://127.0.0.1:5001/v2/team/app/tags/list   # 404, as if it weren't there
//! ```

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::middleware::Next as HttpNext;
use bytes::Bytes;
use tower::ServiceBuilder;
use tower_oci::error::{Error, ErrorCode, ErrorKind};
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::operation::middleware::{Next, from_fn};
use tower_oci::operation::{Access, Request, Response};
use tower_oci::spec::media_type::MediaType;

/// Who calls. Whatever the HTTP layers put into a request's extensions, operations carry on.
#[derive(Clone, Debug)]
struct Team(String);

async fn authorize(request: Request, next: Next) -> Result<Response, Error> {
    let Some(Team(team)) = request.extensions().get::<Team>().cloned() else {
        let error = Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, "say who you are");
        return Err(error.with_challenge("Basic realm=\"example\""));
    };
    let operation = request.operation();
    let own = operation.repository().is_some_and(|repository| repository.is_under(&team));
    match operation.access() {
        Access::Ping => next.run(request).await,
        Access::Pull if own => next.run(request).await,
        Access::Push if own => next.run(request).await,
        // Forbidden and absent look the same.
        Access::Pull => Err(Error::name_unknown("no such repository")),
        // Deletes, the catalog, and whatever a later version adds.
        _ => Err(Error::denied("that isn't for you")),
    }
}

async fn identify(mut request: HttpRequest, next: HttpNext) -> axum::response::Response {
    // A stand-in: a real service would check a certificate or a session here.
    let team = request.headers().get("x-team").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(team) = team {
        request.extensions_mut().insert(Team(team));
    }
    next.run(request).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Memory::new();
    let index = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    registry.push_manifest(&"team/app".parse()?, &"latest".parse()?, MediaType::OCI_INDEX, index)?;

    let images = ServiceBuilder::new().layer(from_fn(authorize)).service(registry);
    let app =
        Router::new().fallback_service(OciService::new(images)).layer(axum::middleware::from_fn(identify));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
