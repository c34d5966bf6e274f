//! Pushing manifests with subject.

use super::answer::Answer;
use super::case::{Case, Checked, Group, must};
use super::fixtures::{Document, index, manifest};
use super::site::Site;
use super::target::Feature;

pub(super) const GROUP: Group = Group { section: "Pushing manifests with subject", cases: CASES };

const PUSH: &[Feature] = &[Feature::Push];
const SUBJECT: &[Feature] = &[Feature::Push, Feature::Subject];

const CASES: &[Case] = &[
    must("A manifest is accepted before its subject.", |site| Box::pin(before(site))).needs(PUSH),
    must("A manifest is accepted after its subject.", |site| Box::pin(after(site))).needs(PUSH),
    must("`OCI-Subject` is the digest of the subject.", |site| Box::pin(told(site))).needs(SUBJECT),
    must("`OCI-Subject` is told for an index, too.", |site| Box::pin(of_index(site))).needs(SUBJECT),
    must("`OCI-Subject` is told each time, by tag and by digest.", |site| Box::pin(each_time(site)))
        .needs(SUBJECT),
    must("Without a subject there is no `OCI-Subject`.", |site| Box::pin(without(site))).needs(PUSH),
    must("A registry that leaves the list to its clients says nothing of the subject.", |site| {
        Box::pin(left_to_clients(site))
    })
    .needs(PUSH)
    .unless(Feature::Subject),
];

fn subject(of: &Document) -> String {
    format!(r#","subject":{}"#, of.descriptor())
}

/// A subject that isn't there yet, and a manifest about it.
async fn pair(site: &Site) -> Checked<(Document, Document)> {
    let config = site.put_blob("{}").await?;
    let image = manifest(&config, &[], &format!(r#","annotations":{{"of":"{}"}}"#, site.name()));
    let referrer = manifest(&config, &[], &subject(&image));
    Ok((image, referrer))
}

async fn push(site: &Site, reference: &str, document: &Document) -> Checked<Answer> {
    let answer = site.push_manifest(reference, document.media_type, &document.content).await?;
    answer.has_status(&[201])?;
    site.get(&document.path()).await?.has_content(&document.content)?;
    Ok(answer)
}

async fn before(site: &Site) -> Checked {
    let (image, referrer) = pair(site).await?;
    push(site, &referrer.digest.to_string(), &referrer).await?;
    site.get(&image.path()).await?.has_status(&[404])?;
    push(site, "v1", &image).await?;
    Ok(())
}

async fn after(site: &Site) -> Checked {
    let (image, referrer) = pair(site).await?;
    push(site, "v1", &image).await?;
    push(site, &referrer.digest.to_string(), &referrer).await?;
    Ok(())
}

async fn told(site: &Site) -> Checked {
    let (image, referrer) = pair(site).await?;
    push(site, &referrer.digest.to_string(), &referrer).await?.has_header("oci-subject", image.digest)
}

async fn of_index(site: &Site) -> Checked {
    let (image, _) = pair(site).await?;
    let referrer = index(&[], &subject(&image));
    push(site, &referrer.digest.to_string(), &referrer).await?.has_header("oci-subject", image.digest)
}

async fn each_time(site: &Site) -> Checked {
    let (image, referrer) = pair(site).await?;
    for reference in ["sbom".to_owned(), referrer.digest.to_string(), "sbom".to_owned()] {
        push(site, &reference, &referrer).await?.has_header("oci-subject", image.digest)?;
    }
    Ok(())
}

async fn without(site: &Site) -> Checked {
    let (image, _) = pair(site).await?;
    push(site, "v1", &image).await?.lacks("oci-subject")
}

async fn left_to_clients(site: &Site) -> Checked {
    let (_, referrer) = pair(site).await?;
    push(site, &referrer.digest.to_string(), &referrer).await?.lacks("oci-subject")
}
