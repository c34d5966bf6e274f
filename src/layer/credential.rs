//! With whose credentials an upstream is asked.
//!
//! The layer asks a source of [`Credentials`] for the registry and repository that the router has decided on, and puts
//! the [`Credential`] and its [`CredentialId`] into the request: layers below keep apart what one may see and another
//! may not, and the leaf uses it in place of the upstream's own.
//!
//! ```
//! use tower::ServiceBuilder;
//! use tower_oci::layer::credential::CredentialLayer;
//! use tower_oci::layer::route::{RouteLayer, Routes};
//! use tower_oci::operation::{Anonymous, Handlers};
//!
//! let registry = ServiceBuilder::new()
//!     .layer(RouteLayer::new(Routes::new().default_host("quay.io".parse()?)))
//!     .layer(CredentialLayer::new(Anonymous::new()))
//!     .service(Handlers::new());
//! # Ok::<_, tower_oci::error::Error>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;
use crate::operation::{
    BoxFuture, Credential, CredentialId, Credentials, Registry, Request, Response, UpstreamId,
};

/// Puts a [`WithCredential`] over a registry; see [the module](self).
#[derive(Clone, Debug)]
pub struct CredentialLayer {
    credentials: Arc<dyn Credentials>,
}

impl CredentialLayer {
    /// A layer that asks `credentials`.
    pub fn new(credentials: impl Credentials) -> Self {
        Self { credentials: Arc::new(credentials) }
    }
}

impl<R: Registry> Layer<R> for CredentialLayer {
    type Service = WithCredential<R>;

    fn layer(&self, inner: R) -> WithCredential<R> {
        WithCredential { inner, credentials: Arc::clone(&self.credentials) }
    }
}

/// The service of a [`CredentialLayer`]; see [the module](self).
#[derive(Clone)]
pub struct WithCredential<R> {
    inner: R,
    credentials: Arc<dyn Credentials>,
}

impl<R> fmt::Debug for WithCredential<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithCredential").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for WithCredential<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // When somebody outside has decided already, that holds; without an upstream there is nothing to open.
        let decided = request.extensions().get::<Credential>().map(Credential::id);
        let upstream = match decided {
            Some(id) => {
                request.extensions_mut().insert::<CredentialId>(id);
                None
            }
            None => request.extensions().get::<UpstreamId>().cloned(),
        };
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let credentials = Arc::clone(&self.credentials);
        Box::pin(async move {
            if let Some(upstream) = upstream {
                let repository = request.operation().repository().cloned();
                let credential = credentials.credential(upstream.host(), repository.as_ref()).await?;
                request.extensions_mut().insert::<CredentialId>(credential.id());
                request.extensions_mut().insert::<Credential>(credential);
            }
            inner.call(request).await.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Handlers, ListTags, Tags};
    use crate::spec::name::{Host, Repository};

    #[derive(Debug)]
    struct PerRepository;

    impl Credentials for PerRepository {
        fn credential<'a>(
            &'a self,
            registry: &'a Host,
            repository: Option<&'a Repository>,
        ) -> BoxFuture<'a, Result<Credential, Error>> {
            Box::pin(async move {
                match repository.map(Repository::as_str) {
                    Some("broken") => Err(Error::unavailable("the helper failed")),
                    repository => {
                        Ok(Credential::basic(format!("{registry}/{}", repository.unwrap_or("-")), "pw"))
                    }
                }
            })
        }
    }

    async fn asked_as(request: Request<ListTags>) -> Result<Option<Credential>, Error> {
        let seen = Arc::new(std::sync::Mutex::new(None));
        let record = Arc::clone(&seen);
        let leaf = Handlers::new().on(move |request: Request<ListTags>| {
            let credential = request.extensions().get::<Credential>().cloned();
            assert_eq!(
                credential.as_ref().map(Credential::id),
                request.extensions().get::<CredentialId>().copied()
            );
            *record.lock().unwrap() = credential;
            async move { Ok(Tags::new(request.into_operation().repository, Vec::new(), None)) }
        });
        CredentialLayer::new(PerRepository).layer(leaf).send(request).await?;
        Ok(seen.lock().unwrap().take())
    }

    #[tokio::test]
    async fn the_credential_follows_upstream_and_repository() {
        let upstream = UpstreamId::new("quay.io".parse().unwrap());
        let mut request = Request::new(ListTags::new("a/b".parse().unwrap()));
        assert_eq!(asked_as(request.with(request.operation().clone())).await.unwrap(), None);
        request.extensions_mut().insert(upstream.clone());
        let asked = asked_as(request.with(request.operation().clone())).await.unwrap();
        assert_eq!(asked, Some(Credential::basic("quay.io/a/b", "pw")));
        request.extensions_mut().insert(Credential::basic("caller", "own"));
        assert_eq!(asked_as(request).await.unwrap(), Some(Credential::basic("caller", "own")));
        let mut broken = Request::new(ListTags::new("broken".parse().unwrap()));
        broken.extensions_mut().insert(upstream);
        assert_eq!(asked_as(broken).await.unwrap_err().to_string(), "the helper failed");
    }
}
