use super::keys::{Kind, last, only};
use super::scan::collect;
use crate::error::Error;
use crate::hosted::answer::no_repository;
use crate::hosted::manifest::{REFERRERS_PAGE, is_of_type};
use crate::operation::{ListReferrers, Referrers, Repositories, Tags};
use crate::spec::image::Descriptor;
use crate::spec::json::Document;
use crate::spec::name::{Repository, Tag};
use crate::spec::page::Page;
use crate::store::index::View;

pub(super) fn tags(view: &dyn View, repository: &Repository, page: &Page) -> Result<Tags, Error> {
    let name = repository.as_str();
    if view.get(&Kind::Repository.key(&[name]))?.is_none() {
        return Err(no_repository(repository));
    }
    let (tags, next) = list::<Tag>(view, Kind::Tag, &[name], page)?;
    Ok(Tags::new(repository.clone(), tags, next))
}

pub(super) fn repositories(view: &dyn View, page: &Page) -> Result<Repositories, Error> {
    let (repositories, next) = list::<Repository>(view, Kind::Repository, &[], page)?;
    Ok(Repositories::new(repositories, next))
}

/// A page of the last parts of keys.
fn list<T: std::str::FromStr + AsRef<str> + Clone>(
    view: &dyn View,
    kind: Kind,
    parts: &[&str],
    page: &Page,
) -> Result<(Vec<T>, Option<String>), Error> {
    let mut span = kind.below(parts);
    if let Some(after) = &page.last {
        span = span.after(after);
    }
    // One more, to see whether there is more.
    let all = collect(view, &span, length(page).saturating_add(1), |key, _| match parts {
        [] => only(key).map(Some),
        _ => last::<T>(key).map(Some),
    })?;
    let (page, next) = page.cut(&all);
    Ok((page.to_vec(), next.map(|last| last.as_ref().to_owned())))
}

pub(super) fn referrers(view: &dyn View, list: &ListReferrers) -> Result<Referrers, Error> {
    let artifact_type = list.artifact_type.as_deref();
    let mut span = Kind::Referrer.below(&[list.repository.as_str(), &list.digest.to_string()]);
    if let Some(after) = &list.page.last {
        span = span.after(after);
    }
    let n = length(&list.page);
    let (mut manifests, mut bytes, mut has_more) = (Vec::<Descriptor>::new(), 0_usize, false);
    // What is found is the end of the page.
    collect(view, &span, 1, |_, value| {
        let raw = Document::parse(bytes::Bytes::copy_from_slice(value))?.object().to_raw();
        let descriptor = Descriptor::read(&raw)?;
        if is_of_type(&descriptor, artifact_type) {
            bytes = bytes.saturating_add(value.len());
            has_more = manifests.len() >= n || bytes > REFERRERS_PAGE && !manifests.is_empty();
            if !has_more {
                manifests.push(descriptor);
            }
        }
        Ok(has_more.then_some(()))
    })?;
    let last = manifests.last().filter(|_| has_more);
    let next = last.map(|last| last.digest().to_string());
    Ok(Referrers::new(manifests, artifact_type.is_some(), next))
}

fn length(page: &Page) -> usize {
    usize::try_from(page.n.unwrap_or(Page::MAX).min(Page::MAX)).unwrap_or(usize::MAX)
}
