use std::sync::Arc;

use super::derive::Derivation;
use super::layer::Shared;
use super::notes::Scope;
use super::request::{DerivedFrom, Pin, Rewrite};
use super::serve;
use super::tree::{Held, Part, Tree};
use super::upstream::Upstream;
use crate::error::Error;
use crate::operation::{
    BlobContent, BoxRegistry, Conditional, GetBlob, GetManifest, ListReferrers, ListTags, Manifest,
    Operation, Referrers, Registry as _, Reply, Request, Response, Tags, Verified, WithoutRedirect,
};
use crate::spec::digest::Digest;
use crate::spec::name::{Reference, Repository};

/// One request with what is to be made of it.
pub(super) struct Session {
    shared: Arc<Shared>,
    inner: BoxRegistry,
    rewrite: Rewrite,
    facts: Request<()>,
}

/// A tree, and whether the source was asked whether this caller may see it.
struct Found {
    tree: Arc<Tree>,
    is_checked: bool,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, inner: BoxRegistry, rewrite: Rewrite, facts: Request<()>) -> Self {
        Self { shared, inner, rewrite, facts }
    }

    pub(super) async fn answer(self, operation: Operation) -> Result<Response, Error> {
        match (operation, self.rewrite.pin().cloned()) {
            (operation @ Operation::Ping(_), _) => self.pass(operation).await,
            (Operation::GetManifest(asked), Some(pin)) => self.pinned_manifest(asked, &pin).await,
            (Operation::GetBlob(asked), Some(pin)) => self.pinned_blob(asked, &pin).await,
            (Operation::ListTags(asked), Some(pin)) => Ok(tags(asked, &pin).erase()),
            (Operation::ListReferrers(asked), Some(_)) => Ok(no_referrers(&asked).erase()),
            // What isn't known here may show or change more than the one image.
            (operation, Some(_)) => Err(Error::unsupported(format!(
                "the operation {} is not supported for an image that is rewritten",
                operation.kind().as_str()
            ))),
            (Operation::GetManifest(asked), None) => self.manifest(asked).await,
            (Operation::GetBlob(asked), None) => self.blob(asked).await,
            (Operation::ListReferrers(asked), None) => self.referrers(asked).await,
            (operation, None) => self.pass(operation).await,
        }
    }

    async fn pass(&self, operation: Operation) -> Result<Response, Error> {
        use tower_service::Service as _;
        self.inner.clone().call(self.facts.with(operation)).await
    }

    // Without a pin

    async fn manifest(&self, asked: GetManifest) -> Result<Response, Error> {
        if self.rewrite.plan().is_empty() {
            return self.source_manifest(asked).await;
        }
        let upstream = self.upstream(&asked.repository);
        let scope = self.scope(&asked.repository);
        match asked.reference.digest() {
            None => {
                let source = upstream.resolve(&asked.reference).await?;
                let found = self.tree(&upstream, source, true).await?;
                if !self.rewrite.is_resolving() {
                    self.shared.notes.keep(&scope, &found.tree).await;
                }
                self.root(&asked, &found.tree)
            }
            Some(source) if self.rewrite.is_resolving() => {
                let found = self.tree(&upstream, *source, false).await?;
                self.ensure(&upstream, &found).await?;
                self.root(&asked, &found.tree)
            }
            Some(digest) => {
                let Some(source) = self.shared.notes.find(&scope, digest).await? else {
                    return self.source_manifest(asked).await;
                };
                let found = self.tree(&upstream, source, false).await?;
                let Some(held) = found.tree.manifest(digest) else {
                    return self.source_manifest(asked).await;
                };
                self.ensure(&upstream, &found).await?;
                Ok(manifest(&asked, *digest, held, &found.tree))
            }
        }
    }

    /// The source's own manifest, which the plan changes nothing about.
    async fn source_manifest(&self, asked: GetManifest) -> Result<Response, Error> {
        let mut response = self.inner.send(self.facts.with(asked)).await?;
        if let Conditional::Full(manifest) = response.reply() {
            let source = DerivedFrom::new(manifest.digest);
            response.extensions_mut().insert(source);
        }
        Ok(response.erase())
    }

    async fn blob(&self, asked: GetBlob) -> Result<Response, Error> {
        let upstream = self.upstream(&asked.repository);
        if self.rewrite.plan().is_empty() {
            return upstream.pass(asked).await;
        }
        let scope = self.scope(&asked.repository);
        let Some(source) = self.shared.notes.find(&scope, &asked.digest).await? else {
            return upstream.pass(asked).await;
        };
        let found = self.tree(&upstream, source, false).await?;
        match found.tree.blob(&asked.digest) {
            Some(part @ (Part::Config(..) | Part::Injected)) => {
                self.ensure(&upstream, &found).await?;
                self.part(&asked, part).await
            }
            Some(Part::Source) | None => upstream.pass(asked).await,
        }
    }

    async fn referrers(&self, asked: ListReferrers) -> Result<Response, Error> {
        let scope = self.scope(&asked.repository);
        match self.shared.notes.find(&scope, &asked.digest).await? {
            Some(_) => Ok(no_referrers(&asked).erase()),
            None => self.upstream(&asked.repository).pass(asked).await,
        }
    }

    // Under a pin

    async fn pinned_manifest(&self, asked: GetManifest, pin: &Pin) -> Result<Response, Error> {
        let unknown = || {
            let (reference, repository) = (&asked.reference, &asked.repository);
            Err(Error::manifest_unknown(format!("no manifest `{reference}` in `{repository}`")))
        };
        let upstream = self.upstream(&asked.repository);
        match &asked.reference {
            Reference::Tag(tag) if pin.tag.as_ref() != Some(tag) => unknown(),
            Reference::Tag(_) => {
                let found = self.tree(&upstream, pin.source, false).await?;
                self.ensure(&upstream, &found).await?;
                self.root(&asked, &found.tree)
            }
            Reference::Digest(digest) => {
                let found = self.tree(&upstream, pin.source, false).await?;
                if let Some(held) = found.tree.manifest(digest) {
                    self.ensure(&upstream, &found).await?;
                    return Ok(manifest(&asked, *digest, held, &found.tree));
                }
                if found.tree.kept().contains(digest) { upstream.pass(asked).await } else { unknown() }
            }
        }
    }

    async fn pinned_blob(&self, asked: GetBlob, pin: &Pin) -> Result<Response, Error> {
        let upstream = self.upstream(&asked.repository);
        let found = self.tree(&upstream, pin.source, false).await?;
        match found.tree.blob(&asked.digest) {
            Some(Part::Source) => upstream.pass(asked).await,
            Some(part) => {
                self.ensure(&upstream, &found).await?;
                self.part(&asked, part).await
            }
            None => {
                let kept = upstream.kept_blobs(&found.tree).await?;
                if kept.contains(&asked.digest) {
                    return upstream.pass(asked).await;
                }
                Err(Error::blob_unknown(format!("no blob `{}` in `{}`", asked.digest, asked.repository)))
            }
        }
    }

    // Both

    /// The tree of a source: remembered, or derived now, once for all who ask for it at the same time.
    ///
    /// Deriving reads the source's manifest for this caller, and so is a check by itself.
    async fn tree(&self, upstream: &Upstream, source: Digest, is_checked: bool) -> Result<Found, Error> {
        let (memo, plan) = (&self.shared.memo, self.rewrite.plan());
        let key = (source, *plan.digest());
        if let Some(tree) = memo.get(&key) {
            return Ok(Found { tree, is_checked });
        }
        let boarded = memo.flight(key);
        let _turn = boarded.flight.turn.lock().await;
        match boarded.flight.landed() {
            Some(Ok(tree)) => return Ok(Found { tree, is_checked }),
            // What went wrong tells of the source, so that it isn't told before this caller may see that.
            Some(Err(error)) => {
                if !is_checked {
                    upstream.resolve(&source.into()).await?;
                }
                return Err(error);
            }
            None => {}
        }
        let derived = Derivation::new(upstream, plan).tree(source).await.map(Arc::new);
        if let Ok(tree) = &derived {
            memo.insert(key, tree);
        }
        boarded.flight.land(&derived);
        Ok(Found { tree: derived?, is_checked: true })
    }

    /// Asks the source whether this caller may see it, unless that has been asked.
    async fn ensure(&self, upstream: &Upstream, found: &Found) -> Result<(), Error> {
        if !found.is_checked {
            upstream.resolve(&found.tree.source.into()).await?;
        }
        Ok(())
    }

    fn root(&self, asked: &GetManifest, tree: &Tree) -> Result<Response, Error> {
        let held = tree.manifest(&tree.root);
        let held = held.ok_or_else(|| Error::internal("a derived image has no manifest"))?;
        Ok(manifest(asked, tree.root, held, tree))
    }

    async fn part(&self, asked: &GetBlob, part: &Part) -> Result<Response, Error> {
        let blob = match part {
            Part::Config(media_type, content) => serve::content(asked, media_type.clone(), content)?,
            Part::Injected | Part::Source => {
                let layer = self.rewrite.plan().layer(&asked.digest);
                let layer = layer.ok_or_else(|| Error::internal("a derived image has a layer of no plan"))?;
                let reads_itself = self.facts.extensions().get::<WithoutRedirect>().is_some();
                serve::layer(asked, layer, self.shared.http.as_ref(), reads_itself).await?
            }
        };
        let is_verified = matches!(blob.content, BlobContent::Whole(_));
        let mut response = Response::new(Reply::from(blob));
        if is_verified {
            response.extensions_mut().insert(Verified::new());
        }
        Ok(response)
    }

    fn upstream(&self, repository: &Repository) -> Upstream {
        Upstream {
            inner: self.inner.clone(),
            facts: self.facts.with(()),
            repository: repository.clone(),
            http: self.shared.http.clone(),
        }
    }

    fn scope(&self, repository: &Repository) -> Scope {
        Scope::new(self.facts.extensions(), repository, self.rewrite.plan().digest())
    }
}

fn manifest(asked: &GetManifest, digest: Digest, held: &Held, tree: &Tree) -> Response {
    let media_type = held.media_type.clone();
    let answer = if asked.conditions.has(&digest) {
        Conditional::NotModified(digest)
    } else if asked.head {
        Conditional::Full(Manifest::head(media_type, digest, held.content.len() as u64))
    } else {
        Conditional::Full(Manifest::new(media_type, digest, held.content.clone()))
    };
    let source = if digest == tree.root { tree.source } else { held.source };
    let mut response = Response::new(Reply::from(answer));
    response.extensions_mut().insert(DerivedFrom::new(source));
    response.extensions_mut().insert(Verified::new());
    response
}

fn tags(asked: ListTags, pin: &Pin) -> Response<Tags> {
    let tags = pin.tag.as_slice();
    let (page, next) = asked.page.cut(tags);
    let next = next.map(ToString::to_string);
    Response::new(Tags::new(asked.repository, page.to_vec(), next))
}

/// Nothing refers to what was derived here.
fn no_referrers(asked: &ListReferrers) -> Response<Referrers> {
    Response::new(Referrers::new(Vec::new(), asked.artifact_type.is_some(), None))
}
