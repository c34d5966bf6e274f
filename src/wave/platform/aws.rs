//! Passwords of Amazon's registries, had for keys of AWS.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::ecr::{EcrHost, EcrKind};
use super::exchange::{Answer, Exchange, sensitive};
use super::kept::{Key, Told};
use super::sigv4::{AwsKeys, Signing};
use crate::body::Body;
use crate::error::Error;
use crate::operation::Credential;
use crate::rt::Clock;
use crate::secret::Secret;

/// What a platform keeps for AWS.
#[derive(Clone)]
pub(super) struct AwsAccount {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    pub(super) role: Option<String>,
    pub(super) external_id: Option<String>,
}

impl AwsAccount {
    /// What a password that was had for `host` is kept under.
    pub(super) fn key(&self, host: &EcrHost) -> Key {
        let role = self.role.as_deref().unwrap_or_default();
        let external = self.external_id.as_deref().unwrap_or_default();
        let parts = [&self.access_key, self.secret_key.expose(), role, external, &host.password_service()];
        Key::of(&parts.map(str::as_bytes))
    }
}

/// What asks AWS. The services can be elsewhere, for tests and for private endpoints.
#[derive(Clone)]
pub(super) struct Aws {
    pub(super) exchange: Exchange,
    pub(super) clock: Clock,
    pub(super) password_service: Option<Uri>,
    pub(super) role_service: Option<Uri>,
}

/// A service of AWS, as messages have it.
struct Service<'a>(&'a Uri);

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AWS' service `{}`", self.0.host().unwrap_or_default())
    }
}

/// One request.
struct Question<'a> {
    service: &'static str,
    region: &'a str,
    at: &'a Uri,
    headers: &'a [(&'static str, &'a str)],
    body: String,
    what: &'static str,
}

impl Aws {
    /// The password of `host` for `account`, believed until shortly before it ends.
    pub(super) async fn password(
        &self,
        account: &AwsAccount,
        host: &EcrHost,
    ) -> Result<Told<Credential>, Error> {
        let mut keys =
            AwsKeys { access: account.access_key.clone(), secret: account.secret_key.clone(), session: None };
        if let Some(role) = account.role.as_deref().filter(|role| !role.is_empty()) {
            keys = self.role(&keys, role, account.external_id.as_deref(), host).await?;
        }
        let (service, target) = match host.kind {
            EcrKind::Private => ("ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
            EcrKind::Public => ("ecr-public", "SpencerFrontendService.GetAuthorizationToken"),
        };
        let at = place(self.password_service.as_ref(), host.password_service())?;
        let question = Question {
            service,
            region: &host.region,
            at: &at,
            headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)],
            body: "{}".to_owned(),
            what: "a registry's password",
        };
        let answer = self.ask(&keys, &question).await?;
        let (credential, ends) = password(&answer, host.kind).ok_or_else(|| {
            Error::bad_gateway(format!("{} answered with something else than a password", Service(&at)))
        })?;
        let now = self.clock.now();
        let until = ends.map_or(now, |ends| ends.checked_sub(SLACK).unwrap_or(now));
        Ok(Told { value: credential, until, weight: answer.len() })
    }

    /// The keys of a role.
    async fn role(
        &self,
        keys: &AwsKeys,
        role: &str,
        external_id: Option<&str>,
        host: &EcrHost,
    ) -> Result<AwsKeys, Error> {
        let at = place(self.role_service.as_ref(), host.role_service())?;
        let escaped = |text| utf8_percent_encode(text, IN_FORM);
        let mut body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName=tower-oci",
            escaped(role)
        );
        if let Some(id) = external_id.filter(|id| !id.is_empty()) {
            body.push_str(&format!("&ExternalId={}", escaped(id)));
        }
        let question = Question {
            service: "sts",
            region: &host.region,
            at: &at,
            headers: &[("content-type", "application/x-www-form-urlencoded")],
            body,
            what: "the keys of a role",
        };
        let answer = self.ask(keys, &question).await?;
        role_keys(&answer).ok_or_else(|| {
            Error::bad_gateway(format!("{} answered with something else than keys", Service(&at)))
        })
    }

    async fn ask(&self, keys: &AwsKeys, question: &Question<'_>) -> Result<bytes::Bytes, Error> {
        let Question { service, region, at, headers, body, what } = question;
        let signing = Signing { keys, region, service, at: self.clock.now() };
        let host = host_header(at);
        let mut request = Request::post((*at).clone());
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signing.sign(&host, headers, body.as_bytes()) {
            let value = sensitive(value.expose())
                .ok_or_else(|| Error::bad_gateway("the platform keeps keys of AWS that can be none"))?;
            request = request.header(name, value);
        }
        let request = request
            .body(Body::from(body.clone()))
            .map_err(|_| Error::internal("a call that makes no request"))?;
        let answer: Answer = self.exchange.send(&Service(at), request, MAX_ANSWER).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let session = keys.session.clone();
        let secrets: Vec<Secret> = [Some(keys.secret.clone()), session].into_iter().flatten().collect();
        Err(match answer.status.as_u16() {
            400 | 401 | 403 => {
                let failure = answer.failure(&Service(at), what, &secrets);
                Error::denied(failure.message()).context("the keys that the platform keeps for AWS")
            }
            _ => answer.failure(&Service(at), what, &secrets),
        })
    }
}

/// The value of `Host` as it is sent, which is part of what is signed: without the scheme's own port.
fn host_header(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port_u16()) {
        (_, None) | (Some("https"), Some(443)) | (Some("http"), Some(80)) => host.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
    }
}

fn place(configured: Option<&Uri>, usual: String) -> Result<Uri, Error> {
    match configured {
        Some(uri) => Ok(uri.clone()),
        None => usual.parse().map_err(|_| Error::internal("a service of AWS without an address")),
    }
}

/// What an authorization token is: user name and password in base64.
fn password(answer: &[u8], kind: EcrKind) -> Option<(Credential, Option<SystemTime>)> {
    let data = match kind {
        EcrKind::Private => serde_json::from_slice::<Private>(answer).ok()?.data.into_iter().next()?,
        EcrKind::Public => serde_json::from_slice::<Public>(answer).ok()?.data,
    };
    let pair = BASE64_STANDARD.decode(data.token.expose()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    let since = data.expires.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let ends = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    Some((Credential::basic(username, password), ends))
}

#[derive(Deserialize)]
struct Private {
    #[serde(rename = "authorizationData")]
    data: Vec<Authorization>,
}

#[derive(Deserialize)]
struct Public {
    #[serde(rename = "authorizationData")]
    data: Authorization,
}

#[derive(Deserialize)]
struct Authorization {
    #[serde(rename = "authorizationToken")]
    token: Secret,
    /// In seconds since 1970.
    #[serde(rename = "expiresAt")]
    expires: Option<f64>,
}

/// The answer is XML; of the three elements that count each occurs once and has letters, digits, `+`, `/` and `=` in it.
fn role_keys(answer: &[u8]) -> Option<AwsKeys> {
    let text = std::str::from_utf8(answer).ok()?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        let value = value.trim();
        let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b));
        (plain && !value.is_empty()).then(|| value.to_owned())
    };
    Some(AwsKeys {
        access: element("AccessKeyId")?,
        secret: element("SecretAccessKey")?.into(),
        session: Some(element("SessionToken")?.into()),
    })
}

/// The unreserved characters of RFC 3986.
const IN_FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The largest answer that is read, in bytes: a password of ECR has some thousand.
const MAX_ANSWER: usize = 64 * 1024;

/// How long before its end a password is no longer given out: a pull that begins with it may take a while.
const SLACK: Duration = Duration::from_secs(15 * 60);
