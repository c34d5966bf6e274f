//! Builds as they are recorded: JSON, with all of a request but what opens registries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::state::{BuildState, BuildStatus};
use crate::build::{BuildContext, BuildRequest};
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::name::Host;

/// A build's state, and who works on it.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) state: BuildState,
    /// Whether the request came with credentials of the caller's own, which aren't recorded.
    pub(super) own_access: bool,
    /// How often an engine was to begin.
    pub(super) runs: u32,
    pub(super) lease: Option<Lease>,
}

/// Who works on a build, until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) owner: String,
    /// In milliseconds since 1970.
    until: u64,
}

impl Lease {
    pub(super) fn new(owner: &str, until: SystemTime) -> Self {
        Self { owner: owner.to_owned(), until: millis(until) }
    }

    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.until > millis(now)
    }
}

impl Recorded {
    pub(super) fn encode(&self) -> Result<Bytes, Error> {
        let BuildState { id, target, platforms, context, status, cached, created, started, ended } =
            &self.state;
        let status = match status {
            BuildStatus::Waiting => Status::Waiting,
            BuildStatus::Running => Status::Running,
            BuildStatus::Succeeded { digest } => Status::Succeeded { digest: *digest },
            BuildStatus::Failed { reason } => Status::Failed { reason: reason.clone() },
            BuildStatus::Interrupted { reason } => Status::Interrupted { reason: reason.clone() },
        };
        encode(&StateRecord {
            version: VERSION,
            id: id.to_string(),
            target: target.to_string(),
            platforms: platforms.iter().map(ToString::to_string).collect(),
            context: *context,
            status,
            cached: *cached,
            created: millis(*created),
            started: started.map(millis),
            ended: ended.map(millis),
            own_access: self.own_access,
            runs: self.runs,
            lease: self.lease.clone(),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let record: StateRecord = decode(bytes)?;
        check(record.version)?;
        let state = BuildState {
            id: record.id.parse().map_err(damaged)?,
            target: record.target.parse().map_err(damaged)?,
            platforms: parse_all(&record.platforms)?,
            context: record.context,
            status: match record.status {
                Status::Waiting => BuildStatus::Waiting,
                Status::Running => BuildStatus::Running,
                Status::Succeeded { digest } => BuildStatus::Succeeded { digest },
                Status::Failed { reason } => BuildStatus::Failed { reason },
                Status::Interrupted { reason } => BuildStatus::Interrupted { reason },
            },
            cached: record.cached,
            created: time(record.created),
            started: record.started.map(time),
            ended: record.ended.map(time),
        };
        Ok(Self { state, own_access: record.own_access, runs: record.runs, lease: record.lease })
    }
}

/// What is to be built. Every field is named here, so that a new one is thought about: a credential has no place in
/// a record.
pub(super) fn encode_request(request: &BuildRequest) -> Result<Bytes, Error> {
    let BuildRequest { context, platforms, target, cache, access: _, insecure } = request;
    let files = context.files().map(|(name, content)| (name.to_owned(), BASE64_STANDARD.encode(content)));
    encode(&RequestRecord {
        version: VERSION,
        target: target.to_string(),
        platforms: platforms.iter().map(ToString::to_string).collect(),
        cache: cache.as_ref().map(ToString::to_string),
        insecure: insecure.clone(),
        container_file: context.container_file().to_owned(),
        files: files.collect(),
    })
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<BuildRequest, Error> {
    let record: RequestRecord = decode(bytes)?;
    check(record.version)?;
    let files = record.files.into_iter().map(|(name, content)| {
        let content = BASE64_STANDARD.decode(content).map_err(damaged)?;
        Ok((name, Bytes::from(content)))
    });
    let files = files.collect::<Result<BTreeMap<_, _>, Error>>()?;
    Ok(BuildRequest {
        context: Arc::new(BuildContext::recorded(record.container_file, files)),
        platforms: parse_all(&record.platforms)?,
        target: record.target.parse().map_err(damaged)?,
        cache: record.cache.map(|cache| cache.parse()).transpose().map_err(damaged)?,
        access: Vec::new(),
        insecure: record.insecure,
    })
}

#[derive(Serialize, Deserialize)]
struct StateRecord {
    version: u32,
    id: String,
    target: String,
    platforms: Vec<String>,
    context: Digest,
    status: Status,
    cached: bool,
    created: u64,
    started: Option<u64>,
    ended: Option<u64>,
    own_access: bool,
    runs: u32,
    lease: Option<Lease>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Waiting,
    Running,
    Succeeded { digest: Digest },
    Failed { reason: String },
    Interrupted { reason: String },
}

#[derive(Serialize, Deserialize)]
struct RequestRecord {
    version: u32,
    target: String,
    platforms: Vec<String>,
    cache: Option<String>,
    insecure: Vec<Host>,
    container_file: String,
    files: BTreeMap<String, String>,
}

fn encode(record: &impl Serialize) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(record)
        .map_err(|error| Error::internal("a build can't be recorded").with_source(error))?;
    Ok(bytes.into())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(damaged)
}

fn check(version: u32) -> Result<(), Error> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::internal(format!(
        "a build is recorded in form {version}, and {VERSION} is what is known here"
    )))
}

fn parse_all<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    texts: &[String],
) -> Result<Vec<T>, Error> {
    texts.iter().map(|text| text.parse().map_err(damaged)).collect()
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the record of a build is damaged").with_source(error)
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}

const VERSION: u32 = 1;
