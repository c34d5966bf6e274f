//! `POST /validate-creds`: whether a user name and a password open a registry.

use http::Response;
use http::request::Parts;
use serde::Deserialize;

use super::answer;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::operation::{BoxRegistry, Credential, Origin, Ping, Registry as _, Request};
use crate::secret::Secret;
use crate::spec::json;
use crate::spec::name::{Host, shortened};
use crate::wave::Wave;
use crate::wave::request::invalid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    user_name: Option<String>,
    password: Option<Secret>,
    registry: Option<String>,
}

/// Answers true or false, in JSON. What else is wrong, a registry that can't be reached say, is told as it is: then
/// nobody knows.
pub(super) async fn check_credential(
    wave: &Wave,
    images: &BoxRegistry,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>, Error> {
    if let Some(limiter) = &wave.settings().submissions {
        limiter.check(&parts.extensions)?;
    }
    let body = body.limited(MAX as u64, "request").read(MAX).await?;
    json::check(&body).map_err(|error| invalid(format!("the request is no valid JSON: {error}")))?;
    // Serde's own words could show the password.
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|_| invalid("the request is no object of texts: `userName`, `password`, `registry`"))?;
    let given = |name: &str, value: Option<String>| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| invalid(format!("`{name}` is missing")))
    };
    let user_name = given("userName", asked.user_name)?;
    let password = asked.password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| invalid("`password` is missing"))?;
    let registry = host(asked.registry.as_deref())?;

    let mut request = Request::from_parts(Ping::new(), parts.extensions);
    request.extensions_mut().insert(Origin::new(registry.clone()));
    request.extensions_mut().insert(Credential::basic(user_name, password));
    match images.send(request).await {
        Ok(_) => Ok(answer::json(&true)),
        Err(error) if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied) => {
            Ok(answer::json(&false))
        }
        Err(error) => Err(error.context(format_args!("`registry`: `{registry}` can't be asked"))),
    }
}

/// The registry that is meant: Docker Hub when none is named. A protocol in front and a path behind are left out, as
/// people copy addresses.
fn host(registry: Option<&str>) -> Result<Host, Error> {
    let Some(text) = registry.filter(|text| !text.is_empty()) else { return Ok(Host::docker_hub()) };
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => Ok(Host::docker_hub()),
        host => {
            host.parse().map_err(|_| invalid(format!("`registry` is no registry: `{}`", shortened(text))))
        }
    }
}

/// The largest request.
const MAX: usize = 64 * 1024;
