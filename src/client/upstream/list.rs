use std::collections::BTreeSet;

use super::Inner;
use super::exchange::{Ask, Caller, discard};
use crate::error::{Error, ErrorKind};
use crate::operation::{
    Conditional, GetManifest, ListReferrers, ListRepositories, ListTags, Referrers, Reply, Repositories,
    Response, Tags,
};
use crate::spec::digest::Digest;
use crate::spec::image::{Descriptor, Manifest};
use crate::spec::name::{Reference, Tag};
use crate::spec::page::Page;

impl Inner {
    pub(super) async fn tags(&self, mut operation: ListTags, caller: &Caller) -> Result<Response, Error> {
        let page = operation.page.clone();
        if self.quirks.ignores_paging {
            operation.page = Page::default();
        }
        let response = self.plain(operation.into(), caller).await?;
        Ok(response.map(|reply| match reply {
            Reply::Tags(Tags { repository, tags, next, .. }) => {
                let (tags, next) = paged(tags, next, &page);
                Tags::new(repository, tags, next).into()
            }
            other => other,
        }))
    }

    pub(super) async fn repositories(
        &self,
        mut operation: ListRepositories,
        caller: &Caller,
    ) -> Result<Response, Error> {
        let page = operation.page.clone();
        if self.quirks.ignores_paging {
            operation.page = Page::default();
        }
        let response = self.plain(operation.into(), caller).await?;
        Ok(response.map(|reply| match reply {
            Reply::Repositories(Repositories { repositories, next, .. }) => {
                let (repositories, next) = paged(repositories, next, &page);
                Repositories::new(repositories, next).into()
            }
            other => other,
        }))
    }

    /// Referrers, from the tag that stands for them where there is no API
    /// ([distribution-spec, Referrers tag schema](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema)).
    pub(super) async fn referrers(
        &self,
        operation: ListReferrers,
        caller: &Caller,
    ) -> Result<Response, Error> {
        let wanted = operation.artifact_type.clone();
        let (ask, asked) = Ask::new(operation.clone().into(), caller)?;
        let answer = self.exchange(&ask).await?;
        let response = if matches!(answer.status().as_u16(), 404 | 405) && answer.at_home {
            discard(answer.response).await;
            self.referrers_by_tag(&operation, caller).await?
        } else {
            self.read(&ask, &asked, answer).await?
        };
        Ok(response.map(|reply| match (reply, wanted) {
            (Reply::Referrers(referrers), Some(wanted)) if !referrers.filtered => {
                filtered(referrers, &wanted).into()
            }
            (other, _) => other,
        }))
    }

    async fn referrers_by_tag(&self, operation: &ListReferrers, caller: &Caller) -> Result<Response, Error> {
        let reference = Reference::Tag(fallback_tag(&operation.digest)?);
        let get = GetManifest::new(operation.repository.clone(), reference);
        let response = match self.plain(get.into(), caller).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Response::new(Referrers::default().into()));
            }
            other => other?,
        };
        Ok(response.map(|reply| match reply {
            Reply::Manifest(Conditional::Full(manifest)) => {
                let content = manifest.content.unwrap_or_default();
                let manifests = match Manifest::parse(Some(&manifest.media_type), content) {
                    Ok(Manifest::Index(index)) => index.manifests().to_vec(),
                    // Whatever else is there under that name, it is no list of referrers.
                    _ => Vec::new(),
                };
                Referrers::new(manifests, false, None).into()
            }
            other => other,
        }))
    }
}

/// The tag under which the referrers of `digest` are listed: the algorithm, a dash, and up to 64 digits.
fn fallback_tag(digest: &Digest) -> Result<Tag, Error> {
    let hex = digest.hex();
    let tag = format!("{}-{}", digest.algorithm(), hex.get(..64).unwrap_or(&hex)).parse();
    Ok(tag?)
}

/// Those of the type `wanted`.
fn filtered(referrers: Referrers, wanted: &str) -> Referrers {
    let is_wanted = |descriptor: &Descriptor| {
        descriptor.artifact_type().is_ok_and(|artifact_type| artifact_type.as_deref() == Some(wanted))
    };
    let Referrers { mut manifests, next, .. } = referrers;
    manifests.retain(is_wanted);
    Referrers::new(manifests, true, next)
}

/// The page that was asked for, out of an answer that may hold more: some registries ignore `n`, `last` or both.
fn paged<T: AsRef<str> + Ord + Clone>(
    entries: Vec<T>,
    next: Option<String>,
    page: &Page,
) -> (Vec<T>, Option<String>) {
    let too_many = page.n.is_some_and(|n| entries.len() as u64 > n);
    // What stands after a marker never is the marker.
    let from_the_start =
        page.last.as_ref().is_some_and(|last| entries.iter().any(|entry| entry.as_ref() == last));
    if !too_many && !from_the_start {
        return (entries, next);
    }
    let entries: Vec<T> = entries.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let (cut, more) = page.cut(&entries);
    (cut.to_vec(), more.map(|last| last.as_ref().to_owned()).or(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paged_of(entries: &[&str], n: Option<u64>, last: Option<&str>) -> (Vec<String>, Option<String>) {
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        paged(entries, None, &Page::new(n, last.map(str::to_owned)))
    }

    fn owned(entries: &[&str], next: Option<&str>) -> (Vec<String>, Option<String>) {
        (entries.iter().map(|entry| (*entry).to_owned()).collect(), next.map(str::to_owned))
    }

    #[test]
    fn pages_are_cut_where_the_registry_ignores_them() {
        let all = ["c", "a", "d", "b"];
        assert_eq!(paged_of(&all, None, None), owned(&all, None));
        assert_eq!(paged_of(&all, Some(4), None), owned(&all, None));
        assert_eq!(paged_of(&all, Some(2), None), owned(&["a", "b"], Some("b")));
        assert_eq!(paged_of(&all, Some(2), Some("b")), owned(&["c", "d"], None));
        assert_eq!(paged_of(&all, None, Some("b")), owned(&["c", "d"], None));
        assert_eq!(paged_of(&all, Some(2), Some("d")), owned(&[], None));
        assert_eq!(paged_of(&["c", "d"], Some(2), Some("b")), owned(&["c", "d"], None));
    }

    #[test]
    fn the_fallback_tag_of_a_long_digest_is_cut() {
        use crate::spec::digest::Algorithm;
        let short = Digest::of(Algorithm::Sha256, b"");
        assert_eq!(fallback_tag(&short).unwrap().as_str(), format!("sha256-{}", short.hex()));
        let long = Digest::of(Algorithm::Sha512, b"");
        assert_eq!(fallback_tag(&long).unwrap().as_str(), format!("sha512-{}", &long.hex()[..64]));
    }
}
