//! Referrers to be listed, and how they have to stand in the list.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::case::Checked;
use super::fixtures::{CONFIG, Document, index, manifest};
use super::site::Site;

/// A descriptor in the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    media_type: String,
    digest: String,
    size: usize,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// A referrer to be, and what its descriptor has to say.
pub(super) struct Referrer {
    pub(super) document: Document,
    pub(super) artifact_type: Option<&'static str>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Referrer {
    /// A manifest, or an index where `is_index`, with these members.
    pub(super) async fn new(
        site: &Site,
        subject: &Document,
        is_index: bool,
        artifact_type: Option<&'static str>,
        annotations: &[(&str, &str)],
    ) -> Checked<Self> {
        let mut more = format!(r#","subject":{}"#, subject.descriptor());
        if let Some(artifact_type) = artifact_type {
            more.push_str(&format!(r#","artifactType":"{artifact_type}""#));
        }
        let mut all = BTreeMap::new();
        if !annotations.is_empty() {
            let members: Vec<String> =
                annotations.iter().map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
            more.push_str(&format!(r#","annotations":{{{}}}"#, members.join(",")));
            all.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        }
        let document =
            if is_index { index(&[], &more) } else { manifest(&site.put_blob("{}").await?, &[], &more) };
        let artifact_type = artifact_type.or(if is_index { None } else { Some(CONFIG) });
        Ok(Self { document, artifact_type, annotations: all })
    }

    /// As it stands in a list.
    pub(super) fn descriptor(&self) -> String {
        let plain = self.document.descriptor();
        let mut text = plain.trim_end_matches('}').to_owned();
        if let Some(artifact_type) = self.artifact_type {
            text.push_str(&format!(r#","artifactType":"{artifact_type}""#));
        }
        if !self.annotations.is_empty() {
            let members: Vec<String> =
                self.annotations.iter().map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
            text.push_str(&format!(r#","annotations":{{{}}}"#, members.join(",")));
        }
        text.push('}');
        text
    }

    pub(super) async fn put(&self, site: &Site, subject: &Document) -> Checked {
        site.put_referrer(&self.document, &subject.digest, &self.descriptor()).await?;
        Ok(())
    }

    pub(super) fn is(&self, entry: &Entry) -> bool {
        entry.media_type == self.document.media_type
            && entry.digest == self.document.digest.to_string()
            && entry.size == self.document.content.len()
            && entry.artifact_type.as_deref() == self.artifact_type
            && entry.annotations.clone().unwrap_or_default() == self.annotations
    }
}
