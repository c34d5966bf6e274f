use bytes::Bytes;
use http::{Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::case::Checked;
use super::site::Site;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

/// Some content with its SHA-256 digest.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) content: Bytes,
}

/// A manifest with its type and its SHA-256 digest.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) content: Bytes,
}

/// An index as it is read and written for the referrers tag: its entries to the byte.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entries {
    schema_version: u8,
    media_type: String,
    manifests: Vec<Box<RawValue>>,
}

impl Blob {
    pub(super) fn new(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { digest: Digest::sha256(&content), content }
    }

    /// `length` bytes that don't repeat with any power of two, and differ by `seed`.
    pub(super) fn of_length(length: usize, seed: &str) -> Self {
        let mut content = seed.as_bytes().to_vec();
        content.truncate(length);
        content.extend((content.len()..length).map(|index| (index % 251) as u8));
        Self::new(content)
    }

    pub(super) fn path(&self) -> String {
        format!("blobs/{}", self.digest)
    }
}

impl Document {
    pub(super) fn new(media_type: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { media_type, digest: Digest::sha256(&content), content }
    }

    pub(super) fn path(&self) -> String {
        format!("manifests/{}", self.digest)
    }

    /// What another document says of it.
    pub(super) fn descriptor(&self) -> String {
        descriptor(self.media_type, &self.content)
    }
}

pub(super) fn descriptor(media_type: &str, content: &[u8]) -> String {
    let (digest, size) = (Digest::sha256(content), content.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// An image manifest with this config and these image layers; `more` are members, each after a comma.
pub(super) fn manifest(config: &Blob, layers: &[&Blob], more: &str) -> Document {
    let config = descriptor(CONFIG, &config.content);
    let layers: Vec<String> = layers.iter().map(|layer| descriptor(LAYER, &layer.content)).collect();
    let layers = layers.join(",");
    Document::new(
        MANIFEST,
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layers}]{more}}}"#
        ),
    )
}

/// An index of these; `more` are members, each after a comma.
pub(super) fn index(entries: &[&Document], more: &str) -> Document {
    let entries: Vec<String> = entries.iter().map(|entry| entry.descriptor()).collect();
    let entries = entries.join(",");
    Document::new(
        INDEX,
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entries}]{more}}}"#),
    )
}

/// What puts things where they can be read, as clients do it. That it works is for other cases to check.
impl Site {
    /// Puts a blob into the repository.
    pub(super) async fn put_blob(&self, content: impl Into<Bytes>) -> Checked<Blob> {
        let blob = Blob::new(content);
        self.put_blob_as(&blob.digest, &blob.content).await?;
        Ok(blob)
    }

    /// The same under a digest of one's choice.
    pub(super) async fn put_blob_as(&self, digest: &Digest, content: &Bytes) -> Checked {
        let site = self.seed();
        let algorithm = match digest.algorithm() {
            Algorithm::Sha256 => String::new(),
            other => format!("?digest-algorithm={other}"),
        };
        let opened = site.open(&algorithm).await?;
        let finished = site.finish(opened.location()?, digest, content).await?;
        finished.has_status(&[201])
    }

    /// Puts a manifest into the repository, by its digest or a tag. If the registry doesn't say that it has seen the
    /// subject, its referrers tag is kept up.
    pub(super) async fn put_manifest(&self, reference: &str, document: &Document) -> Checked<Answer> {
        let site = self.seed();
        let answer = site.push_manifest(reference, document.media_type, &document.content).await?;
        answer.has_status(&[201])?;
        Ok(answer)
    }

    /// A manifest with a subject. If the registry doesn't say that it has seen that, the referrers tag is kept up, as
    /// clients have to; `entry` is the descriptor for it.
    pub(super) async fn put_referrer(
        &self,
        document: &Document,
        subject: &Digest,
        entry: &str,
    ) -> Checked<Answer> {
        let answer = self.put_manifest(&document.digest.to_string(), document).await?;
        if answer.header("oci-subject").is_some() {
            return Ok(answer);
        }
        let tag = referrers_tag(subject);
        let known = self.seed().get(&format!("manifests/{tag}")).await?;
        known.has_status(&[200, 404])?;
        let mut entries = match known.status {
            200 => known.json()?,
            _ => Entries { schema_version: 2, media_type: INDEX.to_owned(), manifests: Vec::new() },
        };
        let entry = RawValue::from_string(entry.to_owned());
        entries.manifests.push(entry.map_err(|error| answer.fails(error))?);
        let list = serde_json::to_vec(&entries).map_err(|error| answer.fails(error))?;
        self.put_manifest(&tag, &Document::new(INDEX, list)).await?;
        Ok(answer)
    }

    /// Puts an image with a config and one layer of its own into the repository, by its digest.
    pub(super) async fn put_image(&self, what: &str) -> Checked<Document> {
        let config = self.put_blob(format!(r#"{{"of":"{} {what}"}}"#, self.name())).await?;
        let layer = self.put_blob(format!("a layer of {} {what}", self.name())).await?;
        let image = manifest(&config, &[&layer], "");
        self.put_manifest(&image.digest.to_string(), &image).await?;
        Ok(image)
    }

    /// The same with a tag.
    pub(super) async fn put_tagged(&self, tag: &str) -> Checked<Document> {
        let image = self.put_image(tag).await?;
        self.put_manifest(tag, &image).await?;
        Ok(image)
    }

    /// Opens an upload; `query` starts with `?` or is empty.
    pub(super) async fn open(&self, query: &str) -> Checked<Answer> {
        let url = self.at(&format!("blobs/uploads/{query}"))?;
        let answer = self.send(Method::POST, url, &[("content-length", "0")], Bytes::new()).await?;
        answer.has_status(&[202])?;
        Ok(answer)
    }

    /// Ends an upload with its content, or the rest of it.
    pub(super) async fn finish(&self, location: Uri, digest: &Digest, content: &Bytes) -> Checked<Answer> {
        let url = with_digest(&location, digest);
        let headers: &[(&str, &str)] = if content.is_empty() { &[] } else { &[OCTETS] };
        self.send(Method::PUT, self.root(&url)?, headers, content.clone()).await
    }

    pub(super) async fn push_manifest(
        &self,
        reference: &str,
        media_type: &str,
        content: &Bytes,
    ) -> Checked<Answer> {
        let url = self.at(&format!("manifests/{reference}"))?;
        self.send(Method::PUT, url, &[("content-type", media_type)], content.clone()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Checked<Answer> {
        self.send(Method::DELETE, self.at(path)?, &[], Bytes::new()).await
    }
}

/// A location with the parameter `digest`, which may have parameters already.
pub(super) fn with_digest(location: &Uri, digest: impl std::fmt::Display) -> String {
    let sign = if location.query().is_some() { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}

/// The tag under which the referrers of `subject` are listed where there is no API for it.
fn referrers_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), hex.get(..64).unwrap_or(&hex))
}
