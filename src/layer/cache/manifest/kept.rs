use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Extensions;
use tokio::time::Instant;

use super::ask::{Landing, Question};
use super::respond;
use crate::body::Body;
use crate::error::Error;
use crate::layer::cache::blob::Failure;
use crate::layer::cache::flight::Flights;
use crate::layer::cache::layer::Shared;
use crate::layer::cache::moment::Moment;
use crate::layer::cache::notes::Notes;
use crate::layer::cache::scope::{Reader, Scope};
use crate::layer::cache::service::Session;
use crate::layer::cache::visibility::{Access, Document};
use crate::operation::{GetManifest, Manifest, Response};
use crate::spec::digest::Digest;
use crate::spec::image as spec;
use crate::spec::json::MAX_DOCUMENT;
use crate::spec::name::{Reference, Tag};
use crate::store::recent::{Recent, lock};

/// How many tags are kept; each takes about 300 bytes.
const TAGS: usize = 64 * 1024;

/// How many negative answers are kept, each for a short time; each takes about 500 bytes.
const ABSENT: usize = 16 * 1024;

/// What an entry takes beside its content, in bytes.
const OVERHEAD: usize = 400;

/// What is kept of manifests in memory. The content is in the store as well.
pub(in crate::layer::cache) struct Manifests {
    documents: Mutex<Recent<Digest, Bytes>>,
    tags: Mutex<Recent<(Scope, Tag), Tagged>>,
    absent: Mutex<Recent<(Reader, Reference), (Instant, Failure)>>,
    pub(super) flights: Flights<Question, Arc<Landing>>,
    /// Counts the changes that came this way: what was asked before one says nothing of the time after.
    changes: AtomicU64,
    notes: Notes,
}

/// What a tag meant when the upstream was asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tagged {
    pub(super) digest: Digest,
    pub(super) checked: Moment,
    /// What it meant before, for as long as what it means now can't be fetched.
    before: Option<(Digest, Moment)>,
}

impl Tagged {
    pub(super) fn new(digest: Digest, checked: Moment) -> Self {
        Self { digest, checked, before: None }
    }

    /// What it may be taken to mean, the best first.
    pub(super) fn meanings(&self) -> impl Iterator<Item = (Digest, Moment)> {
        std::iter::once((self.digest, self.checked)).chain(self.before)
    }
}

impl Manifests {
    /// Keeps up to `capacity` bytes of documents.
    pub(in crate::layer::cache) fn new(capacity: usize, notes: Notes) -> Self {
        Self {
            documents: Mutex::new(Recent::new(capacity)),
            tags: Mutex::new(Recent::new(TAGS)),
            absent: Mutex::new(Recent::new(ABSENT)),
            flights: Flights::default(),
            changes: AtomicU64::new(0),
            notes,
        }
    }

    pub(in crate::layer::cache) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn tagged(&self, scope: &Scope, tag: &Tag) -> Option<Tagged> {
        lock(&self.tags).get(&(scope.clone(), tag.clone())).copied()
    }

    /// The upstream says that `tag` means `digest` now.
    pub(super) fn tag(&self, scope: &Scope, tag: &Tag, digest: Digest) {
        let key = (scope.clone(), tag.clone());
        let mut tags = lock(&self.tags);
        let before = tags.get(&key).and_then(|known| match known.digest == digest {
            true => known.before,
            false => Some((known.digest, known.checked)),
        });
        tags.insert(key, Tagged { before, ..Tagged::new(digest, Moment::now()) }, 1);
        self.notes.tag(scope, tag, Some(digest));
    }

    /// Looks up what is noted of `tag`, where nothing is known of it here.
    pub(super) async fn recall(&self, scope: &Scope, tag: &Tag) -> Option<Tagged> {
        if let Some(known) = self.tagged(scope, tag) {
            return Some(known);
        }
        let changes = self.changes();
        let (digest, checked) = self.notes.find_tag(scope, tag).await?;
        let (key, tagged) = ((scope.clone(), tag.clone()), Tagged::new(digest, checked));
        let mut tags = lock(&self.tags);
        if tags.get(&key).is_none() && changes == self.changes() {
            tags.insert(key, tagged, 1);
        }
        Some(tagged)
    }

    pub(super) fn untag(&self, scope: &Scope, tag: &Tag) {
        lock(&self.tags).remove(&(scope.clone(), tag.clone()));
        self.notes.tag(scope, tag, None);
    }

    /// The upstream said just now that there is no such manifest for this reader.
    pub(super) fn is_absent(&self, reader: &Reader, reference: &Reference, failure: Failure) {
        lock(&self.absent).insert((reader.clone(), reference.clone()), (Instant::now(), failure), 1);
    }

    pub(super) fn is_present(&self, reader: &Reader, reference: &Reference) {
        lock(&self.absent).remove(&(reader.clone(), reference.clone()));
    }

    pub(super) fn forget(&self, session: &Session, reference: &Reference) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        // Writes are rare, and negative answers are kept for moments only.
        *lock(&self.absent) = Recent::new(ABSENT);
        let scope = &session.reader.scope;
        match reference {
            Reference::Tag(tag) => self.untag(scope, tag),
            Reference::Digest(digest) => session.shared.visibility.gone_manifest(scope, *digest),
        }
    }
}

/// The answer, where the upstream need not be asked for it and the store neither.
pub(super) fn hit(session: &Session, asked: &GetManifest) -> Option<Response> {
    let known = known(session, &asked.reference)?;
    let needs_content = !asked.head && !asked.conditions.has(&known.digest);
    let content = if needs_content { Some(known.in_memory(&session.shared)?) } else { None };
    let Document { media_type, size, .. } = known.document;
    let manifest = Manifest { content, ..Manifest::head(media_type, known.digest, size) };
    Some(answer(session, asked, manifest, known.ttl))
}

/// What a reader may be told without the upstream being asked. The content is still to be found.
pub(super) struct Known {
    pub(super) digest: Digest,
    document: Document,
    pub(super) ttl: Option<i64>,
}

impl Known {
    fn in_memory(&self, shared: &Shared) -> Option<Bytes> {
        if self.document.is_checked { in_memory(shared, self.digest) } else { None }
    }
}

/// What is known for sure of `reference`, and may be told to this reader.
pub(super) fn known(session: &Session, reference: &Reference) -> Option<Known> {
    let (shared, scope) = (&session.shared, &session.reader.scope);
    if shared.visibility.access(&session.reader) != Access::Granted {
        return None;
    }
    let (digest, ttl) = match reference {
        Reference::Digest(digest) => (*digest, None),
        Reference::Tag(tag) => {
            let tagged = shared.manifests.tagged(scope, tag)?;
            let fresh = shared.settings.fresh(tag);
            if tagged.checked.age() >= fresh {
                return None;
            }
            (tagged.digest, Some(tagged.checked.left_of(fresh)))
        }
    };
    let document = shared.visibility.manifest(scope, digest)?;
    Some(Known { digest, document, ttl })
}

/// The same for a question that is about to be asked: somebody else may have brought the answer just before.
pub(super) fn known_manifest(session: &Session, reference: &Reference, head: bool) -> Option<Manifest> {
    let known = known(session, reference)?;
    let content = if head { None } else { Some(known.in_memory(&session.shared)?) };
    let Document { media_type, size, .. } = known.document;
    Some(Manifest { content, ..Manifest::head(media_type, known.digest, size) })
}

/// An answer that no upstream was asked for.
pub(super) fn answer(
    session: &Session,
    asked: &GetManifest,
    manifest: Manifest,
    ttl: Option<i64>,
) -> Response {
    session.shared.counters.hits.add(1);
    let mut status = session.hit();
    status.ttl = ttl;
    respond(session, asked, manifest, status, Extensions::new())
}

/// The failure of this reader's last attempt, if that is to count still.
pub(super) fn absent(session: &Session, reference: &Reference) -> Option<Error> {
    let shared = &session.shared;
    let key = (session.reader.clone(), reference.clone());
    let mut absent = lock(&shared.manifests.absent);
    let (since, failure) = absent.get(&key)?;
    if since.elapsed() < shared.settings.negative {
        shared.counters.hits.add(1);
        return Some(failure.error());
    }
    absent.remove(&key);
    None
}

fn in_memory(shared: &Shared, digest: Digest) -> Option<Bytes> {
    lock(&shared.manifests.documents).get(&digest).cloned()
}

/// The manifest `digest` as this repository has it, with its content from memory or from the store.
pub(super) async fn manifest(session: &Session, digest: Digest) -> Option<Manifest> {
    let (shared, scope) = (&session.shared, &session.reader.scope);
    let Document { media_type, size, is_checked } = shared.visibility.manifest(scope, digest)?;
    let content = match in_memory(shared, digest) {
        Some(content) => content,
        None => stored(shared, digest, size).await?,
    };
    if !is_checked {
        // The content may have come from elsewhere, under another type.
        let is_as_said = content.len() as u64 == size
            && spec::Manifest::check_unambiguous(&media_type, content.clone()).is_ok();
        if !is_as_said {
            return None;
        }
        let document = Document { media_type: media_type.clone(), size, is_checked: true };
        shared.visibility.describe(scope, digest, document);
    }
    Some(Manifest::new(media_type, digest, content))
}

async fn stored(shared: &Shared, digest: Digest, size: u64) -> Option<Bytes> {
    if size > MAX_DOCUMENT as u64 {
        return None;
    }
    let _pin = shared.account.pin(digest);
    let read = async {
        let Some(blob) = shared.store.get(digest, None).await? else { return Ok(None) };
        if blob.size != size {
            return Err(Error::corrupt(format!("it has {} bytes in place of {size}", blob.size)));
        }
        let content = blob.body.read(MAX_DOCUMENT).await?;
        // It is short, and what comes from the store is shown to all who may see it.
        if !digest.matches(&content) {
            return Err(Error::corrupt("it has another digest"));
        }
        Ok(Some(content))
    };
    match read.await {
        Ok(content) => Some(remember(shared, digest, &content?)),
        Err(error) => {
            tracing::warn!(%digest, %error, "a kept manifest can't be read");
            None
        }
    }
}

/// Keeps the content of a manifest: in memory now, and in the store as soon as that goes.
pub(super) fn keep(shared: &Arc<Shared>, digest: Digest, content: &Bytes) {
    let content = remember(shared, digest, content);
    let size = content.len() as u64;
    if shared.settings.max_blob.is_some_and(|max| size > max) {
        return;
    }
    let keeping = Arc::clone(shared);
    let is_started = shared.tasks.spawn(async move {
        let shared = keeping;
        let put = async {
            if shared.account.make_room(size).await {
                shared.store.put(digest, Some(size), Body::from(content)).await?;
                shared.account.kept(digest, size);
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = put.await {
            tracing::warn!(%digest, %error, "a manifest is kept in memory alone");
        }
    });
    if !is_started {
        tracing::warn!(%digest, "a manifest is kept in memory alone: no more tasks may be started");
    }
}

fn remember(shared: &Shared, digest: Digest, content: &Bytes) -> Bytes {
    // It may be a slice of all that came over a connection at once.
    let content = Bytes::copy_from_slice(content);
    let weight = content.len().saturating_add(OVERHEAD);
    lock(&shared.manifests.documents).insert(digest, content.clone(), weight);
    content
}
