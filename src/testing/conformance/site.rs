use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use tower::ServiceExt as _;

use super::answer::Answer;
use super::case::{Checked, Stop};
use super::target::Target;
use crate::body::Body;
use crate::client::transport::{Guard, HttpService, Transport};
use crate::error::{Error, ErrorCode};
use crate::http::uri::resolve;
use crate::spec::digest::hex;

/// How long an answer may take, with its body.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest body that is read: 32 MiB.
const MAX_BODY: usize = 32 << 20;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// A repository of the registry that is checked, and a client that keeps nothing to itself.
#[derive(Clone, Debug)]
pub(super) struct Site {
    shared: Arc<Shared>,
    url: Uri,
    name: String,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    http: HttpService,
    seed: Uri,
}

impl Site {
    /// A repository that nobody has used.
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        let url = absolute(&target.url)?;
        let seed = target.seed.as_deref().map_or(Ok(url.clone()), absolute)?;
        let http = match &target.http {
            Some(http) => http.clone(),
            None => {
                let mut guard = Guard::public_only();
                for authority in [&url, &seed].into_iter().filter_map(Uri::authority) {
                    guard = guard.allow_host(&authority.as_str().parse()?);
                }
                Transport::builder().build()?.connect(guard)
            }
        };
        let mut run = [0; 6];
        getrandom::fill(&mut run)
            .map_err(|error| Error::internal("the system has no randomness").with_source(error))?;
        let name = format!("{}/{}", target.prefix, hex(&run));
        Ok(Self { shared: Arc::new(Shared { target: target.clone(), http, seed }), url, name })
    }

    /// A repository below this one.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { name: format!("{}/{name}", self.name), ..self.clone() }
    }

    /// The same repository where things can be put into it.
    pub(super) fn seed(&self) -> Self {
        Self { url: self.shared.seed.clone(), ..self.clone() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// The URL of a path in this repository.
    pub(super) fn at(&self, path: &str) -> Checked<Uri> {
        self.root(&format!("/v2/{}/{path}", self.name))
    }

    /// The URL of a path of the registry.
    pub(super) fn root(&self, path: &str) -> Checked<Uri> {
        resolve(&self.url, path).map_err(|error| Stop::Failed(format!("  {path} makes no URL: {error}")))
    }

    pub(super) async fn get(&self, path: &str) -> Checked<Answer> {
        self.send(Method::GET, self.at(path)?, &[], Bytes::new()).await
    }

    pub(super) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Checked<Answer> {
        self.send(Method::GET, self.at(path)?, headers, Bytes::new()).await
    }

    pub(super) async fn head(&self, path: &str) -> Checked<Answer> {
        self.send(Method::HEAD, self.at(path)?, &[], Bytes::new()).await
    }

    /// A `GET` of what a header leads to.
    pub(super) async fn follow(&self, url: Uri) -> Checked<Answer> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// One request, and what comes back after redirects, which holds what every answer has to.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Uri,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Checked<Answer> {
        let mut answer = self.exchange(method.clone(), url, headers, body.into()).await?;
        for _ in 0..MAX_REDIRECTS {
            let is_read = method == Method::GET || method == Method::HEAD;
            if !(is_read && matches!(answer.status, 301 | 302 | 303 | 307 | 308)) {
                break;
            }
            answer = self.exchange(method.clone(), answer.location()?, headers, Body::empty()).await?;
        }
        answer.is_proper()?;
        Ok(answer)
    }

    async fn exchange(
        &self,
        method: Method,
        url: Uri,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Checked<Answer> {
        let mut asked = format!("{method} {url}");
        for (name, value) in headers {
            asked.push_str(&format!("\n    {name}: {value}"));
        }
        let failed = |why: &dyn std::fmt::Display| Stop::Failed(format!("  {why}\n  asked: {asked}"));
        let mut request = Request::builder().method(method).uri(url.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| failed(&error))?;
        let exchange = async {
            let response = self.shared.http.clone().oneshot(request).await?;
            let (parts, body) = response.into_parts();
            Ok::<_, Error>((parts, body.read(MAX_BODY).await?))
        };
        let (parts, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| failed(&"no answer within a minute"))?
            .map_err(|error| failed(&error))?;
        Ok(Answer { asked, url, status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

fn absolute(url: &str) -> Result<Uri, Error> {
    let invalid = || Error::invalid(ErrorCode::NameInvalid, format!("`{url}` is no URL of a registry"));
    let parsed: Uri = url.parse().map_err(|_| invalid())?;
    if parsed.scheme().is_none() || parsed.authority().is_none() {
        return Err(invalid());
    }
    Ok(parsed)
}
