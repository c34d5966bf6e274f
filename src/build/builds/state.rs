use std::time::{Duration, SystemTime};

use super::id::BuildId;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::spec::digest::Digest;
use crate::spec::name::ImageName;
use crate::spec::platform::Platform;

/// What is known of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildState {
    /// Its name.
    pub id: BuildId,
    /// Where the result goes.
    pub target: ImageName,
    /// The platforms that it is made for; the engine's own when empty.
    pub platforms: Vec<Platform>,
    /// The digest of the build's context: see [`BuildContext::digest`](crate::build::BuildContext::digest).
    pub context: Digest,
    /// How far it is.
    pub status: BuildStatus,
    /// Whether the image was there already, so that nothing was built.
    pub cached: bool,
    /// When it was asked for.
    pub created: SystemTime,
    /// When the engine began; the last time, when it had to begin again.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
}

/// How far a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildStatus {
    /// It waits for others to end.
    Waiting,
    /// The engine is at work.
    Running,
    /// The image is at its target.
    Succeeded {
        /// The digest of the manifest, or of the index.
        digest: Digest,
    },
    /// There is no image.
    Failed {
        /// Why: the engine's words.
        reason: String,
    },
    /// The process that built it is gone, and it isn't started again by itself.
    Interrupted {
        /// Why not.
        reason: String,
    },
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Submitted {
    /// The build that makes, or made, the image.
    pub id: BuildId,
    /// Whether the image was there already.
    pub cached: bool,
    /// The image's digest, where it was there already.
    pub digest: Option<Digest>,
}

impl BuildState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        !matches!(self.status, BuildStatus::Waiting | BuildStatus::Running)
    }

    /// How long the engine worked, when it has ended.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        let (started, ended) = (self.started?, self.ended?);
        Some(ended.duration_since(started).unwrap_or_default())
    }

    /// What came of it: nothing while it goes on.
    pub(super) fn outcome(&self) -> Option<Result<Digest, Error>> {
        match &self.status {
            BuildStatus::Waiting | BuildStatus::Running => None,
            BuildStatus::Succeeded { digest } => Some(Ok(*digest)),
            BuildStatus::Failed { reason } => {
                let message = format!("the build of {} failed: {reason}", self.target);
                // For who pulls, the image isn't there; a 5xx would only make clients try again.
                Some(Err(Error::new(ErrorKind::Invalid, ErrorCode::ManifestUnknown, message)
                    .with_status(http::StatusCode::NOT_FOUND)))
            }
            BuildStatus::Interrupted { reason } => {
                let message = format!("the build of {} was interrupted: {reason}", self.target);
                Some(Err(Error::unavailable(message)))
            }
        }
    }
}
