//! Pulls under a token: the layer over operations.

use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Wave;
use super::grants::Absent;
use crate::error::Error;
use crate::operation::{BoxFuture, Operation, Origin, Registry, Reply, Request, Response};
use crate::spec::name::Repository;

/// The first component of names under a token: `wt/<token>/<repository>`.
pub(super) const PREFIX: &str = "wt";

/// The layer of [`Wave::images`](super::Wave::images).
#[derive(Clone, Debug)]
pub struct ImagesLayer {
    wave: Wave,
}

/// The service of an [`ImagesLayer`].
#[derive(Clone)]
pub struct Images<R> {
    inner: R,
    wave: Wave,
}

impl ImagesLayer {
    pub(super) fn new(wave: Wave) -> Self {
        Self { wave }
    }
}

impl<R: Registry> Layer<R> for ImagesLayer {
    type Service = Images<R>;

    fn layer(&self, inner: R) -> Images<R> {
        Images { inner, wave: self.wave.clone() }
    }
}

impl<R> fmt::Debug for Images<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").finish_non_exhaustive()
    }
}

impl<R: Registry> Service<Request> for Images<R> {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The clone isn't ready; the one that was waited for is taken.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        hide_mount(request.operation_mut());
        let Some(asked) = under_token(&request) else {
            let future = inner.call(request);
            return Box::pin(async move { future.await.map_err(Into::into) });
        };
        let wave = self.wave.clone();
        Box::pin(async move {
            let request = resolve(&wave, request, &asked).await?;
            let mut response = inner.call(request).await.map_err(Into::into)?;
            if let Reply::Tags(tags) = response.reply_mut() {
                tags.repository = asked;
            }
            Ok(response)
        })
    }
}

/// The name that was asked for, when it is one under a token. A request whose registry is decided already is none of
/// a client's: there the name is the registry's own.
fn under_token(request: &Request) -> Option<Repository> {
    let repository = request.operation().repository()?;
    let decided = request.extensions().get::<Origin>().is_some();
    (repository.is_under(PREFIX) && !decided).then(|| repository.clone())
}

/// A blob is never mounted out of a repository under a token: such a name means nothing below this layer, and the token
/// must not go there. Without the mount an upload is opened, as the specification has it.
fn hide_mount(operation: &mut Operation) {
    if let Operation::StartUpload(upload) = operation {
        let from = upload.mount.as_ref().and_then(|mount| mount.from.as_ref());
        if from.is_some_and(|from| from.is_under(PREFIX)) {
            upload.mount = None;
        }
    }
}

/// The request for the image that the token opens.
async fn resolve(wave: &Wave, mut request: Request, asked: &Repository) -> Result<Request, Error> {
    if !is_read(request.operation()) {
        return Err(Error::denied("an image under a container token can only be pulled"));
    }
    let path = asked.as_str().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/'));
    let (token, name) = path.and_then(|path| path.split_once('/')).unwrap_or_default();
    let grant = wave.grants().find(token).await.map_err(Absent::into_pull_error)?;
    let repository = grant.image.repository();
    if name != repository.as_str() {
        return Err(Error::name_unknown("the container token is for another repository"));
    }
    if let Some(mapped) = request.operation_mut().repository_mut() {
        *mapped = repository.clone();
    }
    let agent = request.extensions().get().cloned();
    let source = wave.content(&grant, agent).await?;
    let registry = grant.image.registry().clone();
    let extensions = request.extensions_mut();
    if let Some(credential) = wave.credential_of(&grant, token).await? {
        extensions.insert(credential);
    }
    extensions.insert(Origin::new(registry));
    extensions.insert(grant.rewrite(source));
    Ok(request)
}

/// What is known to only read from one repository; whatever comes to be beside it is not.
fn is_read(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::GetManifest(_)
            | Operation::GetBlob(_)
            | Operation::ListTags(_)
            | Operation::ListReferrers(_)
    )
}
