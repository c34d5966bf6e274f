//! Images made by hand, small enough to push in a moment and complete enough to run.

use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::layer::{Entry, Layer, packed, tar};
use crate::support::need;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Two platforms; the machine runs the first.
pub(crate) const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// The kinds of image that registries hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One Docker schema 2 manifest.
    DockerManifest,
    /// A Docker manifest list of two platforms.
    DockerList,
    /// An OCI index of two platforms with an attestation for each.
    OciAttested,
    /// One OCI manifest whose layers are compressed with zstd; it has an entry point.
    OciZstd,
    /// One OCI manifest that doesn't tell its media type.
    OciNoMediaType,
    /// One OCI manifest with no tag: its name is its digest.
    OciDigest,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::DockerManifest,
        Self::DockerList,
        Self::OciAttested,
        Self::OciZstd,
        Self::OciNoMediaType,
        Self::OciDigest,
    ];

    /// Name of the repository, and what `/etc/kind` of the image says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DockerManifest => "docker-manifest",
            Self::DockerList => "docker-list",
            Self::OciAttested => "oci-attested",
            Self::OciZstd => "oci-zstd",
            Self::OciNoMediaType => "oci-no-media-type",
            Self::OciDigest => "oci-digest",
        }
    }

    /// What the image runs first, if it says so.
    pub(crate) fn entrypoint(self) -> Option<&'static str> {
        (self == Self::OciZstd).then_some("/bin/env")
    }

    /// How many platforms there are.
    pub(crate) fn platforms(self) -> usize {
        if matches!(self, Self::DockerList | Self::OciAttested) { 2 } else { 1 }
    }

    pub(crate) fn is_docker(self) -> bool {
        matches!(self, Self::DockerManifest | Self::DockerList)
    }
}

/// A whole image: everything that has to be pushed, and by what name it is pulled then.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) kind: Kind,
    /// Each with its digest.
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    /// Manifests in the order in which a registry accepts them.
    pub(crate) manifests: Vec<Manifest>,
    /// `test/<kind>`.
    pub(crate) repository: String,
    /// `:v1`, or `@sha256:…`.
    pub(crate) suffix: String,
}

/// A manifest or an index.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Tag or digest to push it by.
    pub(crate) reference: String,
}

/// The path and the content of the injected file, and the injected variable.
pub(crate) const MARKER: (&str, &str) = ("injected/marker.txt", "injected by the test\n");
pub(crate) const VARIABLE: (&str, &str) = ("INJECTED", "from the plan");

/// Run in a container, it tells all that the tests look for; see [`told`].
pub(crate) const SCRIPT: &str = "cat /etc/kind /etc/arch; cat /injected/marker.txt 2>/dev/null; \
    echo \"$BASE|$INJECTED|$WAVE_ENTRY_CHAIN\"";

/// What [`SCRIPT`] prints in a container of this image.
pub(crate) fn told(kind: Kind, injected: bool) -> String {
    let (marker, variable, chain) =
        if injected { (MARKER.1, VARIABLE.1, kind.entrypoint().unwrap_or_default()) } else { ("", "", "") };
    format!("{}\namd64\n{marker}from the source|{variable}|{chain}\n", kind.name())
}

/// The layer with [`MARKER`].
pub(crate) fn marker_layer() -> Layer {
    let directory = ("injected/", Entry::Directory);
    let file = (MARKER.0, Entry::File(MARKER.1.as_bytes(), 0o644));
    packed(&tar(&[directory, file]), false)
}

/// The image of this kind; each is made once.
pub(crate) fn image(kind: Kind) -> &'static Image {
    all().iter().find(|image| image.kind == kind).unwrap()
}

/// An image of each kind, in the order of [`Kind::ALL`].
pub(crate) fn all() -> &'static [Image] {
    static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| Kind::ALL.into_iter().map(build).collect());
    &IMAGES
}

fn build(kind: Kind) -> Image {
    let mut image = Image {
        kind,
        blobs: Vec::new(),
        manifests: Vec::new(),
        repository: format!("test/{}", kind.name()),
        suffix: ":v1".to_owned(),
    };
    match kind {
        Kind::DockerManifest | Kind::OciZstd | Kind::OciNoMediaType => {
            image.manifest(PLATFORMS[0], Some("v1"));
        }
        Kind::OciDigest => {
            let descriptor = image.manifest(PLATFORMS[0], None);
            image.suffix = format!("@{}", descriptor["digest"].as_str().unwrap());
        }
        Kind::DockerList | Kind::OciAttested => image.index(),
    }
    image
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Image {
    /// `test/<kind>:v1` or `test/<kind>@sha256:…`.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.repository, self.suffix)
    }

    /// The bytes that the image's own name stands for.
    pub(crate) fn root(&self) -> &Manifest {
        self.manifests.last().unwrap()
    }

    fn index(&mut self) {
        let mut entries = Vec::new();
        for architecture in PLATFORMS {
            let mut entry = self.manifest(architecture, None);
            entry["platform"] = json!({"architecture": architecture, "os": "linux"});
            entries.push(entry);
        }
        if self.kind == Kind::OciAttested {
            for index in 0..PLATFORMS.len() {
                let of = entries[index]["digest"].as_str().unwrap().to_owned();
                let entry = self.attestation(&of);
                entries.push(entry);
            }
        }
        let media_type = if self.kind.is_docker() { DOCKER_LIST } else { OCI_INDEX };
        let document = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        self.push(media_type, document, Some("v1"));
    }

    /// Adds a platform's manifest with its config and layers, and gives its descriptor.
    fn manifest(&mut self, architecture: &str, tag: Option<&str>) -> Value {
        let docker = self.kind.is_docker();
        let zstd = self.kind == Kind::OciZstd;
        let media_type = match self.kind {
            Kind::OciZstd => OCI_ZSTD,
            _ if docker => DOCKER_GZIP,
            _ => OCI_GZIP,
        };
        let own = tar(&[
            ("etc/", Entry::Directory),
            ("etc/kind", Entry::File(format!("{}\n", self.kind.name()).as_bytes(), 0o644)),
            ("etc/arch", Entry::File(format!("{architecture}\n").as_bytes(), 0o644)),
        ]);
        let layers = [rootfs(zstd), &packed(&own, zstd)];
        let diff_ids = layers.map(|layer| layer.diff_id.clone());
        let layers = layers.map(|layer| self.blob(media_type, layer.compressed.clone()));
        let time = "2024-05-06T07:08:09Z";
        let mut config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": time,
            "config": {"Env": ["PATH=/bin", "BASE=from the source"], "Cmd": ["/bin/sh"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [
                {"created": time, "created_by": "ADD busybox /"},
                {"created": time, "created_by": "ENV BASE=from the source", "empty_layer": true},
                {"created": time, "created_by": "COPY kind arch /etc/"},
            ],
        });
        if let Some(entrypoint) = self.kind.entrypoint() {
            config["config"]["Entrypoint"] = json!([entrypoint]);
        }
        let config = self.blob(if docker { DOCKER_CONFIG } else { OCI_CONFIG }, render(&config));
        let media_type = if docker { DOCKER_MANIFEST } else { OCI_MANIFEST };
        let mut document = json!({"schemaVersion": 2, "config": config, "layers": layers});
        if self.kind != Kind::OciNoMediaType {
            document["mediaType"] = json!(media_type);
        }
        self.push(media_type, document, tag)
    }

    /// Adds what BuildKit adds to an index: a statement about one of its images.
    fn attestation(&mut self, of: &str) -> Value {
        let statement = render(&json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": "test", "digest": {"sha256": of.trim_start_matches("sha256:")}}],
            "predicate": {},
        }));
        let config = render(&json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(&statement)]},
        }));
        let config = self.blob(OCI_CONFIG, config);
        let mut layer = self.blob("application/vnd.in-toto+json", statement);
        layer["annotations"] = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
        let document =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]});
        let mut entry = self.push(OCI_MANIFEST, document, None);
        entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        entry["annotations"] = json!({
            "vnd.docker.reference.digest": of,
            "vnd.docker.reference.type": "attestation-manifest",
        });
        entry
    }

    fn push(&mut self, media_type: &'static str, document: Value, tag: Option<&str>) -> Value {
        let bytes = render(&document);
        let descriptor = json!({"mediaType": media_type, "digest": digest(&bytes), "size": bytes.len()});
        let reference = tag.map_or_else(|| digest(&bytes), str::to_owned);
        self.manifests.push(Manifest { media_type, bytes, reference });
        descriptor
    }

    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        if !self.blobs.iter().any(|(known, _)| *known == digest) {
            self.blobs.push((digest, bytes));
        }
        descriptor
    }
}

/// A root file system of one static program, made once: it is all of an image's weight.
fn rootfs(zstd: bool) -> &'static Layer {
    static LAYERS: LazyLock<[Layer; 2]> = LazyLock::new(|| {
        let busybox = std::fs::read(need::program("busybox")).unwrap();
        let tar = tar(&[
            ("bin/", Entry::Directory),
            ("bin/busybox", Entry::File(&busybox, 0o755)),
            ("bin/sh", Entry::Link("busybox")),
            ("bin/cat", Entry::Link("busybox")),
            ("bin/env", Entry::Link("busybox")),
            ("etc/", Entry::Directory),
            ("etc/passwd", Entry::File(b"root:x:0:0:root:/:/bin/sh\n", 0o644)),
            ("etc/group", Entry::File(b"root:x:0:\n", 0o644)),
            ("tmp/", Entry::Directory),
        ]);
        [packed(&tar, false), packed(&tar, true)]
    });
    &LAYERS[usize::from(zstd)]
}

fn render(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}
