//! `/v1alpha1/builds/{id}` and what is below it.

use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use serde::Serialize;

use super::answer;
use crate::body::Body;
use crate::build::builds::{BuildId, BuildState, BuildStatus, Builds};
use crate::build::recipe::lock;
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::wave::Wave;
use crate::wave::grants::iso;

/// What is asked of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Whole,
    Status,
    Logs,
    Lock,
}

impl View {
    /// The build's name and what is asked of it.
    pub(super) fn of(path: &str) -> Option<(String, Self)> {
        let (id, view) = match path.split_once('/') {
            None => (path, Self::Whole),
            Some((id, "status")) => (id, Self::Status),
            Some((id, "logs")) => (id, Self::Logs),
            Some((id, "condalock" | "spacklock")) => (id, Self::Lock),
            Some(_) => return None,
        };
        Some((id.to_owned(), view))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    build_id: String,
    target_image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conda_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spack_file: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    platform: String,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    id: String,
    status: &'static str,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn answer(
    wave: &Wave,
    id: &str,
    view: View,
    query: Option<&str>,
) -> Result<Response<Body>, Error> {
    let unknown = || Error::name_unknown("unknown build");
    let builds = wave.builds().ok_or_else(unknown)?;
    // What can't be a build's name isn't shown: it may be most of one.
    let id: BuildId = id.parse().map_err(|_| unknown())?;
    let state = builds.state(&id).await?.ok_or_else(unknown)?;
    match view {
        View::Whole => Ok(answer::json(&whole(builds, &state).await?)),
        View::Status => Ok(answer::json(&Status {
            id: id.to_string(),
            status: if state.is_ended() { "COMPLETED" } else { "PENDING" },
            start_time: start(&state),
            duration: seconds(&state),
            succeeded: succeeded(&state),
            reason: reason(&state),
        })),
        View::Logs => {
            let follow = query.is_some_and(|query| query.split('&').any(follows));
            Ok(text(builds.log(&id, follow).await?.ok_or_else(unknown)?))
        }
        View::Lock => {
            let log = builds.log(&id, false).await?.ok_or_else(unknown)?;
            let log = log.read(MAX_LOG).await?;
            let lock = lock(&String::from_utf8_lossy(&log));
            let lock = lock.ok_or_else(|| Error::name_unknown("the build has printed no lock"))?;
            Ok(text(lock.into()))
        }
    }
}

fn follows(parameter: &str) -> bool {
    matches!(parameter, "follow" | "follow=true" | "follow=1")
}

async fn whole(builds: &Builds, state: &BuildState) -> Result<Whole, Error> {
    let context = builds.context(&state.id).await?;
    let file = |name: &str| {
        let context = context.as_ref()?;
        let (_, content) = context.files().find(|(file, _)| *file == name)?;
        Some(String::from_utf8_lossy(content).into_owned())
    };
    let container_file = context.as_ref().map(|context| context.container_file().to_owned());
    let platforms: Vec<String> = state.platforms.iter().map(ToString::to_string).collect();
    let digest = match &state.status {
        BuildStatus::Succeeded { digest } => Some(*digest),
        _ => None,
    };
    Ok(Whole {
        build_id: state.id.to_string(),
        target_image: state.target.to_string(),
        docker_file: container_file.filter(|file| !file.is_empty()),
        conda_file: file("conda.yml"),
        spack_file: file("spack.yaml"),
        platform: platforms.join(","),
        start_time: start(state),
        duration: seconds(state),
        cached: state.cached,
        succeeded: succeeded(state),
        digest,
        reason: reason(state),
    })
}

/// When the engine began, or, before that, when the build was asked for.
fn start(state: &BuildState) -> String {
    iso(state.started.unwrap_or(state.created))
}

pub(super) fn seconds(state: &BuildState) -> Option<f64> {
    // To the millisecond, as it is recorded.
    state.duration().map(|duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

pub(super) fn succeeded(state: &BuildState) -> Option<bool> {
    match &state.status {
        BuildStatus::Waiting | BuildStatus::Running => None,
        BuildStatus::Succeeded { .. } => Some(true),
        _ => Some(false),
    }
}

pub(super) fn reason(state: &BuildState) -> Option<String> {
    match &state.status {
        BuildStatus::Failed { reason } | BuildStatus::Interrupted { reason } => Some(reason.clone()),
        _ => None,
    }
}

fn text(body: Body) -> Response<Body> {
    let mut response = answer::with_body(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // What a build prints is its author's, and no page of this service's.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The most bytes of a log in which a lock is looked for.
const MAX_LOG: usize = 64 * 1024 * 1024;
