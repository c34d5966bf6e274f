//! What a token opens, and how that is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::settings::{HttpLayers, Settings};
use super::submission::Submission;
use crate::error::Error;
use crate::layer::rewrite::{HttpMode, InjectedLayer, LayerKind, LayerSource, Pin, Plan, Rewrite};
use crate::spec::digest::Digest;
use crate::spec::name::{Host, ImageName, Repository, Tag};
use crate::spec::platform::Platform;

/// One image with a plan, until a moment.
#[derive(Debug)]
pub(super) struct Grant {
    /// The image that was asked for, with a tag or a digest.
    pub(super) image: ImageName,
    /// The digest of the image's manifest or index when it was asked for.
    pub(super) source: Digest,
    /// The digest of what is made of it.
    pub(super) derived: Digest,
    pub(super) plan: Arc<Plan>,
    pub(super) expires: SystemTime,
    pub(super) timestamp: Option<String>,
    pub(super) fingerprint: Option<String>,
}

/// What `submission` makes of images.
pub(super) fn plan(submission: &Submission, settings: &Settings) -> Result<Plan, Error> {
    let config = &submission.config;
    let mut plan = Plan::builder()
        .layers(submission.layers.iter().cloned())
        .entrypoint(config.entrypoint.iter().map(String::as_str))
        .cmd(config.cmd.iter().map(String::as_str))
        .envs(config.env.iter().map(String::as_str))
        .platforms(submission.platforms.iter().cloned());
    if let Some(directory) = &config.working_dir {
        plan = plan.working_dir(directory);
    }
    if let Some(variable) = &settings.entry_chain {
        plan = plan.entry_chain(variable);
    }
    if settings.base_annotations {
        plan = plan.base_name(submission.image.to_string());
    }
    plan.build()
}

impl Grant {
    /// What the rewrite layer makes of a request under the token.
    pub(super) fn rewrite(&self) -> Rewrite {
        // Beside a digest, a tag says nothing: it may mean another image by now.
        let reference = self.image.reference();
        let tag = reference.tag();
        Rewrite::new(Arc::clone(&self.plan)).pinned(Pin::new(tag.cloned(), self.source))
    }

    /// The record: the length of a head, the head as JSON, the layers' bytes one after the other.
    pub(super) fn encode(&self) -> Result<Bytes, Error> {
        let plan = &self.plan;
        let layers = plan.layers().iter();
        let head = Head {
            version: VERSION,
            registry: self.image.registry().clone(),
            repository: self.image.repository().clone(),
            tag: self.image.tag().cloned(),
            digest: self.image.digest().copied(),
            source: self.source,
            derived: self.derived,
            expires: self.expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            entrypoint: plan.entrypoint().to_vec(),
            cmd: plan.cmd().to_vec(),
            env: plan.env().to_vec(),
            working_dir: plan.working_dir().map(str::to_owned),
            platforms: plan.platforms().iter().map(ToString::to_string).collect(),
            entry_chain: plan.entry_chain().map(str::to_owned),
            base_name: plan.base_name().map(str::to_owned),
            layers: layers.clone().map(LayerHead::of).collect(),
            timestamp: self.timestamp.clone(),
            fingerprint: self.fingerprint.clone(),
        };
        let head = serde_json::to_vec(&head)
            .map_err(|error| Error::internal("a token's record can't be written").with_source(error))?;
        let contents = layers.filter_map(InjectedLayer::bytes);
        let length = contents.clone().map(Bytes::len).sum::<usize>();
        let mut record = BytesMut::with_capacity(size_of::<u32>() + head.len() + length);
        record.put_u32(u32::try_from(head.len()).map_err(|_| broken("its head is too long"))?);
        record.put_slice(&head);
        for content in contents {
            record.put_slice(content);
        }
        Ok(record.freeze())
    }

    /// Reads a record. The layers' bytes stay where they are; they are hashed, which keeps a core busy.
    pub(super) fn decode(record: &Bytes, http: HttpLayers) -> Result<Self, Error> {
        let mut rest = record.clone();
        let length =
            rest.split_to_checked(size_of::<u32>()).and_then(|length| length.as_ref().try_into().ok());
        let length = length.map(u32::from_be_bytes).and_then(|length| usize::try_from(length).ok());
        let head = length.and_then(|length| rest.split_to_checked(length));
        let head = head.ok_or_else(|| broken("it is cut off"))?;
        let head: Head = serde_json::from_slice(&head)
            .map_err(|error| broken("its head is malformed").with_source(error))?;
        if head.version != VERSION {
            return Err(broken("it is of another version"));
        }
        let mut plan = Plan::builder()
            .entrypoint(head.entrypoint)
            .cmd(head.cmd)
            .envs(head.env)
            .working_dir(head.working_dir.unwrap_or_default());
        for layer in head.layers {
            plan = plan.layer(layer.restore(&mut rest, http)?);
        }
        let platforms: Result<Vec<Platform>, _> = head.platforms.iter().map(|text| text.parse()).collect();
        plan = plan.platforms(platforms?);
        if let Some(variable) = head.entry_chain {
            plan = plan.entry_chain(variable);
        }
        if let Some(name) = head.base_name {
            plan = plan.base_name(name);
        }
        Ok(Self {
            image: ImageName::new(head.registry, head.repository, head.tag, head.digest),
            source: head.source,
            derived: head.derived,
            plan: Arc::new(plan.build()?),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(head.expires),
            timestamp: head.timestamp,
            fingerprint: head.fingerprint,
        })
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    registry: Host,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
    source: Digest,
    derived: Digest,
    /// Seconds since 1970.
    expires: u64,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    working_dir: Option<String>,
    platforms: Vec<String>,
    // The plan's digest depends on these two, and a token must outlive a change of the settings.
    entry_chain: Option<String>,
    base_name: Option<String>,
    layers: Vec<LayerHead>,
    timestamp: Option<String>,
    fingerprint: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct LayerHead {
    kind: String,
    digest: Digest,
    diff_id: Digest,
    size: u64,
    /// Where it is; in the record when absent.
    uri: Option<String>,
}

impl LayerHead {
    fn of(layer: &InjectedLayer) -> Self {
        let uri = match layer.source() {
            LayerSource::Http { uri, .. } => Some(uri.to_string()),
            _ => None,
        };
        Self {
            kind: layer.kind().as_str().to_owned(),
            digest: *layer.digest(),
            diff_id: *layer.diff_id(),
            size: layer.size(),
            uri,
        }
    }

    fn restore(self, contents: &mut Bytes, http: HttpLayers) -> Result<InjectedLayer, Error> {
        let kinds = [LayerKind::Tar, LayerKind::Gzip, LayerKind::Zstd];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == self.kind);
        let kind = kind.ok_or_else(|| broken("a layer is of an unknown kind"))?;
        let Some(uri) = self.uri else {
            let length = usize::try_from(self.size).unwrap_or(usize::MAX);
            let content = contents.split_to_checked(length).ok_or_else(|| broken("a layer is cut off"))?;
            return InjectedLayer::restored(content, kind, self.digest, self.diff_id);
        };
        let uri = uri.parse().map_err(|error| broken("a layer's address is malformed").with_source(error))?;
        // What the settings say now counts for tokens of before, too; those that refuse serve no such layer.
        let mode = match http {
            HttpLayers::Redirect => HttpMode::Redirect,
            HttpLayers::Stream => HttpMode::Stream,
            HttpLayers::Refuse => {
                return Err(Error::denied("this service no longer serves layers from http addresses"));
            }
        };
        Ok(InjectedLayer::from_http(uri, self.digest, self.diff_id, self.size, mode)?.with_kind(kind))
    }
}

/// `Bytes::split_to` that doesn't panic.
trait SplitTo: Sized {
    fn split_to_checked(&mut self, length: usize) -> Option<Self>;
}

impl SplitTo for Bytes {
    fn split_to_checked(&mut self, length: usize) -> Option<Self> {
        (length <= self.len()).then(|| self.split_to(length))
    }
}

fn broken(reason: &'static str) -> Error {
    Error::internal(format!("a token's record is damaged: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            source: Digest::sha256(b"source"),
            derived: Digest::sha256(b"derived"),
            plan: Arc::new(plan.build().unwrap()),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            timestamp: Some("2026-01-01T00:00:00Z".to_owned()),
            fingerprint: None,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let grant = grant();
        let record = grant.encode().unwrap();
        let read = Grant::decode(&record, HttpLayers::Redirect).unwrap();
        assert_eq!(read.plan, grant.plan);
        assert_eq!((&read.image, read.source, read.derived), (&grant.image, grant.source, grant.derived));
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
