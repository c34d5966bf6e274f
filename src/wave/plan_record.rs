//! How a plan is kept: its texts in JSON, the bytes of its layers behind one another.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::settings::HttpLayers;
use crate::error::Error;
use crate::layer::rewrite::{HttpMode, InjectedLayer, LayerKind, LayerSource, Plan};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;

/// All of a plan but its layers' bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct PlanHead {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    working_dir: Option<String>,
    platforms: Vec<String>,
    // The plan's digest depends on these two, and what is kept must outlive a change of the settings.
    entry_chain: Option<String>,
    base_name: Option<String>,
    layers: Vec<LayerHead>,
}

impl PlanHead {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            entrypoint: plan.entrypoint().to_vec(),
            cmd: plan.cmd().to_vec(),
            env: plan.env().to_vec(),
            working_dir: plan.working_dir().map(str::to_owned),
            platforms: plan.platforms().iter().map(ToString::to_string).collect(),
            entry_chain: plan.entry_chain().map(str::to_owned),
            base_name: plan.base_name().map(str::to_owned),
            layers: plan.layers().iter().map(LayerHead::of).collect(),
        }
    }

    /// The plan. The layers' bytes stay where they are in `contents`; they are hashed, which keeps a core busy.
    pub(super) fn restore(self, contents: &mut Bytes, http: HttpLayers) -> Result<Plan, Error> {
        let mut plan = Plan::builder()
            .entrypoint(self.entrypoint)
            .cmd(self.cmd)
            .envs(self.env)
            .working_dir(self.working_dir.unwrap_or_default());
        for layer in self.layers {
            plan = plan.layer(layer.restore(contents, http)?);
        }
        let platforms: Result<Vec<Platform>, _> = self.platforms.iter().map(|text| text.parse()).collect();
        plan = plan.platforms(platforms?);
        if let Some(variable) = self.entry_chain {
            plan = plan.entry_chain(variable);
        }
        if let Some(name) = self.base_name {
            plan = plan.base_name(name);
        }
        plan.build()
    }
}

/// A record: the length of a head, the head as JSON, the bytes of the plan's layers one after the other.
pub(super) fn frame<H: Serialize>(head: &H, plan: &Plan) -> Result<Bytes, Error> {
    let head = serde_json::to_vec(head)
        .map_err(|error| Error::internal("a record of a plan can't be written").with_source(error))?;
    let contents = plan.layers().iter().filter_map(InjectedLayer::bytes);
    let length = contents.clone().map(Bytes::len).sum::<usize>();
    let mut record = BytesMut::with_capacity(size_of::<u32>() + head.len() + length);
    record.put_u32(u32::try_from(head.len()).map_err(|_| broken("its head is too long"))?);
    record.put_slice(&head);
    for content in contents {
        record.put_slice(content);
    }
    Ok(record.freeze())
}

/// The head of a record, and the bytes behind it.
pub(super) fn unframe<H: DeserializeOwned>(record: &Bytes) -> Result<(H, Bytes), Error> {
    let mut rest = record.clone();
    let length = rest.split_to_checked(size_of::<u32>()).and_then(|length| length.as_ref().try_into().ok());
    let length = length.map(u32::from_be_bytes).and_then(|length| usize::try_from(length).ok());
    let head = length.and_then(|length| rest.split_to_checked(length));
    let head = head.ok_or_else(|| broken("it is cut off"))?;
    let head =
        serde_json::from_slice(&head).map_err(|error| broken("its head is malformed").with_source(error))?;
    Ok((head, rest))
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

pub(super) fn broken(reason: &'static str) -> Error {
    Error::internal(format!("a token's record is damaged: {reason}"))
}
