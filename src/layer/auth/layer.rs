use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Auth;
use super::presented::Presented;
use crate::error::Error;
use crate::operation::{BoxFuture, Identity, Registry, Request, Response};

/// The layer of [`Auth::layer`].
#[derive(Clone, Debug)]
pub struct AuthLayer {
    auth: Auth,
}

impl AuthLayer {
    pub(super) fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

impl<R: Registry> Layer<R> for AuthLayer {
    type Service = Authenticate<R>;

    fn layer(&self, inner: R) -> Authenticate<R> {
        Authenticate { inner, auth: self.auth.clone() }
    }
}

/// The service of an [`AuthLayer`]. It is ready when the inner one is.
#[derive(Clone)]
pub struct Authenticate<R> {
    inner: R,
    auth: Auth,
}

impl<R> std::fmt::Debug for Authenticate<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticate").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Authenticate<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // It is a secret, so it goes no further.
        let presented = request.extensions_mut().remove::<Presented>().unwrap_or(Presented::Nothing);
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let auth = self.auth.clone();
        Box::pin(async move {
            let case = auth.case(&presented, request.operation());
            let known = request.extensions().get::<Identity>().cloned();
            let identity = auth.identify(&presented, known, &case).await?;
            request.extensions_mut().insert(identity);
            inner.call(request).await.map_err(|error| case.challenge(error.into()))
        })
    }
}
