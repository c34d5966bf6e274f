use std::sync::Arc;

use http::Extensions;
use tokio::time::Instant;

use super::ask::{self, Landing};
use super::kept::{self, Tagged};
use super::respond;
use crate::error::{Error, ErrorKind};
use crate::layer::cache::service::{Session, is_out_of_reach, slow};
use crate::layer::cache::visibility::Access;
use crate::operation::{Forward, GetManifest, Manifest, Response, Warnings};
use crate::spec::digest::Digest;
use crate::spec::name::Reference;

/// Answers what isn't answered from memory.
pub(super) async fn answer(session: Session, asked: GetManifest) -> Result<Response, Error> {
    let came = Instant::now();
    if let Some(error) = kept::absent(&session, &asked.reference) {
        return Err(error);
    }
    recall(&session, &asked.reference).await;
    let access = session.shared.visibility.access(&session.reader);
    let tag = asked.reference.tag();
    let tagged = tag.and_then(|tag| session.shared.manifests.tagged(&session.reader.scope, tag));
    let cold = Cold { session, asked, access, tagged, came };
    match cold.answer().await? {
        Some(response) => Ok(response),
        None => {
            tracing::warn!("a manifest is passed through: no more tasks may be started");
            cold.session.pass(cold.asked, Forward::Bypass).await
        }
    }
}

/// Looks up what another process may have noted.
async fn recall(session: &Session, reference: &Reference) {
    let (shared, scope) = (&session.shared, &session.reader.scope);
    shared.visibility.recall(&session.reader).await;
    let digest = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(tag) => shared.manifests.recall(scope, tag).await.map(|tagged| tagged.digest),
    };
    if let Some(digest) = digest {
        shared.visibility.recall_content(scope, digest).await;
    }
}

/// A request that memory alone doesn't answer.
struct Cold {
    session: Session,
    asked: GetManifest,
    /// What was known of the reader when it came.
    access: Access,
    /// What was known of the tag when it was asked for.
    tagged: Option<Tagged>,
    /// When it came.
    came: Instant,
}

/// What is answered; none when the upstream is to be asked, and can't be in a task of its own.
type Outcome = Result<Option<Response>, Error>;

/// What came of a question.
enum Heard {
    /// The upstream's answer, and whether it was asked for this request.
    Landed(Arc<Landing>, bool),
    /// What is said in its place.
    Stale(Response),
    /// It wasn't asked.
    Full,
}

impl Cold {
    async fn answer(&self) -> Outcome {
        if let Some(known) = kept::known(&self.session, &self.asked.reference) {
            if let Some(manifest) = kept::manifest(&self.session, known.digest).await {
                return Ok(Some(kept::answer(&self.session, &self.asked, manifest, known.ttl)));
            }
            if let Some(outcome) = self.content(known.digest).await {
                return outcome;
            }
        } else if self.asks_first() {
            let (landing, is_first) = match self.ask(&self.asked.reference, true).await? {
                Heard::Landed(landing, is_first) => (landing, is_first),
                heard => return Ok(self.told(heard)),
            };
            let digest = landing.manifest.digest;
            if self.asked.head || self.asked.conditions.has(&digest) {
                return Ok(Some(self.landed(&landing, is_first, None)));
            }
            if let Some(manifest) = kept::manifest(&self.session, digest).await {
                return Ok(Some(self.landed(&landing, is_first, Some(manifest))));
            }
            if let Some(outcome) = self.content(digest).await {
                return outcome;
            }
        }
        let heard = self.ask(&self.asked.reference, self.asked.head).await?;
        Ok(self.told(heard))
    }

    /// Asks the upstream. When it fails or takes too long, what was known before is the answer, if there is such; the
    /// question goes on.
    async fn ask(&self, reference: &Reference, head: bool) -> Result<Heard, Error> {
        let Some(mut waiting) = ask::ask(&self.session, reference, head) else { return Ok(Heard::Full) };
        let limit = self.session.shared.settings.revalidation_timeout;
        let answer = match waiting.answer_within(self.came, limit).await {
            Some(answer) => answer,
            None => {
                if let Some(response) = self.known_before(&slow(limit)).await {
                    return Ok(Heard::Stale(response));
                }
                waiting.answer().await
            }
        };
        match answer {
            Ok(landing) => Ok(Heard::Landed(landing, waiting.is_first)),
            Err(error) => match self.known_before(&error).await {
                Some(response) => Ok(Heard::Stale(response)),
                None => Err(error),
            },
        }
    }

    fn told(&self, heard: Heard) -> Option<Response> {
        match heard {
            Heard::Landed(landing, is_first) => Some(self.landed(&landing, is_first, None)),
            Heard::Stale(response) => Some(response),
            Heard::Full => None,
        }
    }

    /// Whether a `HEAD` comes first, so that what is kept need not be fetched again: for a reader that the upstream has
    /// let in before. For any other one the upstream is asked for what was asked here, so that nothing shows whether it
    /// is kept.
    fn asks_first(&self) -> bool {
        let is_known = self.asked.reference.digest().is_none() && self.tagged.is_some();
        self.asked.head || self.access == Access::Expired || self.access == Access::Granted && is_known
    }

    /// Fetches the content of what is known to be meant. None when that isn't there: then the tag means something else
    /// by now, or the upstream was wrong about it.
    async fn content(&self, digest: Digest) -> Option<Outcome> {
        match self.ask(&digest.into(), false).await {
            Ok(heard) => Some(Ok(self.told(heard))),
            Err(error) if error.kind() == ErrorKind::NotFound && self.asked.reference.tag().is_some() => {
                if let Some(tag) = self.asked.reference.tag() {
                    self.session.shared.manifests.untag(&self.session.reader.scope, tag);
                }
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// What was answered, with its content where that comes from elsewhere.
    fn landed(&self, landing: &Landing, is_first: bool, kept: Option<Manifest>) -> Response {
        let (session, counters) = (&self.session, &self.session.shared.counters);
        let is_fetched = landing.manifest.content.is_some();
        let manifest = kept.unwrap_or_else(|| landing.manifest.clone());
        let mut status = match (landing.was_asked, self.is_stale()) {
            (false, _) => session.hit(),
            (true, true) => session.forwarded(Forward::Stale),
            (true, false) => session.forwarded(Forward::Miss),
        };
        status.ttl = self.ttl();
        status.collapsed = landing.was_asked && !is_first;
        status.stored = landing.was_asked && is_first && is_fetched;
        match (landing.was_asked, is_first) {
            (false, _) => counters.hits.add(1),
            (true, true) => counters.misses.add(1),
            (true, false) => counters.collapsed.add(1),
        }
        respond(session, &self.asked, manifest, status, landing.facts.clone())
    }

    /// Whether what is known of it may not hold any more.
    fn is_stale(&self) -> bool {
        match (&self.asked.reference, self.tagged) {
            (_, _) if self.access == Access::Unknown => false,
            (Reference::Digest(_), _) => self.access == Access::Expired,
            (Reference::Tag(_), None) => false,
            (Reference::Tag(tag), Some(tagged)) => {
                let fresh = self.session.shared.settings.fresh(tag);
                self.access == Access::Expired || tagged.checked.age() >= fresh
            }
        }
    }

    /// For how long what the tag means now is fresh.
    fn ttl(&self) -> Option<i64> {
        let tag = self.asked.reference.tag()?;
        let tagged = self.session.shared.manifests.tagged(&self.session.reader.scope, tag)?;
        Some(tagged.checked.left_of(self.session.shared.settings.fresh(tag)))
    }

    /// What was known before, where the upstream can't be asked.
    async fn known_before(&self, error: &Error) -> Option<Response> {
        let (session, shared) = (&self.session, &self.session.shared);
        let access = shared.visibility.access(&session.reader);
        if !is_out_of_reach(error) || access == Access::Unknown {
            return None;
        }
        let granted_for = shared.visibility.granted_for(&session.reader);
        let mut found = None;
        match &self.asked.reference {
            Reference::Digest(digest) => found = self.kept(*digest).await.map(|manifest| (manifest, None)),
            Reference::Tag(tag) => {
                let fresh = shared.settings.fresh(tag);
                let meanings = self.tagged.iter().flat_map(Tagged::meanings);
                for (digest, checked) in meanings.filter(|(_, checked)| checked.age() < shared.settings.stale)
                {
                    if let Some(manifest) = self.kept(digest).await {
                        found = Some((manifest, Some(granted_for.min(checked.left_of(fresh)))));
                        break;
                    }
                }
            }
        }
        let (manifest, ttl) = found?;
        shared.counters.stale.add(1);
        let mut status = session.forwarded(Forward::Stale);
        status.ttl = ttl;
        let mut facts = Extensions::new();
        facts.insert(Warnings::new([format!("stale: the upstream couldn't be asked: {error}")]));
        Some(respond(session, &self.asked, manifest, status, facts))
    }

    /// The manifest `digest` as far as it was asked for.
    async fn kept(&self, digest: Digest) -> Option<Manifest> {
        if self.asked.head || self.asked.conditions.has(&digest) {
            let document = self.session.shared.visibility.manifest(&self.session.reader.scope, digest)?;
            return Some(Manifest::head(document.media_type, digest, document.size));
        }
        kept::manifest(&self.session, digest).await
    }
}
