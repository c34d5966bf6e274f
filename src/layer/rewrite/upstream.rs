use std::collections::BTreeSet;

use bytes::Bytes;

use super::derive::MAX_MANIFESTS;
use super::fetch::Http;
use super::tree::{Held, Tree};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::operation::{
    BlobContent, BoxRegistry, Call, GetBlob, GetManifest, Registry as _, Request, Response, WithoutRedirect,
};
use crate::spec::digest::Digest;
use crate::spec::image::{Descriptor, Manifest};
use crate::spec::json::MAX_DOCUMENT;
use crate::spec::name::{Reference, Repository};

/// The source's repository, asked on behalf of one caller.
pub(super) struct Upstream {
    pub(super) inner: BoxRegistry,
    /// What is known of the caller.
    pub(super) facts: Request<()>,
    pub(super) repository: Repository,
    pub(super) http: Option<Http>,
}

impl Upstream {
    /// The digest that `reference` means now, for this caller: that the answer comes is the leave to see it.
    pub(super) async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        let operation = GetManifest::head(self.repository.clone(), reference.clone());
        let manifest = self.inner.send(self.facts.with(operation)).await?.into_reply().full()?;
        match reference.digest() {
            Some(digest) if *digest != manifest.digest => {
                Err(Error::corrupt(format!("the manifest {digest} was answered with {}", manifest.digest)))
            }
            _ => Ok(manifest.digest),
        }
    }

    /// A manifest of the source, checked.
    pub(super) async fn manifest(&self, digest: Digest) -> Result<Held, Error> {
        let operation = GetManifest::new(self.repository.clone(), digest.into());
        let manifest = self.inner.send(self.facts.with(operation)).await?.into_reply().full()?;
        let content = manifest.content()?.clone();
        if !digest.matches(&content) {
            return Err(Error::corrupt(format!("the content of the manifest {digest} is something else")));
        }
        Ok(Held { media_type: manifest.media_type, content, source: digest })
    }

    /// A config of the source, checked.
    pub(super) async fn config(&self, config: &Descriptor) -> Result<Bytes, Error> {
        let (digest, size) = (*config.digest(), config.size());
        if size > MAX_DOCUMENT as u64 {
            let message = format!("the config {digest} has {size} bytes, more than {MAX_DOCUMENT}");
            return Err(Error::new(ErrorKind::TooLarge, ErrorCode::SizeInvalid, message));
        }
        let mut request = self.facts.with(GetBlob::new(self.repository.clone(), digest));
        request.extensions_mut().insert(WithoutRedirect::new());
        let blob = self.inner.send(request).await?.into_reply();
        let body = match (blob.content, &self.http) {
            (BlobContent::Whole(body), _) => body,
            (BlobContent::Redirect(uri), Some(http)) => http.whole(uri, size).await?,
            (BlobContent::Redirect(_), None) => {
                return Err(Error::bad_gateway(format!(
                    "the upstream says that the config {digest} is elsewhere, and nothing here goes there"
                )));
            }
            _ => return Err(Error::bad_gateway(format!("the config {digest} was not answered whole"))),
        };
        body.verified(digest, Some(size))?.read(MAX_DOCUMENT).await
    }

    /// The blobs of the manifests that a derived index still names and that weren't read when it was derived, of the
    /// first [`MAX_MANIFESTS`]: one request for a blob must not cost any number of requests upstream.
    pub(super) async fn kept_blobs<'t>(&self, tree: &'t Tree) -> Result<&'t BTreeSet<Digest>, Error> {
        let read = || async {
            let mut blobs = BTreeSet::new();
            for digest in tree.kept().iter().take(MAX_MANIFESTS) {
                let held = match self.manifest(*digest).await {
                    Ok(held) => held,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                // What can't be read as a manifest refers to nothing that we know of.
                if let Ok(manifest) = Manifest::parse(Some(&held.media_type), held.content) {
                    blobs.extend(manifest.references().into_iter().map(|descriptor| *descriptor.digest()));
                }
            }
            Ok(blobs)
        };
        tree.kept_blobs.get_or_try_init(read).await
    }

    /// Lets the source answer.
    pub(super) async fn pass<O: Call>(&self, operation: O) -> Result<Response, Error> {
        Ok(self.inner.send(self.facts.with(operation)).await?.erase())
    }
}
