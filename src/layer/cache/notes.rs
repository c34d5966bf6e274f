use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::moment::Moment;
use super::scope::{Reader, Scope};
use super::visibility::{Document, Shown};
use crate::rt::{Clock, Tasks};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::spec::name::Tag;
use crate::store::Records;
use crate::store::recent::lock;

/// How many notes wait to be written at most; each takes about 300 bytes. What is beyond is only in memory.
const WAITING: usize = 16 * 1024;

/// How long an answer waits for a record. Then the upstream is asked, as without it.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// What is known of tags and readers, beyond this process: written behind, and read where memory knows nothing.
///
/// Who may see what follows from what is noted here: whoever can write the records can grant himself all that is kept.
#[derive(Clone)]
pub(super) struct Notes(Option<Arc<Inner>>);

struct Inner {
    records: Arc<dyn Records>,
    clock: Clock,
    tasks: Tasks,
    lifetime: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Values to be put, or none where a record is to be removed.
    notes: BTreeMap<String, (u64, Option<Bytes>)>,
    next: u64,
    is_writing: bool,
}

impl Notes {
    pub(super) fn new(
        records: Option<Arc<dyn Records>>,
        clock: &Clock,
        tasks: &Tasks,
        lifetime: Duration,
    ) -> Self {
        let (clock, tasks, waiting) = (clock.clone(), tasks.clone(), Mutex::default());
        Self(records.map(|records| Arc::new(Inner { records, clock, tasks, lifetime, waiting })))
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// The upstream has let `reader` in now, or turned it away.
    pub(super) fn reader(&self, reader: &Reader, is_let_in: bool) {
        let Some(inner) = &self.0 else { return };
        inner.note(reader_key(reader), is_let_in.then(|| inner.now().to_string()));
    }

    pub(super) async fn find_reader(&self, reader: &Reader) -> Option<Moment> {
        let inner = self.0.as_ref()?;
        let text = inner.read(reader_key(reader)).await?;
        Some(inner.moment(text.parse().ok()?))
    }

    /// The upstream has said now that `tag` means `digest`, or that there is no such tag.
    pub(super) fn tag(&self, scope: &Scope, tag: &Tag, digest: Option<Digest>) {
        let Some(inner) = &self.0 else { return };
        inner.note(tag_key(scope, tag), digest.map(|digest| format!("{} {digest}", inner.now())));
    }

    pub(super) async fn find_tag(&self, scope: &Scope, tag: &Tag) -> Option<(Digest, Moment)> {
        let inner = self.0.as_ref()?;
        let text = inner.read(tag_key(scope, tag)).await?;
        let (seconds, digest) = text.split_once(' ')?;
        Some((digest.parse().ok()?, inner.moment(seconds.parse().ok()?)))
    }

    /// What the upstream has shown under `digest`.
    pub(super) fn content(&self, scope: &Scope, digest: &Digest, shown: Option<&Shown>) {
        let Some(inner) = &self.0 else { return };
        inner.note(content_key(scope, digest), shown.map(written));
    }

    pub(super) async fn find_content(&self, scope: &Scope, digest: &Digest) -> Option<Shown> {
        read(&self.0.as_ref()?.read(content_key(scope, digest)).await?)
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notes").field(&self.0.as_ref().map(|inner| &inner.records)).finish()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.clock.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    fn moment(&self, seconds: u64) -> Moment {
        Moment::ago(Duration::from_secs(self.now().saturating_sub(seconds)))
    }

    /// The value under `key`, as it is or is about to be. A record that can't be read is as good as none.
    async fn read(&self, key: String) -> Option<String> {
        let waiting = lock(&self.waiting).notes.get(&key).map(|(_, value)| value.clone());
        let value = match waiting {
            Some(value) => value?,
            None => match tokio::time::timeout(READ_WITHIN, self.records.get(&key)).await {
                Ok(Ok(value)) => value?,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the records of the cache can't be read");
                    return None;
                }
                Err(_) => {
                    tracing::warn!("the records of the cache can't be read in time");
                    return None;
                }
            },
        };
        String::from_utf8(value.into()).ok()
    }

    /// Has `value` written under `key`, in place of what waits to be, or the record removed.
    fn note(self: &Arc<Self>, key: String, value: Option<String>) {
        let mut waiting = lock(&self.waiting);
        if waiting.notes.len() >= WAITING && !waiting.notes.contains_key(&key) {
            tracing::debug!("what the cache knows is not recorded: too much waits for it already");
            return;
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.notes.insert(key, (number, value.map(Bytes::from)));
        if !waiting.is_writing {
            let writing = Writing(Arc::clone(self));
            waiting.is_writing = true;
            drop(waiting);
            // Where no more tasks may be started, the next note tries again.
            self.tasks.spawn(writing.write());
        }
    }
}

/// The one who writes. It is done when this is dropped, wherever.
struct Writing(Arc<Inner>);

impl Writing {
    async fn write(self) {
        let inner = &self.0;
        let first = || {
            let mut waiting = lock(&inner.waiting);
            let first = waiting.notes.first_key_value();
            let first = first.map(|(key, (number, value))| (key.clone(), *number, value.clone()));
            // Said under the lock, so that a note that comes now starts another one.
            waiting.is_writing = first.is_some();
            first
        };
        while let Some((key, number, value)) = first() {
            let done = match value {
                Some(value) => inner.records.put(&key, value, inner.clock.now() + inner.lifetime).await,
                None => inner.records.remove(&key).await.map(drop),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "what the cache knows isn't recorded");
            }
            let mut waiting = lock(&inner.waiting);
            if waiting.notes.get(&key).is_some_and(|(newest, _)| *newest == number) {
                waiting.notes.remove(&key);
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        lock(&self.0.waiting).is_writing = false;
    }
}

fn written(shown: &Shown) -> String {
    let mut text = if shown.is_blob { "blob".to_owned() } else { "-".to_owned() };
    if let Some(Document { media_type, size, is_checked }) = &shown.manifest {
        text.push_str(&format!(" {size} {} {media_type}", if *is_checked { "checked" } else { "said" }));
    }
    text
}

fn read(text: &str) -> Option<Shown> {
    let mut words = text.split(' ');
    let is_blob = words.next()? == "blob";
    let manifest = match words.next() {
        Some(size) => Some(Document {
            size: size.parse().ok()?,
            is_checked: words.next()? == "checked",
            media_type: words.next()?.parse().ok()?,
        }),
        None => None,
    };
    Some(Shown { is_blob, manifest })
}

fn reader_key(reader: &Reader) -> String {
    let credential = reader.credential.as_ref().map_or(&[][..], |credential| credential.as_bytes());
    key("reader", &reader.scope, credential)
}

fn tag_key(scope: &Scope, tag: &Tag) -> String {
    key("tag", scope, tag.as_str().as_bytes())
}

fn content_key(scope: &Scope, digest: &Digest) -> String {
    key("content", scope, digest.to_string().as_bytes())
}

/// No name has a line break in it, so that no two things have one key.
fn key(kind: &str, scope: &Scope, rest: &[u8]) -> String {
    let upstream = scope.upstream.as_ref().map_or("", |upstream| upstream.host().as_str());
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in [upstream, scope.repository.as_str()] {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    hasher.update(rest);
    format!("cache/{kind}/{}", hasher.finish().hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::media_type::MediaType;
    use crate::store::MemoryRecords;

    fn scope() -> Scope {
        Scope { upstream: None, repository: "a/b".parse().unwrap() }
    }

    #[test]
    fn what_was_shown_is_read_as_it_was_written() {
        let document = Document { media_type: MediaType::OCI_INDEX, size: 7, is_checked: true };
        for (shown, text) in [
            (Shown { is_blob: true, manifest: None }, "blob"),
            (
                Shown { is_blob: false, manifest: Some(document.clone()) },
                "- 7 checked application/vnd.oci.image.index.v1+json",
            ),
            (
                Shown { is_blob: true, manifest: Some(Document { is_checked: false, ..document }) },
                "blob 7 said application/vnd.oci.image.index.v1+json",
            ),
        ] {
            assert_eq!(written(&shown), text);
            assert_eq!(read(text), Some(shown));
        }
        for bad in ["- x", "- 1", "- 1 checked", "- 1 checked nothing"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn notes_are_written_behind_and_read_before() {
        let (records, tasks) = (MemoryRecords::with_capacity(10), Tasks::new());
        let lifetime = Duration::from_secs(3600);
        let notes =
            |tasks: &Tasks| Notes::new(Some(Arc::new(records.clone())), &Clock::system(), tasks, lifetime);
        let (writer, tag) = (notes(&tasks), "v1".parse().unwrap());
        let digests = [b"1", b"2"].map(|content| Digest::sha256(content));
        writer.tag(&scope(), &tag, Some(digests[0]));
        writer.tag(&scope(), &tag, Some(digests[1]));
        assert!(records.is_empty(), "nothing is written yet");
        assert_eq!(writer.find_tag(&scope(), &tag).await.map(|(digest, _)| digest), Some(digests[1]));
        assert!(tasks.shutdown(Duration::from_secs(1)).await);
        assert_eq!(records.len(), 1);
        let reader = notes(&Tasks::new());
        assert_eq!(reader.find_tag(&scope(), &tag).await.map(|(digest, _)| digest), Some(digests[1]));
        // What is to be removed is gone at once, though nobody may do it any more.
        writer.tag(&scope(), &tag, None);
        assert!(writer.find_tag(&scope(), &tag).await.is_none());
        reader.tag(&scope(), &tag, None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(records.is_empty());
    }
}
