//! What nobody needs any more goes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::keys::{Kind, last, only, parts};
use super::records::{LinkRecord, decode};
use super::scan::collect;
use super::{Hosted, blobs, untagged};
use crate::error::Error;
use crate::spec::digest::Digest;
use crate::spec::name::Repository;
use crate::store::blobs::BlobStore as _;
use crate::store::index::{Batch, View};

/// How many records are looked at in one go.
const PAGE: usize = 512;

/// What a collection removes, and whom it tells.
///
/// ```
/// use std::time::Duration;
/// use tower_oci::hosted::Collect;
///
/// let collect = Collect::new().dry_run(true).grace(Duration::from_secs(7200)).untagged(true);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Collect {
    dry_run: bool,
    untagged: bool,
    grace: Duration,
    progress: Option<Arc<Tell>>,
}

/// Who is told how far a collection is.
type Tell = dyn Fn(&Collected) + Send + Sync;

/// What a collection has removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Uploads that had expired.
    pub uploads: u64,
    /// Manifests that no tag leads to.
    pub manifests: u64,
    /// Blobs that a repository doesn't show any more, each counted once for each repository.
    pub links: u64,
    /// Blobs that no repository shows.
    pub blobs: u64,
    /// The sizes of those blobs in bytes, added up.
    pub bytes: u64,
    /// How many blobs were looked at.
    pub checked: u64,
}

impl Collect {
    /// All that nobody has needed for a day; manifests stay.
    pub fn new() -> Self {
        Self { dry_run: false, untagged: false, grace: Duration::from_secs(24 * 3600), progress: None }
    }

    /// Whether nothing is removed, and only counted what would be: no when not set.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Whether manifests go that no tag leads to: no when not set. A tag leads to its manifest, an index to its entries,
    /// and a manifest that stays to its referrers.
    pub fn untagged(mut self, untagged: bool) -> Self {
        self.untagged = untagged;
        self
    }

    /// How long a manifest without a tag, and a blob that no manifest of its repository needs, stays after it was put: a
    /// day when not set.
    ///
    /// A client uploads blobs first, and the manifest that needs them last: this is how long that may take. A blob counts
    /// as put again when it is mounted, or asked for with `HEAD` as clients do before they upload; the latter is noted
    /// once an hour, so less than two hours are only for when nobody pushes.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Calls `progress` now and then with what has been done so far.
    pub fn progress(mut self, progress: impl Fn(&Collected) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }
}

impl Default for Collect {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry_run, untagged, grace, .. } = self;
        f.debug_struct("Collect")
            .field("dry_run", dry_run)
            .field("untagged", untagged)
            .field("grace", grace)
            .finish_non_exhaustive()
    }
}

impl Hosted {
    /// Removes what nobody needs: uploads that have expired; manifests that no tag leads to, if `collect` says so; from
    /// each repository the blobs that no manifest there needs; and then the blobs that no repository shows.
    ///
    /// Pushes and pulls go on meanwhile. Nothing goes that was put within the [grace](Collect::grace), so that the
    /// manifest that needs it can still come, and a blob on its way into a repository is left alone. A second collection
    /// waits for the first. When the future is dropped, what was removed by then stays removed, and the rest stays.
    ///
    /// # Errors
    ///
    /// When the disk is out of order.
    pub async fn collect(&self, collect: Collect) -> Result<Collected, Error> {
        let _turn = self.inner.collecting.lock().await;
        let before = self.inner.now().saturating_sub(collect.grace.as_secs());
        let mut run =
            Run { hosted: self, collect, before, done: Collected::default(), doomed: Arc::default() };
        run.uploads().await?;
        if run.collect.untagged {
            run.manifests().await?;
        }
        run.links().await?;
        run.blobs().await?;
        Ok(run.done)
    }
}

struct Run<'a> {
    hosted: &'a Hosted,
    collect: Collect,
    /// What was put at this second or earlier may go.
    before: u64,
    done: Collected,
    /// Manifests that would be gone by now, were it not a dry run.
    doomed: Arc<BTreeSet<(Repository, Digest)>>,
}

impl Run<'_> {
    async fn uploads(&mut self) -> Result<(), Error> {
        let inner = &self.hosted.inner;
        self.done.uploads = if self.collect.dry_run {
            inner.uploads.expired() as u64
        } else {
            inner.uploads.expire();
            self.hosted.discard_abandoned().await? as u64
        };
        self.tell();
        Ok(())
    }

    async fn manifests(&mut self) -> Result<(), Error> {
        let (before, dry_run) = (self.before, self.collect.dry_run);
        let mut after: Option<Repository> = None;
        loop {
            let all = Kind::Repository.below(&[]);
            let span = after.as_ref().map_or(all.clone(), |after| all.after(after.as_str()));
            let page: Vec<Repository> = self
                .hosted
                .view(move |view| collect(view, &span, PAGE, |key, _| only(key).map(Some)))
                .await?;
            let Some(end) = page.last().cloned() else { return Ok(()) };
            for repository in page {
                let name = repository.clone();
                let doomed = self.hosted.view(move |view| untagged::find(view, &name, before)).await?;
                if doomed.is_empty() {
                    continue;
                }
                self.done.manifests += if dry_run {
                    let doomed_here = doomed.iter().map(|digest| (repository.clone(), *digest));
                    Arc::make_mut(&mut self.doomed).extend(doomed_here);
                    doomed.len() as u64
                } else {
                    // Looked up once more, where nobody can change it.
                    self.hosted.write(move |batch| untagged::sweep(batch, &repository, before)).await?
                };
                self.tell();
            }
            after = Some(end);
        }
    }

    /// Takes from repositories what no manifest there needs.
    async fn links(&mut self) -> Result<(), Error> {
        let before = self.before;
        let mut span = Kind::Link.below(&[]);
        loop {
            let (doomed, part) = (Arc::clone(&self.doomed), span.clone());
            let (idle, end) = self
                .hosted
                .view(move |view| {
                    let keys = collect(view, &part, PAGE, |key, value| {
                        let [repository, digest] = parts(key)?;
                        let link: LinkRecord = decode(value)?;
                        Ok(Some((key.to_vec(), repository.parse()?, digest.parse()?, link.seen)))
                    })?;
                    let end = keys.last().map(|(key, ..)| key.clone());
                    let mut idle = Vec::new();
                    for (_, repository, digest, seen) in keys {
                        if !is_live(view, &repository, &digest, seen, before, &doomed)? {
                            idle.push((repository, digest));
                        }
                    }
                    Ok((idle, end))
                })
                .await?;
            self.done.links += if idle.is_empty() || self.collect.dry_run {
                idle.len() as u64
            } else {
                self.hosted.write(move |batch| hide(batch, &idle, before)).await?
            };
            self.tell();
            let Some(mut end) = end else { return Ok(()) };
            end.push(0);
            span.first = end;
        }
    }

    /// Removes blobs that no repository shows.
    async fn blobs(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.hosted.inner.blobs.list(after, PAGE).await?;
            let (digests, before) = (page.iter().map(|blob| blob.digest).collect::<Vec<_>>(), self.before);
            let doomed = self.collect.dry_run.then(|| Arc::clone(&self.doomed));
            let shown = self.hosted.view(move |view| shown(view, digests, before, doomed.as_deref())).await?;
            for blob in &page {
                self.done.checked += 1;
                if shown.contains(&blob.digest) {
                    continue;
                }
                if self.collect.dry_run || self.hosted.sweep_blob(blob.digest).await? {
                    self.done.blobs += 1;
                    self.done.bytes = self.done.bytes.saturating_add(blob.size);
                }
            }
            self.tell();
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.digest),
                _ => return Ok(()),
            }
        }
    }

    fn tell(&self) {
        if let Some(progress) = &self.collect.progress {
            progress(&self.done);
        }
    }
}

/// Whether a blob stays in a repository.
fn is_live(
    view: &dyn View,
    repository: &Repository,
    digest: &Digest,
    seen: u64,
    before: u64,
    doomed: &BTreeSet<(Repository, Digest)>,
) -> Result<bool, Error> {
    if seen > before {
        return Ok(true);
    }
    let span = Kind::User.below(&[repository.as_str(), &digest.to_string()]);
    let users = collect(view, &span, 1, |key, _| {
        let user = last(key)?;
        Ok((doomed.is_empty() || !doomed.contains(&(repository.clone(), user))).then_some(()))
    })?;
    Ok(!users.is_empty())
}

/// Makes blobs invisible that still aren't needed. Answers how many.
fn hide(batch: &mut dyn Batch, idle: &[(Repository, Digest)], before: u64) -> Result<u64, Error> {
    let mut hidden = 0;
    for (repository, digest) in idle {
        let is_idle = blobs::link(batch, repository, digest)?.is_some_and(|link| link.seen <= before);
        if is_idle && !blobs::is_needed(batch, repository, digest)? && blobs::hide(batch, repository, digest)?
        {
            hidden += 1;
        }
    }
    Ok(hidden)
}

/// Which of the blobs a repository shows; in a dry run, which it would still show.
fn shown(
    view: &dyn View,
    digests: Vec<Digest>,
    before: u64,
    dry_run: Option<&BTreeSet<(Repository, Digest)>>,
) -> Result<BTreeSet<Digest>, Error> {
    let mut found = BTreeSet::new();
    for digest in digests {
        let is_shown = match dry_run {
            None => blobs::is_shown(view, &digest)?,
            Some(doomed) => {
                let span = Kind::Shown.below(&[&digest.to_string()]);
                let live = collect(view, &span, 1, |key, _| {
                    let repository: Repository = last(key)?;
                    let Some(link) = blobs::link(view, &repository, &digest)? else { return Ok(None) };
                    let is_live = is_live(view, &repository, &digest, link.seen, before, doomed)?;
                    Ok(is_live.then_some(()))
                })?;
                !live.is_empty()
            }
        };
        if is_shown {
            found.insert(digest);
        }
    }
    Ok(found)
}
