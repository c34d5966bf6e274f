use std::sync::{Arc, Mutex};

use http::Extensions;

use super::flight::Flights;
use super::moment::Moment;
use super::scope::Reader;
use super::service::Session;
use super::visibility::Access;
use crate::error::Error;
use crate::operation::{Call, Forward, ListReferrers, ListTags, Referrers, Reply, Response, Tags};
use crate::spec::digest::Digest;
use crate::spec::page::Page;
use crate::store::recent::{Recent, lock};

/// How many bytes of lists are kept.
const LISTS: usize = 16 * 1024 * 1024;

/// What a list takes beside its entries, and each entry beside its text, in bytes.
const OVERHEAD: usize = 500;
const ENTRY: usize = 64;

/// The lists that are kept, and those that are asked for.
pub(super) struct Lists {
    kept: Mutex<Recent<Asked, (Moment, List)>>,
    flights: Flights<(Asked, u64), Arc<Landing>>,
}

/// A list that somebody asked for: a page of it, filtered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    reader: Reader,
    /// Of a manifest, by type, for referrers.
    of: Option<(Digest, Option<String>)>,
    n: Option<u64>,
    last: Option<String>,
}

#[derive(Clone)]
enum List {
    Tags(Tags),
    Referrers(Referrers),
}

/// What an upstream answered, for all who asked.
struct Landing {
    list: List,
    facts: Extensions,
}

impl Default for Lists {
    fn default() -> Self {
        Self { kept: Mutex::new(Recent::new(LISTS)), flights: Flights::default() }
    }
}

pub(super) async fn tags(session: Session, asked: ListTags) -> Result<Response, Error> {
    let key = Asked::new(&session, None, &asked.page);
    answer(session, key, asked).await
}

pub(super) async fn referrers(session: Session, asked: ListReferrers) -> Result<Response, Error> {
    let key = Asked::new(&session, Some((asked.digest, asked.artifact_type.clone())), &asked.page);
    answer(session, key, asked).await
}

/// The lists of this repository were changed by somebody who came this way.
pub(super) fn forget(session: &Session) {
    // Lists are kept briefly, and writes are rare: no need to find those that it concerns.
    *lock(&session.shared.lists.kept) = Recent::new(LISTS);
}

async fn answer<O>(session: Session, key: Asked, asked: O) -> Result<Response, Error>
where
    O: Call + Clone,
    List: From<O::Reply>,
{
    let shared = &session.shared;
    if shared.settings.lists.is_zero() {
        return session.pass(asked, Forward::Bypass).await;
    }
    if let Some((list, ttl)) = kept(&session, &key) {
        shared.counters.hits.add(1);
        let mut status = session.hit();
        status.ttl = Some(ttl);
        return Ok(session.marked(Response::new(list.into()), status));
    }
    let question = (key.clone(), shared.manifests.changes());
    let asking = || ask(session.clone(), key, asked.clone(), question.1);
    let Some(mut waiting) = shared.lists.flights.fly(&shared.tasks, question.clone(), asking) else {
        return session.pass(asked, Forward::Bypass).await;
    };
    let landing = waiting.answer().await?;
    let is_first = waiting.is_first;
    let counter = if is_first { &shared.counters.misses } else { &shared.counters.collapsed };
    counter.add(1);
    let mut status = session.forwarded(Forward::Miss);
    (status.stored, status.collapsed) = (is_first, !is_first);
    let reply: Reply = landing.list.clone().into();
    Ok(session.marked(Response::from_parts(reply, landing.facts.clone()), status))
}

/// The list, if it is kept and this reader may see it, and for how many seconds it is fresh.
fn kept(session: &Session, key: &Asked) -> Option<(List, i64)> {
    let shared = &session.shared;
    if shared.visibility.access(&session.reader) != Access::Granted {
        return None;
    }
    let mut kept = lock(&shared.lists.kept);
    let (since, list) = kept.get(key)?;
    if since.age() < shared.settings.lists {
        return Some((list.clone(), since.left_of(shared.settings.lists)));
    }
    kept.remove(key);
    None
}

async fn ask<O>(session: Session, key: Asked, asked: O, changes: u64) -> Result<Arc<Landing>, Error>
where
    O: Call,
    List: From<O::Reply>,
{
    let shared = &session.shared;
    let (reply, facts) = session.ask(asked, |_| {}).await?.into_parts();
    let list = List::from(reply);
    if changes == shared.manifests.changes() {
        lock(&shared.lists.kept).insert(key, (Moment::now(), list.clone()), list.weight());
    }
    Ok(Arc::new(Landing { list, facts }))
}

impl Asked {
    fn new(session: &Session, of: Option<(Digest, Option<String>)>, page: &Page) -> Self {
        Self { reader: session.reader.clone(), of, n: page.n, last: page.last.clone() }
    }
}

impl List {
    fn weight(&self) -> usize {
        let entries: usize = match self {
            Self::Tags(tags) => tags.tags.iter().map(|tag| tag.as_str().len() + ENTRY).sum(),
            Self::Referrers(referrers) => {
                let members = referrers.manifests.iter().flat_map(|descriptor| descriptor.object().iter());
                members.map(|(key, value)| key.len() + value.bytes().len() + 2 * ENTRY).sum()
            }
        };
        entries.saturating_add(OVERHEAD)
    }
}

impl From<Tags> for List {
    fn from(tags: Tags) -> Self {
        Self::Tags(tags)
    }
}

impl From<Referrers> for List {
    fn from(referrers: Referrers) -> Self {
        Self::Referrers(referrers)
    }
}

impl From<List> for Reply {
    fn from(list: List) -> Self {
        match list {
            List::Tags(tags) => tags.into(),
            List::Referrers(referrers) => referrers.into(),
        }
    }
}
