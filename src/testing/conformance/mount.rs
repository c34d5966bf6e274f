//! Mounting a blob from another repository.

use http::Method;

use super::answer::Answer;
use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::Blob;
use super::push_blobs::NO_DIGESTS;
use super::site::Site;
use super::target::Feature;

pub(super) const GROUP: Group = Group { section: "Mounting a blob from another repository", cases: CASES };

const PUSH: &[Feature] = &[Feature::Push];
const MOUNT: &[Feature] = &[Feature::Push, Feature::Mount];

const CASES: &[Case] = &[
    must("A mount is answered with 201 and a `Location` that can be pulled.", |site| Box::pin(mounted(site)))
        .needs(MOUNT),
    should("A digest that comes with it is that of the blob.", |site| Box::pin(told(site))).needs(MOUNT),
    should("A blob that isn't there can't be mounted: 202, and an upload is open.", |site| {
        Box::pin(no_blob(site))
    })
    .needs(PUSH),
    should("A repository that isn't there has nothing to mount: 202, and an upload is open.", |site| {
        Box::pin(no_repository(site))
    })
    .needs(PUSH),
    may("A blob is mounted from wherever it is, where `from` is missing.", |site| {
        Box::pin(from_anywhere(site))
    })
    .needs(&[Feature::Push, Feature::MountWithoutFrom]),
    should("Where `from` can't be missing: 202, and an upload is open.", |site| Box::pin(not_anywhere(site)))
        .needs(PUSH)
        .unless(Feature::MountWithoutFrom),
    should("Where nothing can be mounted: 202, and an upload is open.", |site| Box::pin(not_offered(site)))
        .needs(PUSH)
        .unless(Feature::Mount),
    should("What is no digest is 400.", |site| Box::pin(no_digests(site))).needs(MOUNT),
];

async fn mount(site: &Site, query: &str) -> Checked<Answer> {
    let url = site.at(&format!("blobs/uploads/?mount={query}"))?;
    site.send(Method::POST, url, &[("content-length", "0")], "").await
}

/// Two repositories of which one has a blob.
async fn source(site: &Site) -> Checked<(Site, Site, Blob)> {
    let (from, to) = (site.named("from"), site.named("to"));
    let blob = from.put_blob(format!("a blob of {}", site.name())).await?;
    Ok((from, to, blob))
}

/// The mount was none: the upload that is open in place of it takes the blob.
async fn is_upload(site: &Site, answer: &Answer, blob: &Blob) -> Checked {
    answer.has_status(&[202])?;
    site.get(&blob.path()).await?.has_status(&[404])?;
    site.finish(answer.location()?, &blob.digest, &blob.content).await?.has_status(&[201])?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn is_mounted(site: &Site, answer: &Answer, blob: &Blob) -> Checked {
    answer.has_status(&[201])?;
    site.follow(answer.location()?).await?.has_content(&blob.content)?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn mounted(site: &Site) -> Checked {
    let (from, to, blob) = source(site).await?;
    let answer = mount(&to, &format!("{}&from={}", blob.digest, from.name())).await?;
    is_mounted(&to, &answer, &blob).await?;
    // Slashes may be escaped.
    let to = site.named("escaped");
    let answer = mount(&to, &format!("{}&from={}", blob.digest, from.name().replace('/', "%2F"))).await?;
    is_mounted(&to, &answer, &blob).await
}

async fn told(site: &Site) -> Checked {
    let (from, to, blob) = source(site).await?;
    let answer = mount(&to, &format!("{}&from={}", blob.digest, from.name())).await?;
    answer.has_status(&[201])?;
    if answer.headers.contains_key("docker-content-digest") {
        answer.has_digest(&blob.digest)
    } else {
        Ok(())
    }
}

async fn no_blob(site: &Site) -> Checked {
    let (from, to, _) = source(site).await?;
    let absent = Blob::new(format!("another blob of {}", site.name()));
    let answer = mount(&to, &format!("{}&from={}", absent.digest, from.name())).await?;
    is_upload(&to, &answer, &absent).await
}

async fn no_repository(site: &Site) -> Checked {
    let (_, to, blob) = source(site).await?;
    let answer = mount(&to, &format!("{}&from={}", blob.digest, site.named("absent").name())).await?;
    is_upload(&to, &answer, &blob).await
}

async fn from_anywhere(site: &Site) -> Checked {
    let (_, to, blob) = source(site).await?;
    is_mounted(&to, &mount(&to, &blob.digest.to_string()).await?, &blob).await
}

async fn not_anywhere(site: &Site) -> Checked {
    let (_, to, blob) = source(site).await?;
    is_upload(&to, &mount(&to, &blob.digest.to_string()).await?, &blob).await
}

async fn not_offered(site: &Site) -> Checked {
    let (from, to, blob) = source(site).await?;
    let answer = mount(&to, &format!("{}&from={}", blob.digest, from.name())).await?;
    is_upload(&to, &answer, &blob).await
}

async fn no_digests(site: &Site) -> Checked {
    let (from, to, _) = source(site).await?;
    for digest in NO_DIGESTS {
        let answer = mount(&to, &format!("{digest}&from={}", from.name())).await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}
