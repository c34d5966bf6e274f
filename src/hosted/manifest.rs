use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;

use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::PutManifest;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::{Descriptor, Manifest};
use crate::spec::json::{MAX_DOCUMENT, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::name::Reference;

/// The most bytes of descriptors in one page of referrers: the page itself is a manifest, which clients read up to
/// 4 MiB.
pub(super) const REFERRERS_PAGE: usize = 2 << 20;

/// A manifest that was pushed, and what has to be known of it.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    pub(super) media_type: MediaType,
    pub(super) digest: Digest,
    pub(super) content: Bytes,
    /// The blobs that it can't do without.
    pub(super) blobs: Vec<Descriptor>,
    /// The entries of an index.
    pub(super) manifests: Vec<Descriptor>,
    /// What it refers to, and how it is shown in the list of the subject's referrers.
    pub(super) referrer: Option<(Digest, Descriptor)>,
}

impl Pushed {
    /// Reads what is put, and checks what can be checked without knowing the repository.
    pub(super) fn read(put: &PutManifest) -> Result<Self, Error> {
        if put.tags.len() > PutManifest::MAX_TAGS {
            let message = format!("{} tags in one request, {} may be", put.tags.len(), PutManifest::MAX_TAGS);
            let error = Error::invalid(ErrorCode::ManifestInvalid, message);
            return Err(error.with_status(StatusCode::URI_TOO_LONG));
        }
        if let (Some(tag), false) = (put.reference.tag(), put.tags.is_empty()) {
            let message =
                format!("`tag` parameters go with a manifest put by digest, this one is put as `{tag}`");
            return Err(Error::invalid(ErrorCode::ManifestInvalid, message));
        }
        Self::parse(&put.reference, put.media_type.as_ref(), put.content.clone())
    }

    fn parse(reference: &Reference, media_type: Option<&MediaType>, content: Bytes) -> Result<Self, Error> {
        if content.len() > MAX_DOCUMENT {
            let message = format!("the manifest has {} bytes, {MAX_DOCUMENT} are allowed", content.len());
            return Err(Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message));
        }
        let algorithm = reference.digest().map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = Digest::of(algorithm, &content);
        if reference.digest().is_some_and(|wanted| *wanted != digest) {
            let message = format!("the manifest was put as {reference}, but its digest is {digest}");
            return Err(Error::invalid(ErrorCode::DigestInvalid, message));
        }
        let manifest = Manifest::parse(media_type, content.clone())?;
        let media_type = manifest.media_type().clone();
        if media_type == MediaType::JSON || media_type == MediaType::OCTET_STREAM {
            return Err(Error::invalid(
                ErrorCode::ManifestInvalid,
                "neither the manifest's `mediaType` nor its `Content-Type` says what it is",
            ));
        }
        let referrer = match manifest.subject()? {
            Some(subject) => Some((*subject.digest(), shown(&manifest, &media_type, digest, &content)?)),
            None => None,
        };
        let (blobs, manifests) = match &manifest {
            Manifest::Image(image) => {
                let layers = image.layers().iter().filter(|layer| !layer.media_type().is_foreign_layer());
                (std::iter::once(image.config()).chain(layers).cloned().collect(), Vec::new())
            }
            Manifest::Index(index) => (Vec::new(), index.manifests().to_vec()),
            Manifest::Other(..) => (Vec::new(), Vec::new()),
        };
        Ok(Self { media_type, digest, content, blobs, manifests, referrer })
    }

    pub(super) fn size(&self) -> u64 {
        self.content.len() as u64
    }

    /// The digests of the blobs that it needs, each once.
    pub(super) fn needed(&self) -> BTreeSet<Digest> {
        self.blobs.iter().map(|blob| *blob.digest()).collect()
    }

    /// What it refers to and isn't there, or is of another size; `blob` and `child` answer the sizes of what is there.
    pub(super) fn check(
        &self,
        sparse_indexes: bool,
        blob: impl Fn(&Digest) -> Result<Option<u64>, Error>,
        child: impl Fn(&Digest) -> Result<Option<u64>, Error>,
    ) -> Result<(), Error> {
        let mut missing = BTreeSet::new();
        let blobs = self.blobs.iter().map(|descriptor| (descriptor, blob(descriptor.digest())));
        let children = self.manifests.iter().map(|descriptor| {
            // One that isn't there can't disagree.
            let absent = sparse_indexes.then_some(descriptor.size());
            (descriptor, child(descriptor.digest()).map(|size| size.or(absent)))
        });
        for (descriptor, size) in blobs.chain(children) {
            match size? {
                Some(size) if size != descriptor.size() => {
                    let message = format!(
                        "the manifest says that {} has {} bytes, but it has {size}",
                        descriptor.digest(),
                        descriptor.size()
                    );
                    return Err(Error::invalid(ErrorCode::SizeInvalid, message));
                }
                Some(_) => {}
                None => {
                    missing.insert(*descriptor.digest());
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = missing.iter().take(8).map(Digest::to_string).collect();
        let message = format!("the manifest refers to {} unknown: {}", missing.len(), shown.join(", "));
        Err(Error::invalid(ErrorCode::ManifestBlobUnknown, message))
    }
}

/// Whether a referrer is of the type that is asked for, if any is.
pub(super) fn is_of_type(descriptor: &Descriptor, artifact_type: Option<&str>) -> bool {
    artifact_type
        .is_none_or(|wanted| descriptor.artifact_type().ok().flatten().is_some_and(|found| found == wanted))
}

/// The descriptor of a manifest in the list of referrers
/// ([distribution-spec, Listing Referrers](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
fn shown(
    manifest: &Manifest,
    media_type: &MediaType,
    digest: Digest,
    content: &Bytes,
) -> Result<Descriptor, Error> {
    let mut descriptor = Descriptor::new(media_type.clone(), digest, content.len() as u64);
    if let Some(artifact_type) = manifest.artifact_type()? {
        descriptor = descriptor.with_member("artifactType", Raw::of(&artifact_type));
    }
    if let Some(annotations) = manifest.document().object().get("annotations") {
        // A list must not carry what isn't annotations.
        annotations.object()?;
        descriptor = descriptor.with_member("annotations", annotations.clone());
    }
    Ok(descriptor)
}
