//! What a token opens, and how that is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::plan_record::{self, PlanHead, broken};
use super::settings::{HttpLayers, Settings};
use super::submission::{Source, Submission};
#[cfg(feature = "build")]
use crate::build::builds::BuildId;
use crate::error::Error;
use crate::layer::rewrite::{Pin, Plan, Rewrite};
use crate::spec::digest::Digest;
use crate::spec::name::{Host, ImageName, Repository, Tag};

/// One image with a plan, until a moment.
#[derive(Debug)]
pub(super) struct Grant {
    /// The image that was asked for, with a tag or a digest.
    pub(super) image: ImageName,
    pub(super) content: Content,
    pub(super) plan: Arc<Plan>,
    pub(super) expires: SystemTime,
    pub(super) timestamp: Option<String>,
    pub(super) fingerprint: Option<String>,
    /// What the image is read with, where it isn't the service's own: sealed with the token itself, which is kept nowhere.
    pub(super) access: Option<Bytes>,
}

/// Which content an image has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// What it had when it was asked for.
    Image {
        /// The digest of the image's manifest or index.
        source: Digest,
        /// The digest of what is made of it.
        derived: Digest,
    },
    /// What comes of a build.
    #[cfg(feature = "build")]
    Build(BuildId),
}

/// What `submission` makes of images.
pub(super) fn plan(submission: &Submission, settings: &Settings) -> Result<Plan, Error> {
    let config = &submission.config;
    let mut plan = Plan::builder()
        .layers(submission.layers.iter().cloned())
        .entrypoint(config.entrypoint.iter().map(String::as_str))
        .cmd(config.cmd.iter().map(String::as_str))
        .envs(config.env.iter().map(String::as_str));
    // What is built is built for those that are asked for.
    if let Source::Image(_) = &submission.source {
        plan = plan.platforms(submission.platforms.iter().cloned());
    }
    if let Some(directory) = &config.working_dir {
        plan = plan.working_dir(directory);
    }
    if let Some(variable) = &settings.entry_chain {
        plan = plan.entry_chain(variable);
    }
    // What is built has no name yet that would mean anything elsewhere.
    if settings.base_annotations
        && let Source::Image(image) = &submission.source
    {
        plan = plan.base_name(image.to_string());
    }
    plan.build()
}

impl Grant {
    /// What the rewrite layer makes of a request under the token, whose image has the digest `source`.
    pub(super) fn rewrite(&self, source: Digest) -> Rewrite {
        // Beside a digest, a tag says nothing: it may mean another image by now.
        let reference = self.image.reference();
        let tag = reference.tag();
        Rewrite::new(Arc::clone(&self.plan)).pinned(Pin::new(tag.cloned(), source))
    }

    /// The record.
    pub(super) fn encode(&self) -> Result<Bytes, Error> {
        let (pinned, build) = match &self.content {
            Content::Image { source, derived } => (Some((*source, *derived)), None),
            #[cfg(feature = "build")]
            Content::Build(id) => (None, Some(id.to_string())),
        };
        let head = Head {
            version: VERSION,
            registry: self.image.registry().clone(),
            repository: self.image.repository().clone(),
            tag: self.image.tag().cloned(),
            digest: self.image.digest().copied(),
            pinned,
            build,
            expires: self.expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            plan: PlanHead::of(&self.plan),
            timestamp: self.timestamp.clone(),
            fingerprint: self.fingerprint.clone(),
            access: self.access.as_ref().map(|access| BASE64_STANDARD.encode(access)),
        };
        plan_record::frame(&head, &self.plan)
    }

    /// Reads a record. The layers' bytes stay where they are; they are hashed, which keeps a core busy.
    pub(super) fn decode(record: &Bytes, http: HttpLayers) -> Result<Self, Error> {
        let (head, mut contents): (Head, Bytes) = plan_record::unframe(record)?;
        if head.version != VERSION {
            return Err(broken("it is of another version"));
        }
        let content = match (head.pinned, head.build) {
            (Some((source, derived)), None) => Content::Image { source, derived },
            #[cfg(feature = "build")]
            (None, Some(id)) => Content::Build(id.parse().map_err(|_| broken("its build has no name"))?),
            _ => return Err(broken("it says nothing of an image")),
        };
        let access = head.access.map(|access| BASE64_STANDARD.decode(access)).transpose();
        Ok(Self {
            image: ImageName::new(head.registry, head.repository, head.tag, head.digest),
            content,
            plan: Arc::new(head.plan.restore(&mut contents, http)?),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(head.expires),
            timestamp: head.timestamp,
            fingerprint: head.fingerprint,
            access: access.map_err(|_| broken("its credentials are malformed"))?.map(Bytes::from),
        })
    }
}

const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    registry: Host,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
    /// The digests of the source and of what is made of it.
    pinned: Option<(Digest, Digest)>,
    build: Option<String>,
    /// Seconds since 1970.
    expires: u64,
    plan: PlanHead,
    timestamp: Option<String>,
    fingerprint: Option<String>,
    /// Sealed, in base64.
    access: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::rewrite::{HttpMode, InjectedLayer};
    use crate::spec::platform::Platform;

    fn grant() -> Grant {
        let layer = InjectedLayer::from_tar(vec![0; 1024].into()).unwrap();
        let uri = "https://layers.test/a?b=c".parse().unwrap();
        let elsewhere =
            InjectedLayer::from_http(uri, *layer.digest(), *layer.diff_id(), 7, HttpMode::Redirect).unwrap();
        let plan = Plan::builder()
            .layers([layer.clone(), elsewhere, layer])
            .env("A=1")
            .entrypoint(["/e"])
            .cmd(["c"])
            .working_dir("/w")
            .platforms(["linux/arm64".parse().unwrap(), Platform::LINUX_AMD64])
            .entry_chain("CHAIN")
            .base_name("docker.io/library/busybox:latest");
        Grant {
            image: "busybox:latest".parse().unwrap(),
            content: Content::Image {
                source: Digest::sha256(b"source"),
                derived: Digest::sha256(b"derived"),
            },
            plan: Arc::new(plan.build().unwrap()),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            timestamp: Some("2026-01-01T00:00:00Z".to_owned()),
            fingerprint: None,
            access: Some(Bytes::from_static(b"sealed")),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let grant = grant();
        let record = grant.encode().unwrap();
        let read = Grant::decode(&record, HttpLayers::Redirect).unwrap();
        assert_eq!(read.plan, grant.plan);
        assert_eq!((&read.image, &read.content), (&grant.image, &grant.content));
        assert_eq!(read.access, grant.access);
        assert_eq!((read.expires, read.timestamp, read.fingerprint), (grant.expires, grant.timestamp, None));
        // Where a layer comes from is none of a plan's business: settings may change while a token lives.
        let streamed = Grant::decode(&record, HttpLayers::Stream).unwrap();
        assert_eq!(streamed.plan.digest(), grant.plan.digest());
        let refused = Grant::decode(&record, HttpLayers::Refuse).unwrap_err();
        assert_eq!(refused.to_string(), "this service no longer serves layers from http addresses");
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let record = grant().encode().unwrap();
        for length in 0..record.len() {
            assert!(Grant::decode(&record.slice(..length), HttpLayers::Redirect).is_err(), "{length}");
        }
        let mut flipped = record.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let error = Grant::decode(&flipped.into(), HttpLayers::Redirect).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Internal);
        let long = [&[0xff; 4][..], &record[4..]].concat();
        let error = Grant::decode(&long.into(), HttpLayers::Redirect).unwrap_err();
        assert_eq!(error.to_string(), "a token's record is damaged: it is cut off");
    }
}
