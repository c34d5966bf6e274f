use super::policy::{Decision, Policy};
use crate::error::Error;
use crate::operation::{Access, Identity, ListRepositories, Registry, Repositories, Request};
use crate::spec::page::Page;

/// How many pages of the inner list are read for one page of ours.
const MAX_PAGES: usize = 64;

/// How many names a page of the inner list is asked for.
const INNER_PAGE: u64 = 1000;

/// The repositories that `caller` may pull from. The marker of the next page is one of them too: the inner list's may be
/// a name that the caller must not see.
///
/// # Errors
///
/// What the inner list fails with; `Unavailable` when it has too many names in a row that the caller must not see.
pub(super) async fn visible<R: Registry>(
    inner: R,
    request: Request<ListRepositories>,
    policy: &dyn Policy,
    caller: &Identity,
) -> Result<Repositories, Error> {
    let asked = request.operation().page.clone();
    let wanted = usize::try_from(asked.n.unwrap_or(Page::MAX).min(Page::MAX)).unwrap_or(usize::MAX);
    let mut last = asked.last;
    let mut names = Vec::new();
    let page_of = |names: Vec<_>| {
        let next = names.last().map(ToString::to_string);
        Ok(Repositories::new(names, next))
    };
    for _ in 0..MAX_PAGES {
        let mut list = ListRepositories::new();
        list.page = Page::new(Some(INNER_PAGE), last);
        let page = inner.send(request.with(list)).await?.into_reply();
        for name in page.repositories {
            if policy.decide(caller, Access::Pull, Some(&name)) != Decision::Allow {
                continue;
            }
            if names.len() >= wanted {
                return page_of(names);
            }
            names.push(name);
        }
        if page.next.is_none() {
            return Ok(Repositories::new(names, None));
        }
        last = page.next;
    }
    if names.is_empty() {
        return Err(Error::unavailable("the list of repositories is too long to find yours in it"));
    }
    page_of(names)
}
