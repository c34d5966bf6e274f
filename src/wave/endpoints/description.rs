//! What a token is for.

use serde::Serialize;

use super::submitted::target_image;
use crate::layer::rewrite::{InjectedLayer, LayerSource};
use crate::spec::digest::Digest;
use crate::spec::name::Host;
use crate::wave::grant::{Content, Grant};
use crate::wave::grants::iso;

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
    /// None while the image is being built.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

impl<'a> Description<'a> {
    pub(super) fn new(token: &'a str, grant: &'a Grant, authority: &Host) -> Self {
        let plan = &grant.plan;
        let platforms: Vec<String> = plan.platforms().iter().map(ToString::to_string).collect();
        let (source, derived) = match &grant.content {
            Content::Image { source, derived } => (Some(*source), Some(*derived)),
            #[cfg(feature = "build")]
            Content::Build(_) => (None, None),
        };
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
            source: DescribedImage { image: grant.image.to_string(), digest: source },
            wave: DescribedImage { image: target_image(token, grant, authority), digest: derived },
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
