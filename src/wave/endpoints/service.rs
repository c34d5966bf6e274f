use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use super::answer::{self, Description, ServiceInfo};
use super::future::EndpointsFuture;
use super::submit::submit;
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::operation::BoxRegistry;
use crate::wave::Wave;
use crate::wave::grants::Absent;
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
    Submission,
    Token(String),
    ServiceInfo,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/container-token" => Some(Self::Submission),
            "/service-info" => Some(Self::ServiceInfo),
            _ => {
                let token = path.strip_prefix("/container-token/")?;
                Some(Self::Token(token.to_owned()))
            }
        }
    }

    async fn answer(
        self,
        wave: &Wave,
        images: &BoxRegistry,
        parts: Parts,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        match (self, &parts.method) {
            (Self::Submission, &Method::POST) => Box::pin(submit(wave, images, parts, body)).await,
            (Self::Submission, _) => Ok(answer::wrong_method("POST")),
            (Self::ServiceInfo, &Method::GET | &Method::HEAD) => {
                let settings = wave.settings();
                Ok(answer::json(&ServiceInfo::new(&settings.version, settings.commit.as_deref())))
            }
            (Self::ServiceInfo, _) => Ok(answer::wrong_method("GET, HEAD")),
            (Self::Token(token), &Method::GET | &Method::HEAD) => {
                allow(wave, &parts, Action::Describe)?;
                let grant = wave.grants().find(&token).await.map_err(absent)?;
                Ok(answer::json(&Description::new(&token, &grant, &wave.settings().authority)))
            }
            (Self::Token(token), &Method::DELETE) => {
                allow(wave, &parts, Action::Revoke)?;
                wave.grants().revoke(&token).await.map_err(absent)?;
                tracing::debug!("a container token was revoked");
                Ok(answer::empty())
            }
            (Self::Token(_), _) => Ok(answer::wrong_method("GET, HEAD, DELETE")),
        }
    }
}

fn allow(wave: &Wave, parts: &Parts, action: Action) -> Result<(), Error> {
    if (wave.settings().authorize)(parts, action) {
        return Ok(());
    }
    Err(Error::denied(match action {
        Action::Describe => "this service doesn't let you see what a container token is for",
        Action::Revoke => "this service doesn't let you revoke container tokens",
    }))
}

fn absent(absent: Absent) -> Error {
    match absent {
        Absent::Failed(error) => error,
        Absent::Unknown => Error::name_unknown(absent.to_string()),
        Absent::Expired(_) => Error::name_unknown(absent.to_string()).with_status(StatusCode::GONE),
    }
}
