//! The JSON of answers. What is absent is left out, never `null`.

use std::time::SystemTime;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::error::{Error, RetryAfter};
use crate::layer::rewrite::{InjectedLayer, LayerSource};
use crate::spec::digest::Digest;
use crate::spec::name::Host;
use crate::wave::grant::Grant;
use crate::wave::grants::iso;
use crate::wave::images::PREFIX;

/// The answer to a submission.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submitted<'a> {
    container_token: &'a str,
    target_image: String,
    expiration: String,
    container_image: String,
    target_digest: Digest,
    freeze: bool,
    succeeded: bool,
}

impl<'a> Submitted<'a> {
    pub(super) fn new(token: &'a str, grant: &Grant, authority: &Host) -> Self {
        Self {
            container_token: token,
            target_image: target_image(token, grant, authority),
            expiration: iso(grant.expires),
            container_image: grant.image.to_string(),
            target_digest: grant.derived,
            freeze: false,
            succeeded: true,
        }
    }
}

/// The answer to who asks what a token is for: nothing of it is a secret but the token, which the caller has.
#[derive(Serialize)]
pub(super) struct Description<'a> {
    token: &'a str,
    expiration: String,
    request: DescribedRequest<'a>,
    source: DescribedImage,
    wave: DescribedImage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedRequest<'a> {
    container_image: String,
    container_config: DescribedConfig<'a>,
    #[serde(skip_serializing_if = "String::is_empty")]
    container_platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedConfig<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    /// The names alone: values may be secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<DescribedLayer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedLayer {
    /// Where it is, if it is elsewhere; without the query, which may be a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    gzip_digest: Digest,
    gzip_size: u64,
    tar_digest: Digest,
}

#[derive(Serialize)]
struct DescribedImage {
    image: String,
    digest: Digest,
}

impl<'a> Description<'a> {
    pub(super) fn new(token: &'a str, grant: &'a Grant, authority: &Host) -> Self {
        let plan = &grant.plan;
        let platforms: Vec<String> = plan.platforms().iter().map(ToString::to_string).collect();
        let names =
            plan.env().iter().map(|entry| entry.split_once('=').map_or(entry.as_str(), |(name, _)| name));
        Self {
            token,
            expiration: iso(grant.expires),
            request: DescribedRequest {
                container_image: grant.image.to_string(),
                container_config: DescribedConfig {
                    entrypoint: plan.entrypoint(),
                    cmd: plan.cmd(),
                    env: names.collect(),
                    working_dir: plan.working_dir(),
                    layers: plan.layers().iter().map(DescribedLayer::of).collect(),
                },
                container_platform: platforms.join(","),
                timestamp: grant.timestamp.as_deref(),
                fingerprint: grant.fingerprint.as_deref(),
            },
            source: DescribedImage { image: grant.image.to_string(), digest: grant.source },
            wave: DescribedImage { image: target_image(token, grant, authority), digest: grant.derived },
        }
    }
}

impl DescribedLayer {
    fn of(layer: &InjectedLayer) -> Self {
        let location = match layer.source() {
            LayerSource::Http { uri, .. } => {
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                Some(format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path()))
            }
            _ => None,
        };
        Self { location, gzip_digest: *layer.digest(), gzip_size: layer.size(), tar_digest: *layer.diff_id() }
    }
}

/// The answer of `/service-info`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceInfo<'a> {
    service_info: Info<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_id: Option<&'a str>,
}

impl<'a> ServiceInfo<'a> {
    pub(super) fn new(version: &'a str, commit_id: Option<&'a str>) -> Self {
        Self { service_info: Info { version, commit_id } }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    message: &'a str,
}

/// The name under which clients pull: by the digest of what they get, where the image was named by digest.
fn target_image(token: &str, grant: &Grant, authority: &Host) -> String {
    let repository = grant.image.repository();
    let name = format!("{authority}/{PREFIX}/{token}/{repository}");
    match grant.image.reference().tag() {
        Some(tag) => format!("{name}:{tag}"),
        None => format!("{name}@{}", grant.derived),
    }
}

/// `200` with `value`.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    with_json(StatusCode::OK, value)
}

/// `204`.
pub(super) fn empty() -> Response<Body> {
    with_status(StatusCode::NO_CONTENT, Body::empty())
}

/// `405`, saying what is allowed.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let message = format!("this method is not allowed here: {allowed} is");
    let mut response = with_json(StatusCode::METHOD_NOT_ALLOWED, &Failure { message: &message });
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What the service answers when it fails.
pub(super) fn failure(error: &Error) -> Response<Body> {
    let mut response = with_json(error.status(), &Failure { message: error.message() });
    let retry_after = error.retry_after().map(|retry_after| match retry_after {
        RetryAfter::Delay(delay) => HeaderValue::from(delay.as_secs()),
        at => HeaderValue::from(at.delay_from(SystemTime::now()).as_secs()),
    });
    if let Some(value) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn with_json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    // Plain structs of texts always have a JSON form.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = with_status(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Answers have tokens in them, and depend on what came before.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
