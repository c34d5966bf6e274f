//! `/v1alpha2/container/{id}` and its status.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::Error;
use crate::wave::Wave;
use crate::wave::grants::iso;
use crate::wave::noted::Noted;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    request_id: String,
    container_image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<bool>,
    freeze: bool,
    creation_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    id: String,
    /// `PENDING` while it waits for others, `BUILDING`, or `DONE`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<String>,
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_uri: Option<String>,
}

pub(super) async fn described(wave: &Wave, id: &str) -> Result<Described, Error> {
    let noted = wave.noted(id).await?;
    Ok(Described {
        request_id: id.to_owned(),
        creation_time: created(&noted),
        container_image: noted.container_image,
        target_image: noted.target_image,
        build_id: noted.build,
        cached: noted.cached,
        freeze: noted.freeze,
    })
}

pub(super) async fn status(wave: &Wave, id: &str) -> Result<Status, Error> {
    let noted = wave.noted(id).await?;
    let done = Status {
        id: id.to_owned(),
        status: "DONE",
        build_id: noted.build.clone(),
        creation_time: created(&noted),
        duration: None,
        succeeded: Some(true),
        reason: None,
        details_uri: None,
    };
    match &noted.build {
        None => Ok(done),
        Some(build) => of_build(wave, build, done).await,
    }
}

#[cfg(feature = "build")]
async fn of_build(wave: &Wave, build: &str, done: Status) -> Result<Status, Error> {
    use super::builds::{reason, seconds, succeeded};
    use crate::build::builds::BuildStatus;

    let unknown = || Error::name_unknown("the build of this container request is no longer known");
    let builds = wave.builds().ok_or_else(unknown)?;
    let state = builds.state(&build.parse().map_err(|_| unknown())?).await?.ok_or_else(unknown)?;
    let status = match &state.status {
        BuildStatus::Waiting => "PENDING",
        BuildStatus::Running => "BUILDING",
        _ => "DONE",
    };
    Ok(Status {
        status,
        duration: seconds(&state),
        succeeded: succeeded(&state),
        reason: reason(&state),
        details_uri: Some(format!("{}/v1alpha1/builds/{build}", wave.settings().server_url)),
        ..done
    })
}

#[cfg(not(feature = "build"))]
async fn of_build(_: &Wave, _: &str, _: Status) -> Result<Status, Error> {
    Err(Error::name_unknown("this service builds no images"))
}

fn created(noted: &Noted) -> String {
    iso(SystemTime::UNIX_EPOCH + Duration::from_secs(noted.created))
}
