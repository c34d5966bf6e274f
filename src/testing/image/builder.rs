use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::Built;
use super::platform_member;
use super::tar::{File, tar};
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::image::Descriptor;
use crate::spec::json::{Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::platform::Platform;

/// How image layers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip.
    #[default]
    Gzip,
    /// With zstd, which only OCI images have.
    Zstd,
}

/// An image in the making: an OCI image for `linux/amd64` without layers, unless said otherwise.
///
/// See [the module](crate::testing::image) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct Image {
    docker: bool,
    platform: Platform,
    compression: Compression,
    media_type_member: bool,
    history: bool,
    layers: Vec<Vec<File>>,
    config: Object,
    env: Vec<String>,
    annotations: BTreeMap<String, String>,
}

impl Image {
    /// An OCI image for `linux/amd64` without layers.
    pub fn new() -> Self {
        Self {
            docker: false,
            platform: Platform::LINUX_AMD64,
            compression: Compression::Gzip,
            media_type_member: true,
            history: true,
            layers: Vec::new(),
            config: Object::new(),
            env: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Of Docker's family, schema 2.
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// For this platform.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// With layers compressed so.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// With a manifest that doesn't say its `mediaType`.
    pub fn without_media_type(mut self) -> Self {
        self.media_type_member = false;
        self
    }

    /// With a config that has no `history`.
    pub fn without_history(mut self) -> Self {
        self.history = false;
        self
    }

    /// With one more layer on top.
    pub fn layer(mut self, files: impl IntoIterator<Item = File>) -> Self {
        self.layers.push(files.into_iter().collect());
        self
    }

    /// With one more variable: `NAME=value`.
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.env.push(variable.into());
        let env = Raw::of(&self.env);
        self.member("Env", env)
    }

    /// With this entry point.
    pub fn entrypoint<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = Raw::of(&words.into_iter().collect::<Vec<_>>());
        self.member("Entrypoint", words)
    }

    /// With this command.
    pub fn cmd<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = Raw::of(&words.into_iter().collect::<Vec<_>>());
        self.member("Cmd", words)
    }

    /// With this member of the config's `config`: `WorkingDir`, `User`, `Labels`.
    pub fn member(mut self, key: &'static str, value: Raw) -> Self {
        self.config.set(key, value);
        self
    }

    /// With one more annotation of the manifest.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The image.
    ///
    /// # Errors
    ///
    /// When a path is too long for a tar.
    pub fn build(&self) -> Result<Built, Error> {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for files in &self.layers {
            let tar = tar(files)?;
            diff_ids.push(Digest::sha256(&tar));
            let content = compressed(self.compression, tar)?;
            layers.push((Descriptor::of(self.layer_type(), &content), content));
        }
        let config = self.config(&diff_ids);
        let config_type = if self.docker { MediaType::DOCKER_CONFIG } else { MediaType::OCI_CONFIG };
        let config = (Descriptor::of(config_type, &config), config);

        let media_type = if self.docker { MediaType::DOCKER_MANIFEST } else { MediaType::OCI_MANIFEST };
        let mut manifest = Object::new();
        manifest.set("schemaVersion", Raw::of(&2));
        if self.media_type_member {
            manifest.set("mediaType", Raw::of(&media_type));
        }
        manifest.set("config", config.0.object().to_raw());
        let described: Vec<Raw> = layers.iter().map(|(layer, _)| layer.object().to_raw()).collect();
        manifest.set("layers", Raw::list(&described));
        if !self.annotations.is_empty() {
            manifest.set("annotations", Raw::of(&self.annotations));
        }
        let mut built = Built::new(media_type, manifest.to_raw().bytes().clone());
        built.platform = Some(self.platform.clone());
        built.blobs = std::iter::once(config).chain(layers).collect();
        Ok(built)
    }

    fn config(&self, diff_ids: &[Digest]) -> Bytes {
        let mut rootfs = Object::new();
        rootfs.set("type", Raw::of("layers"));
        rootfs.set("diff_ids", Raw::of(diff_ids));
        let mut config = platform_member(&self.platform);
        config.set("config", self.config.to_raw());
        config.set("rootfs", rootfs.to_raw());
        if self.history {
            let layers = (1..=diff_ids.len()).map(|layer| step(&format!("layer {layer}"), false));
            let steps: Vec<Raw> = layers.chain([step("configuration", true)]).collect();
            config.set("history", Raw::list(&steps));
        }
        config.to_raw().bytes().clone()
    }

    fn layer_type(&self) -> MediaType {
        match (self.compression, self.docker) {
            (Compression::None, false) => MediaType::OCI_LAYER,
            (Compression::None, true) => MediaType::DOCKER_LAYER,
            (Compression::Gzip, false) => MediaType::OCI_LAYER_GZIP,
            (Compression::Gzip, true) => MediaType::DOCKER_LAYER_GZIP,
            (Compression::Zstd, _) => MediaType::OCI_LAYER_ZSTD,
        }
    }
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

fn step(created_by: &str, empty_layer: bool) -> Raw {
    let mut step = Object::new();
    step.set("created", Raw::of("1970-01-01T00:00:00Z"));
    step.set("created_by", Raw::of(created_by));
    if empty_layer {
        step.set("empty_layer", Raw::of(&true));
    }
    step.to_raw()
}

fn compressed(compression: Compression, tar: Bytes) -> Result<Bytes, Error> {
    match compression {
        Compression::None => Ok(tar),
        Compression::Gzip => {
            // The header has neither name nor time, so that the bytes are always the same.
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            let written = encoder.write_all(&tar).and_then(|()| encoder.finish());
            let failed = |error| Error::internal("gzip failed in memory").with_source(error);
            written.map(Bytes::from).map_err(failed)
        }
        Compression::Zstd => Ok(compress_to_vec(&*tar, CompressionLevel::Fastest).into()),
    }
}
