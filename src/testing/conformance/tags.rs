//! Listing tags.

use serde::Deserialize;

use super::answer::Answer;
use super::case::{Case, Checked, Group, may, must};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::Digest;

pub(super) const GROUP: Group = Group { section: "Listing tags", cases: CASES };

const CASES: &[Case] = &[
    must("The list of a repository's tags is 200, in the format of the specification.", |site| {
        Box::pin(listed(site))
    }),
    must("The tags are in lexical or ASCIIbetical order.", |site| Box::pin(sorted(site))),
    may("The list is empty if there are no tags.", |site| Box::pin(no_tags(site))),
    must("A repository that isn't there is 404.", |site| Box::pin(no_repository(site))),
    must("With `n` there are so many tags, or a `Link` to more.", |site| Box::pin(n(site))),
    must("With an `n` as large as the list or larger all tags come.", |site| Box::pin(large_n(site))),
    must("With an `n` of zero the list is empty, without `Link`.", |site| Box::pin(zero(site))),
    must("A `Link` leads to the next page with `rel=\"next\"`, and all pages make the list.", |site| {
        Box::pin(links(site))
    })
    .needs(&[Feature::TagLinks]),
    must("With `last` the list begins after that tag.", |site| Box::pin(last(site))),
    must("With `n` and `last` there are up to `n` tags after that one.", |site| Box::pin(n_and_last(site))),
    must("Each tag is listed once, however often it was pushed.", |site| Box::pin(once(site))),
];

/// In ASCIIbetical order, which is no other than the one without regard to case.
const TAGS: [&str; 7] = ["0.9", "1.0", "1.10", "1.2", "a-b", "latest", "v1"];

#[derive(Deserialize)]
struct List {
    name: String,
    tags: Vec<String>,
}

async fn tagged(site: &Site) -> Checked {
    let image = site.put_image("tagged").await?;
    for tag in ["latest", "1.10", "1.2", "v1", "a-b", "0.9", "1.0"] {
        site.put_manifest(tag, &image).await?;
    }
    Ok(())
}

fn read(site: &Site, answer: &Answer) -> Checked<Vec<String>> {
    answer.has_status(&[200])?;
    let list: List = answer.json()?;
    if list.name == site.name() { Ok(list.tags) } else { Err(answer.fails("the list has another `name`")) }
}

/// All tags from this page on; a page may have as many as `n`.
async fn all(site: &Site, query: &str, n: usize) -> Checked<(Answer, Vec<String>)> {
    let mut answer = site.get(&format!("tags/list{query}")).await?;
    let mut tags = read(site, &answer)?;
    if tags.len() > n {
        return Err(answer.fails(format!("a page of more than {n}")));
    }
    while let Some(next) = answer.next()? {
        answer = site.follow(next).await?;
        let page = read(site, &answer)?;
        if page.is_empty() && answer.headers.contains_key("link") || tags.len() > 1000 {
            return Err(answer.fails("the pages have no end"));
        }
        if page.len() > n {
            return Err(answer.fails(format!("a page of more than {n}")));
        }
        tags.extend(page);
    }
    Ok((answer, tags))
}

pub(super) async fn is_listed(site: &Site, query: &str, n: usize, expected: &[&str]) -> Checked {
    let (answer, tags) = all(site, query, n).await?;
    if tags == expected {
        return Ok(());
    }
    Err(answer.fails(format!("`tags/list{query}` and what follows has {tags:?} in place of {expected:?}")))
}

async fn listed(site: &Site) -> Checked {
    tagged(site).await?;
    let answer = site.get("tags/list").await?;
    if !answer.has("content-type")?.starts_with("application/json") {
        return Err(answer.fails("the list should be JSON"));
    }
    is_listed(site, "", usize::MAX, &TAGS).await
}

async fn sorted(site: &Site) -> Checked {
    let image = site.put_image("tagged").await?;
    for tag in ["b", "B", "a", "C", "_", "1"] {
        site.put_manifest(tag, &image).await?;
    }
    let (answer, tags) = all(site, "", usize::MAX).await?;
    let lexical = tags.is_sorted_by_key(|tag| tag.to_ascii_lowercase());
    if tags.len() == 6 && (tags.is_sorted() || lexical) {
        return Ok(());
    }
    Err(answer.fails(format!("{tags:?} should be six tags in order")))
}

async fn no_tags(site: &Site) -> Checked {
    site.put_image("untagged").await?;
    is_listed(site, "", 0, &[]).await
}

async fn no_repository(site: &Site) -> Checked {
    for path in ["tags/list", "tags/list?n=2", "tags/list?n=2&last=v1"] {
        site.get(path).await?.is_error(&[404], &["NAME_UNKNOWN"])?;
    }
    Ok(())
}

/// A page of `n`: as many, or fewer with a `Link`.
async fn page(site: &Site, query: &str, n: usize) -> Checked<Vec<String>> {
    let answer = site.get(&format!("tags/list{query}")).await?;
    let tags = read(site, &answer)?;
    let is_right = tags.len() == n || tags.len() < n && answer.next()?.is_some();
    if is_right { Ok(tags) } else { Err(answer.fails(format!("the page should have {n} tags"))) }
}

async fn n(site: &Site) -> Checked {
    tagged(site).await?;
    for n in 1..=TAGS.len() {
        let tags = page(site, &format!("?n={n}"), n).await?;
        if !TAGS.iter().take(tags.len()).eq(tags.iter()) {
            let answer = site.get(&format!("tags/list?n={n}")).await?;
            return Err(answer.fails("the page doesn't begin at the beginning of the list"));
        }
    }
    Ok(())
}

async fn large_n(site: &Site) -> Checked {
    tagged(site).await?;
    for n in [TAGS.len(), TAGS.len() + 1, 1000, 100_000_000] {
        is_listed(site, &format!("?n={n}"), n, &TAGS).await?;
    }
    Ok(())
}

async fn zero(site: &Site) -> Checked {
    tagged(site).await?;
    for query in ["?n=0", "?n=0&last=1.0"] {
        let answer = site.get(&format!("tags/list{query}")).await?;
        if !read(site, &answer)?.is_empty() {
            return Err(answer.fails("the list should be empty"));
        }
        answer.lacks("link")?;
    }
    Ok(())
}

async fn links(site: &Site) -> Checked {
    tagged(site).await?;
    let first = site.get("tags/list?n=2").await?;
    first.has("link")?;
    for n in [1, 2, 3, 6] {
        is_listed(site, &format!("?n={n}"), n, &TAGS).await?;
    }
    Ok(())
}

async fn last(site: &Site) -> Checked {
    tagged(site).await?;
    for (position, tag) in TAGS.iter().enumerate() {
        let after = TAGS.get(position + 1..).unwrap_or_default();
        is_listed(site, &format!("?last={tag}"), usize::MAX, after).await?;
    }
    Ok(())
}

async fn n_and_last(site: &Site) -> Checked {
    tagged(site).await?;
    for n in [1, 2, 5] {
        // As clients do that don't know of `Link`.
        let (mut tags, mut last) = (Vec::new(), String::new());
        loop {
            let answer = site.get(&format!("tags/list?n={n}{last}")).await?;
            let page = read(site, &answer)?;
            if page.len() > n || tags.len() > TAGS.len() {
                return Err(answer.fails("a page of too many"));
            }
            let Some(end) = page.last() else { break };
            last = format!("&last={end}");
            tags.extend(page);
        }
        if tags != TAGS {
            let answer = site.get(&format!("tags/list?n={n}")).await?;
            return Err(answer.fails(format!("the pages make {tags:?}")));
        }
    }
    Ok(())
}

async fn once(site: &Site) -> Checked {
    let (first, second) = (site.put_tagged("v1").await?, site.put_image("second").await?);
    for image in [&second, &first, &second] {
        site.put_manifest("v1", image).await?;
    }
    let absent = Digest::sha256(b"nothing has this content");
    site.get(&format!("manifests/{absent}")).await?.has_status(&[404])?;
    is_listed(site, "", usize::MAX, &["v1"]).await
}
