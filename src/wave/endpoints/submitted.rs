//! The answer to a submission.

use serde::Serialize;

use crate::spec::digest::Digest;
use crate::spec::name::Host;
use crate::wave::grant::{Content, Grant};
use crate::wave::grants::iso;
use crate::wave::images::PREFIX;

/// The answer to a submission.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::wave) struct Submitted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) container_token: Option<String>,
    pub(in crate::wave) target_image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) expiration: Option<String>,
    pub(in crate::wave) container_image: String,
    /// The digest of what is pulled; none while it is being built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) target_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) build_id: Option<String>,
    /// Whether there was nothing to be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) cached: Option<bool>,
    pub(in crate::wave) freeze: bool,
    /// How it ended; none while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::wave) succeeded: Option<bool>,
}

impl Submitted {
    /// What `token` opens.
    pub(in crate::wave) fn granted(token: &str, grant: &Grant, authority: &Host) -> Self {
        let derived = match &grant.content {
            Content::Image { derived, .. } => Some(*derived),
            #[cfg(feature = "build")]
            Content::Build(_) => None,
        };
        Self {
            container_token: Some(token.to_owned()),
            target_image: target_image(token, grant, authority),
            expiration: Some(iso(grant.expires)),
            container_image: grant.image.to_string(),
            target_digest: derived,
            succeeded: derived.map(|_| true),
            ..Self::default()
        }
    }
}

#[cfg(feature = "build")]
impl Submitted {
    /// The same beside a build.
    pub(in crate::wave) fn beside(self, build: Self) -> Self {
        Self { build_id: build.build_id, cached: build.cached, ..self }
    }
}

/// The name under which clients pull: by the digest of what they get, where the image was named by digest.
pub(super) fn target_image(token: &str, grant: &Grant, authority: &Host) -> String {
    let repository = grant.image.repository();
    let name = format!("{authority}/{PREFIX}/{token}/{repository}");
    match (grant.image.reference().tag(), &grant.content) {
        (Some(tag), _) => format!("{name}:{tag}"),
        (None, Content::Image { derived, .. }) => format!("{name}@{derived}"),
        // What is built always has a tag.
        #[cfg(feature = "build")]
        (None, Content::Build(_)) => name,
    }
}
