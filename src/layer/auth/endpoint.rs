use std::time::SystemTime;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde::Serialize;

use super::Auth;
use super::form::{Form, invalid};
use super::presented::Presented;
use super::tokens::Issuer;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::http::failure;
use crate::http::scope::Scopes;
use crate::secret::Secret;
use crate::spec::name::shortened;

/// The largest form: 16 KiB.
const MAX_FORM: usize = 16 * 1024;

/// What the endpoint answers. `GET` and `POST` name the token differently; both names are given, since clients ask in one
/// way and look in the other.
#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<String>,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// A request that was understood.
struct Wanted {
    who: Presented,
    scopes: Scopes,
    /// Whether it wants a refresh token too.
    offline: bool,
}

impl Auth {
    /// Whether a path is that of the token endpoint, if there is one.
    pub(super) fn is_token_endpoint(&self, path: &str) -> bool {
        self.0.issuer.as_ref().is_some_and(|issuer| issuer.path == path)
    }

    /// Answers a request for a token.
    pub(super) async fn answer(self, request: Request<Body>) -> Response<Body> {
        let answer = match &self.0.issuer {
            Some(issuer) => self.hand_out(issuer, request).await,
            None => Err(Error::unsupported("there are no tokens here")),
        };
        answer.unwrap_or_else(|error| failure(&error, false, Some(HeaderValue::from_static("GET, POST"))))
    }

    async fn hand_out(&self, issuer: &Issuer, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        match parts.method {
            Method::GET => {
                let form = Form::parse(parts.uri.query().unwrap_or_default())?;
                for_this(issuer, &form)?;
                let offline = form.one("offline_token")? == Some("true");
                let who = Presented::take(&mut parts.headers);
                self.grant(issuer, Wanted { who, scopes: scopes(&form), offline }).await
            }
            Method::POST => {
                let form = read_form(&parts, body).await?;
                for_this(issuer, &form)?;
                let offline = form.one("access_type")? == Some("offline");
                match form.one("grant_type")? {
                    Some("password") => {
                        let (name, password) = (needed(&form, "username")?, needed(&form, "password")?);
                        let who = Presented::basic(name, password).unwrap_or(Presented::Unreadable);
                        self.grant(issuer, Wanted { who, scopes: scopes(&form), offline }).await
                    }
                    Some("refresh_token") => {
                        let token = needed(&form, "refresh_token")?.into();
                        self.renew(issuer, &token, &scopes(&form)).await
                    }
                    _ => Err(invalid("`grant_type` is `password` or `refresh_token`".to_owned())),
                }
            }
            _ => Err(Error::unsupported("a token is asked for with GET or POST")),
        }
    }

    async fn grant(&self, issuer: &Issuer, wanted: Wanted) -> Result<Response<Body>, Error> {
        let subject = match &wanted.who {
            Presented::Nothing if self.0.anonymous => None,
            Presented::Basic { name, password } if self.0.logins.verify(name, password).await? => Some(name),
            Presented::Nothing => return Err(self.refused("authentication required")),
            _ => return Err(self.refused("wrong user name or password")),
        };
        let mut refresh = None;
        if let (Some(name), true) = (subject, wanted.offline)
            && let Some(revision) = self.0.logins.revision(name).await?
        {
            refresh = issuer.refresh(name, &revision)?;
        }
        answer(issuer, subject.map(String::as_str), &wanted.scopes, refresh.as_ref())
    }

    /// A new token for a refresh token whose owner is still there and has still the same password.
    async fn renew(&self, issuer: &Issuer, token: &Secret, scopes: &Scopes) -> Result<Response<Body>, Error> {
        let ended = || self.refused("the refresh token is not valid or has ended; log in again");
        let (name, state) = issuer.refreshed(token).ok_or_else(ended)?;
        let revision = self.0.logins.revision(&name).await?.ok_or_else(ended)?;
        if Secret::from(issuer.state(&name, &revision)) != state {
            return Err(ended());
        }
        answer(issuer, Some(&name), scopes, Some(token))
    }

    fn refused(&self, message: &str) -> Error {
        let error = Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, message);
        error.with_challenge(self.basic_challenge())
    }
}

fn answer(
    issuer: &Issuer,
    subject: Option<&str>,
    scopes: &Scopes,
    refresh: Option<&Secret>,
) -> Result<Response<Body>, Error> {
    let token = issuer.access(subject, scopes)?;
    let answer = Answer {
        token: token.expose(),
        access_token: token.expose(),
        token_type: "Bearer",
        expires_in: issuer.lifetime.as_secs(),
        issued_at: written(issuer.now()),
        scope: scopes.to_string(),
        refresh_token: refresh.map(Secret::expose),
    };
    let text = serde_json::to_vec(&answer)
        .map_err(|error| Error::internal("the answer could not be written").with_source(error))?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whole seconds, as RFC 3339 has it.
fn written(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

/// A token for another service is asked for elsewhere.
fn for_this(issuer: &Issuer, form: &Form) -> Result<(), Error> {
    match form.one("service")? {
        Some(service) if service != issuer.service => {
            let message =
                format!("this token service is for `{}`, not for `{}`", issuer.service, shortened(service));
            Err(invalid(message))
        }
        _ => Ok(()),
    }
}

/// Repeated, or in one value with spaces between.
fn scopes(form: &Form) -> Scopes {
    let all: Vec<&str> = form.all("scope").collect();
    Scopes::parse(&all.join(" ")).known()
}

async fn read_form(parts: &Parts, body: Body) -> Result<Form, Error> {
    if !is_form(&parts.headers) {
        return Err(invalid("a form has the type application/x-www-form-urlencoded".to_owned()));
    }
    let content = body.read(MAX_FORM).await?;
    let text = std::str::from_utf8(&content).map_err(|_| invalid("a form that is no UTF-8".to_owned()))?;
    Form::parse(text)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn needed<'a>(form: &'a Form, key: &str) -> Result<&'a str, Error> {
    form.one(key)?.ok_or_else(|| invalid(format!("the parameter `{key}` is missing")))
}
