use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use super::answer::{self, ServiceInfo};
#[cfg(feature = "build")]
use super::builds::{self, View};
use super::credential::check_credential;
use super::description::Description;
use super::future::EndpointsFuture;
use super::requests;
use super::submit::{Form, submit};
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::BoxRegistry;
use crate::wave::Wave;
use crate::wave::grants::Absent;
#[cfg(feature = "platform")]
use crate::wave::platform::Platforms;
use crate::wave::request::not_here;
use crate::wave::settings::Action;

/// The service of an [`EndpointsLayer`](super::EndpointsLayer).
#[derive(Clone)]
pub struct Endpoints<S> {
    inner: S,
    wave: Wave,
    images: BoxRegistry,
}

impl<S> Endpoints<S> {
    pub(super) fn new(inner: S, wave: Wave, images: BoxRegistry) -> Self {
        Self { inner, wave, images }
    }
}

impl<S> fmt::Debug for Endpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("wave", &self.wave).finish_non_exhaustive()
    }
}

impl<S, B, RB> Service<Request<B>> for Endpoints<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    RB: http_body::Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = EndpointsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(endpoint) = Endpoint::of(request.uri().path()) else {
            return EndpointsFuture::passed(self.inner.call(request));
        };
        let (parts, body) = request.into_parts();
        let (wave, images) = (self.wave.clone(), self.images.clone());
        let body = Body::new(body);
        EndpointsFuture::ours(Box::pin(async move {
            match endpoint.answer(&wave, &images, parts, body).await {
                Ok(response) => response,
                Err(error) => answer::failure(&error),
            }
        }))
    }
}

/// One of the paths of the API.
enum Endpoint {
    Submission(Form),
    Token(String),
    Request(String),
    RequestStatus(String),
    ServiceInfo,
    CredentialCheck,
    #[cfg(feature = "build")]
    Build(String, View),
    #[cfg(feature = "platform")]
    Pairing,
    /// What Wave has and this service doesn't, by what it is for.
    Absent(&'static str),
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        if let Some(token) = path.strip_prefix("/container-token/") {
            return Some(Self::Token(token.to_owned()));
        }
        if let Some(rest) = path.strip_prefix("/v1alpha2/container/") {
            return Some(match rest.strip_suffix("/status") {
                Some(id) => Self::RequestStatus(id.to_owned()),
                None => Self::Request(rest.to_owned()),
            });
        }
        #[cfg(feature = "build")]
        if let Some((id, view)) = path.strip_prefix("/v1alpha1/builds/").and_then(View::of) {
            return Some(Self::Build(id, view));
        }
        if path.starts_with("/v1alpha1/builds/") {
            return Some(Self::Absent(if cfg!(feature = "build") {
                "such view of a build"
            } else {
                "builds"
            }));
        }
        if path.starts_with("/v1alpha1/mirrors/") {
            return Some(Self::Absent("mirrors"));
        }
        if path.starts_with("/v1alpha1/scans/") {
            return Some(Self::Absent("scans"));
        }
        match path {
            "/container-token" => Some(Self::Submission(Form::Token)),
            "/v1alpha2/container" => Some(Self::Submission(Form::Container)),
            "/service-info" => Some(Self::ServiceInfo),
            "/validate-creds" | "/v1alpha1/validate-creds" | "/v1alpha2/validate-creds" => {
                Some(Self::CredentialCheck)
            }
            "/v1alpha1/inspect" => Some(Self::Absent("inspections")),
            #[cfg(feature = "platform")]
            "/pairing" => Some(Self::Pairing),
            _ => None,
        }
    }

    async fn answer(
        self,
        wave: &Wave,
        images: &BoxRegistry,
        parts: Parts,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let posts = parts.method == Method::POST;
        match self {
            Self::Submission(form) if posts => Box::pin(submit(wave, images, parts, body, form)).await,
            Self::CredentialCheck if posts => Box::pin(check_credential(wave, images, parts, body)).await,
            Self::Submission(_) | Self::CredentialCheck => Ok(answer::wrong_method("POST")),
            #[cfg(feature = "platform")]
            Self::Pairing if posts => pair(wave, body).await,
            #[cfg(feature = "platform")]
            Self::Pairing => Ok(answer::wrong_method("POST")),
            Self::Absent(what) => Err(not_here(format!("this service has no {what}"))),
            Self::Token(token) if parts.method == Method::DELETE => {
                allow(wave, &parts, Action::Revoke)?;
                wave.grants().revoke(&token).await.map_err(absent)?;
                tracing::debug!("a container token was revoked");
                Ok(answer::empty())
            }
            Self::Token(_) if !reads => Ok(answer::wrong_method("GET, HEAD, DELETE")),
            _ if !reads => Ok(answer::wrong_method("GET, HEAD")),
            Self::ServiceInfo => {
                let settings = wave.settings();
                Ok(answer::json(&ServiceInfo::new(&settings.version, settings.commit.as_deref())))
            }
            Self::Token(token) => {
                allow(wave, &parts, Action::Describe)?;
                let grant = wave.grants().find(&token).await.map_err(absent)?;
                Ok(answer::json(&Description::new(&token, &grant, &wave.settings().authority)))
            }
            Self::Request(id) => {
                allow(wave, &parts, Action::Watch)?;
                Ok(answer::json(&requests::described(wave, &id).await?))
            }
            Self::RequestStatus(id) => {
                allow(wave, &parts, Action::Watch)?;
                Ok(answer::json(&requests::status(wave, &id).await?))
            }
            #[cfg(feature = "build")]
            Self::Build(id, view) => {
                allow(wave, &parts, Action::Watch)?;
                builds::answer(wave, &id, view, parts.uri.query()).await
            }
        }
    }
}

#[cfg(feature = "platform")]
async fn pair(wave: &Wave, body: Body) -> Result<Response<Body>, Error> {
    let platforms = wave.settings().trusted_platforms.as_ref();
    let platforms = platforms.ok_or_else(|| not_here("this service takes credentials from no platform"))?;
    let max = Platforms::MAX_PAIRING_REQUEST;
    let body = body.limited(max as u64, "request").read(max).await?;
    Ok(answer::json(&platforms.pair(&body).await?))
}

fn allow(wave: &Wave, parts: &Parts, action: Action) -> Result<(), Error> {
    if (wave.settings().authorize)(parts, action) {
        return Ok(());
    }
    Err(Error::denied(match action {
        Action::Describe => "this service doesn't let you see what a container token is for",
        Action::Revoke => "this service doesn't let you revoke container tokens",
        Action::Watch => "this service doesn't let you see builds and requests",
    }))
}

fn absent(absent: Absent) -> Error {
    match absent {
        Absent::Failed(error) => error,
        Absent::Unknown => Error::name_unknown(absent.to_string()),
        Absent::Expired(_) => Error::name_unknown(absent.to_string()).with_status(StatusCode::GONE),
    }
}
