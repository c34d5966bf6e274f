//! Pushing manifests with `tag` parameters.

use super::answer::Answer;
use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::Document;
use super::push_manifests::{push, unpushed};
use super::site::Site;
use super::target::Feature;

pub(super) const GROUP: Group = Group { section: "Pushing manifests: `tag` parameters", cases: CASES };

const PUSH: &[Feature] = &[Feature::Push];
const TAGS: &[Feature] = &[Feature::Push, Feature::TagParameters];

const CASES: &[Case] = &[
    may("`tag` parameters push tags along with a digest.", |site| Box::pin(tag_parameters(site))).needs(TAGS),
    should("At least 10 tags are pushed in one request.", |site| Box::pin(ten_tags(site))).needs(TAGS),
    must("`OCI-Tag` names each tag that was accepted.", |site| Box::pin(oci_tag(site))).needs(TAGS),
    may("Too many tags are 414.", |site| Box::pin(too_many_tags(site))).needs(TAGS),
    must("Without support for `tag` parameters there is no `OCI-Tag`.", |site| Box::pin(no_oci_tag(site)))
        .needs(PUSH)
        .unless(Feature::TagParameters),
];

async fn with_tags(site: &Site, document: &Document, tags: &[String]) -> Checked<Answer> {
    let tags: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    push(site, &format!("{}?{}", document.digest, tags.join("&")), document).await
}

fn tags(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v1.{number}")).collect()
}

/// The tags of all `OCI-Tag` headers, sorted.
fn accepted(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.get_all("oci-tag").iter().filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned());
    let mut tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).collect();
    tags.sort_unstable();
    tags
}

async fn tag_parameters(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    with_tags(site, &image, &tags(3)).await?.has_status(&[201])?;
    for tag in tags(3) {
        site.get(&format!("manifests/{tag}")).await?.has_content(&image.content)?;
    }
    site.get(&image.path()).await?.has_content(&image.content)
}

async fn ten_tags(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let answer = with_tags(site, &image, &tags(10)).await?;
    answer.has_status(&[201])?;
    if accepted(&answer) == tags(10) { Ok(()) } else { Err(answer.fails("not all ten tags were accepted")) }
}

async fn oci_tag(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let answer = with_tags(site, &image, &tags(4)).await?;
    answer.has_status(&[201])?;
    for tag in tags(4) {
        let is_accepted = accepted(&answer).contains(&tag);
        site.get(&format!("manifests/{tag}")).await?.has_status(if is_accepted { &[200] } else { &[404] })?;
    }
    // Without any, there is nothing to name.
    push(site, &image.digest.to_string(), &image).await?.lacks("oci-tag")
}

async fn too_many_tags(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let answer = with_tags(site, &image, &tags(2000)).await?;
    answer.has_status(&[201, 414, 431])?;
    if answer.status == 201 {
        return Ok(());
    }
    site.get("manifests/v1.0").await?.has_status(&[404])
}

async fn no_oci_tag(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let answer = with_tags(site, &image, &tags(2)).await?;
    answer.has_status(&[201])?;
    answer.lacks("oci-tag")
}
