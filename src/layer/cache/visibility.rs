use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::moment::Moment;
use super::notes::Notes;
use super::scope::{Reader, Scope};
use crate::spec::digest::Digest;
use crate::spec::media_type::MediaType;
use crate::store::recent::{Recent, lock};

/// How many readers are remembered; each takes about 300 bytes. One that is forgotten is checked upstream again.
const READERS: usize = 16 * 1024;

/// How much content of repositories is remembered; each takes about 300 bytes.
const CONTENT: usize = 64 * 1024;

/// Who may see what.
///
/// Content is kept once, whoever brought it, and goes only to a reader of whom the upstream said lately that it may
/// read the repository, and only if the upstream has answered this content *in that repository* before. That a manifest
/// mentions a digest proves nothing: anybody can write one.
pub(super) struct Visibility {
    readers: Mutex<Recent<Reader, Seen>>,
    content: Mutex<Recent<(Scope, Digest), Noted>>,
    notes: Notes,
    fresh: Duration,
    stale: Duration,
}

/// What the upstream has answered under a digest.
///
/// That something is there as a blob doesn't mean that it is a manifest as well, nor the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) is_blob: bool,
    pub(super) manifest: Option<Document>,
}

#[derive(Clone, Default)]
struct Noted {
    shown: Shown,
    /// When it was noted beyond this process.
    noted: Option<Instant>,
}

/// What an upstream told a reader last.
#[derive(Clone, Copy)]
struct Seen {
    /// When it was let in; none when it was turned away, which counts more than what others may have noted before.
    let_in: Option<Moment>,
    noted: Option<Instant>,
}

/// What a repository says of a manifest. Only the content itself is the same wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    /// Whether the content was looked at under this type: that of a `HEAD` is only said.
    pub(super) is_checked: bool,
}

/// What is known of a reader and a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The upstream let it read lately.
    Granted,
    /// The upstream let it read once. That serves while the upstream can't be asked.
    Expired,
    /// Nothing.
    Unknown,
}

impl Visibility {
    /// A reader that was let in needs no check for the time `fresh`, and may be served for the time `stale` while the
    /// upstream can't be asked.
    pub(super) fn new(fresh: Duration, stale: Duration, notes: Notes) -> Self {
        let (readers, content) = (Mutex::new(Recent::new(READERS)), Mutex::new(Recent::new(CONTENT)));
        Self { readers, content, notes, fresh, stale }
    }

    /// What is known of `reader`.
    pub(super) fn access(&self, reader: &Reader) -> Access {
        let Some(let_in) = self.let_in_at(reader) else { return Access::Unknown };
        match let_in.age() {
            age if age < self.fresh => Access::Granted,
            age if age < self.fresh.max(self.stale) => Access::Expired,
            _ => Access::Unknown,
        }
    }

    /// For how many seconds `reader` needs no check; below zero when it does.
    pub(super) fn granted_for(&self, reader: &Reader) -> i64 {
        self.let_in_at(reader).map_or(0, |let_in| let_in.left_of(self.fresh))
    }

    fn let_in_at(&self, reader: &Reader) -> Option<Moment> {
        lock(&self.readers).get(reader)?.let_in
    }

    /// What is known of `reader` and the blob `digest` in that repository.
    pub(super) fn sees(&self, reader: &Reader, digest: Digest) -> Access {
        if self.has(&reader.scope, digest) { self.access(reader) } else { Access::Unknown }
    }

    /// Whether the upstream has answered this blob in that repository before, to whomever.
    pub(super) fn has(&self, scope: &Scope, digest: Digest) -> bool {
        lock(&self.content).get(&(scope.clone(), digest)).is_some_and(|known| known.shown.is_blob)
    }

    /// What the upstream has said of this manifest in that repository before, to whomever.
    pub(super) fn manifest(&self, scope: &Scope, digest: Digest) -> Option<Document> {
        lock(&self.content).get(&(scope.clone(), digest))?.shown.manifest.clone()
    }

    /// The upstream has answered `reader` now.
    pub(super) fn let_in(&self, reader: &Reader) {
        let mut readers = lock(&self.readers);
        let noted = readers.get(reader).filter(|seen| seen.let_in.is_some()).and_then(|seen| seen.noted);
        // It is noted rather too old than with every answer.
        let is_noted = noted.is_some_and(|noted| noted.elapsed() < self.fresh / 4);
        let noted = if is_noted { noted } else { Some(Instant::now()) };
        readers.insert(reader.clone(), Seen { let_in: Some(Moment::now()), noted }, 1);
        if !is_noted {
            self.notes.reader(reader, true);
        }
    }

    /// The upstream has answered `reader` with the blob `digest` now.
    pub(super) fn saw(&self, reader: &Reader, digest: Digest) {
        self.let_in(reader);
        self.change(&reader.scope, digest, |shown| shown.is_blob = true);
    }

    /// The upstream has answered `reader` with the manifest `digest` now.
    pub(super) fn saw_manifest(&self, reader: &Reader, digest: Digest, document: Document) {
        self.let_in(reader);
        self.describe(&reader.scope, digest, document);
    }

    /// What is known of this manifest in that repository. What was checked isn't replaced by what is only said.
    pub(super) fn describe(&self, scope: &Scope, digest: Digest, document: Document) {
        self.change(scope, digest, |shown| {
            let is_known = shown.manifest.as_ref().is_some_and(|known| known.is_checked);
            if document.is_checked || !is_known {
                shown.manifest = Some(document);
            }
        });
    }

    fn change(&self, scope: &Scope, digest: Digest, change: impl FnOnce(&mut Shown)) {
        let key = (scope.clone(), digest);
        let mut content = lock(&self.content);
        let known = content.get(&key).cloned();
        let was_known = known.is_some();
        let Noted { shown: before, noted } = known.unwrap_or_default();
        let mut shown = before.clone();
        change(&mut shown);
        if shown == Shown::default() {
            // What isn't there is asked for at anybody's will, and must not push out what is.
            content.remove(&key);
            if was_known {
                self.notes.content(scope, &digest, None);
            }
            return;
        }
        let is_noted = shown == before && noted.is_some_and(|noted| noted.elapsed() < self.stale / 2);
        if !is_noted {
            self.notes.content(scope, &digest, Some(&shown));
        }
        let noted = if is_noted { noted } else { Some(Instant::now()) };
        content.insert(key, Noted { shown, noted }, 1);
    }

    /// The upstream has turned `reader` away.
    pub(super) fn turned_away(&self, reader: &Reader) {
        let mut readers = lock(&self.readers);
        let before = readers.get(reader).copied();
        // A stranger is turned away without a trace.
        if before.is_some_and(|seen| seen.let_in.is_some()) || before.is_none() && self.notes.are_kept() {
            readers.insert(reader.clone(), Seen { let_in: None, noted: None }, 1);
            self.notes.reader(reader, false);
        }
    }

    /// The blob `digest` isn't in that repository any more.
    pub(super) fn gone(&self, scope: &Scope, digest: Digest) {
        self.change(scope, digest, |shown| shown.is_blob = false);
    }

    /// The manifest `digest` isn't in that repository any more.
    pub(super) fn gone_manifest(&self, scope: &Scope, digest: Digest) {
        self.change(scope, digest, |shown| shown.manifest = None);
    }

    /// Looks up what is noted of `reader`, where nothing is known of it here.
    pub(super) async fn recall(&self, reader: &Reader) {
        if !self.notes.are_kept() || lock(&self.readers).get(reader).is_some() {
            return;
        }
        let Some(let_in) = self.notes.find_reader(reader).await else { return };
        let mut readers = lock(&self.readers);
        // What the upstream has said meanwhile is newer.
        if readers.get(reader).is_none() {
            readers.insert(reader.clone(), Seen { let_in: Some(let_in), noted: None }, 1);
        }
    }

    /// Looks up what is noted of this content in that repository, where nothing is known of it here.
    pub(super) async fn recall_content(&self, scope: &Scope, digest: Digest) {
        let key = (scope.clone(), digest);
        if !self.notes.are_kept() || lock(&self.content).get(&key).is_some() {
            return;
        }
        let Some(shown) = self.notes.find_content(scope, &digest).await else { return };
        let mut content = lock(&self.content);
        if content.get(&key).is_none() {
            content.insert(key, Noted { shown, noted: None }, 1);
        }
    }
}

impl fmt::Debug for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visibility")
            .field("readers", &lock(&self.readers).len())
            .field("content", &lock(&self.content).len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Credential, UpstreamId};

    const MINUTE: Duration = Duration::from_secs(60);

    fn reader(upstream: &str, repository: &str, user: &str) -> Reader {
        let upstream = Some(UpstreamId::new(upstream.parse().unwrap()));
        let scope = Scope { upstream, repository: repository.parse().unwrap() };
        Reader { scope, credential: Some(Credential::basic(user, "").id()) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_let_in_for_a_while() {
        let visibility = Visibility::new(5 * MINUTE, 60 * MINUTE, Notes::none());
        let ann = reader("quay.io", "a/b", "ann");
        assert_eq!(visibility.access(&ann), Access::Unknown);
        visibility.let_in(&ann);
        assert_eq!(visibility.access(&ann), Access::Granted);
        assert_eq!(visibility.access(&reader("quay.io", "a/b", "bob")), Access::Unknown);
        assert_eq!(visibility.access(&reader("quay.io", "a/c", "ann")), Access::Unknown);
        assert_eq!(visibility.access(&reader("ghcr.io", "a/b", "ann")), Access::Unknown);
        tokio::time::advance(5 * MINUTE).await;
        assert_eq!(visibility.access(&ann), Access::Expired);
        tokio::time::advance(55 * MINUTE).await;
        assert_eq!(visibility.access(&ann), Access::Unknown);
        visibility.let_in(&ann);
        visibility.turned_away(&ann);
        assert_eq!(visibility.access(&ann), Access::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn content_belongs_to_the_repository_that_it_was_seen_in() {
        let visibility = Visibility::new(5 * MINUTE, 60 * MINUTE, Notes::none());
        let (ann, bob) = (reader("quay.io", "a/b", "ann"), reader("quay.io", "a/b", "bob"));
        let elsewhere = reader("quay.io", "a/c", "bob");
        let digest = Digest::sha256(b"secret");
        visibility.saw(&ann, digest);
        visibility.let_in(&elsewhere);
        assert_eq!(visibility.sees(&ann, digest), Access::Granted);
        assert_eq!(visibility.sees(&bob, digest), Access::Unknown);
        assert_eq!(visibility.sees(&elsewhere, digest), Access::Unknown);
        visibility.let_in(&bob);
        assert_eq!(visibility.sees(&bob, digest), Access::Granted, "it is in the repository");
        visibility.gone(&ann.scope, digest);
        assert_eq!(visibility.sees(&ann, digest), Access::Unknown);
    }
}
