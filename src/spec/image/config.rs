use bytes::Bytes;
use serde::Deserialize;

use crate::spec::digest::Digest;
use crate::spec::json::{Document, InvalidDocument, Raw};
use crate::spec::platform::Platform;

/// An image config
/// ([image-spec, Image Configuration](https://github.com/opencontainers/image-spec/blob/main/config.md)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    document: Document,
    platform: Platform,
    diff_ids: Vec<Raw>,
    history: Option<Vec<Raw>>,
}

/// What one entry of the history says of layers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Whether the step made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

impl Config {
    /// Reads an image config.
    ///
    /// # Errors
    ///
    /// When it is no JSON object, or what it says of platform, `rootfs` or `history` is malformed.
    pub fn parse(bytes: Bytes) -> Result<Self, InvalidDocument> {
        let document = Document::parse(bytes)?;
        let object = document.object();
        let text = |key| Ok::<_, InvalidDocument>(object.read_member::<String>(key)?.unwrap_or_default());
        let variant: Option<String> = object.read_member("variant")?;
        let platform = Platform::from_parts(&text("os")?, &text("architecture")?, variant.as_deref());
        let diff_ids = match object.object("rootfs")? {
            Some(rootfs) => rootfs.array("diff_ids")?.unwrap_or_default(),
            None => Vec::new(),
        };
        let history = object.array("history")?;
        Ok(Self { document, platform, diff_ids, history })
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The platform that the image is for, in its normal form.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The digests of the layers' tars, the lowest first, as they are written.
    #[must_use]
    pub fn diff_ids(&self) -> &[Raw] {
        &self.diff_ids
    }

    /// The digests of the layers' tars, the lowest first.
    ///
    /// # Errors
    ///
    /// When one of them is malformed.
    pub fn parsed_diff_ids(&self) -> Result<Vec<Digest>, InvalidDocument> {
        self.diff_ids.iter().map(Raw::read).collect()
    }

    /// The history, where there is one, the oldest step first.
    #[must_use]
    pub fn history(&self) -> Option<&[Raw]> {
        self.history.as_deref()
    }

    /// Whether there is a history, and as many of its steps made layers as there are layers.
    #[must_use]
    pub fn history_agrees(&self) -> bool {
        let Some(history) = &self.history else { return false };
        let layers =
            history.iter().filter(|raw| raw.read::<HistoryEntry>().is_ok_and(|entry| !entry.empty_layer));
        layers.count() == self.diff_ids.len()
    }
}
