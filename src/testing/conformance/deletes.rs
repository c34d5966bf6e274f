//! Content management: deleting tags, manifests and blobs.

use serde::Deserialize;

use super::case::{Case, Checked, Group, must, should};
use super::fixtures::{Blob, manifest};
use super::site::Site;
use super::tags::is_listed;
use super::target::Feature;
use crate::spec::digest::Digest;

pub(super) const TAGS: Group = Group { section: "Deleting tags", cases: TAG_CASES };
pub(super) const MANIFESTS: Group = Group { section: "Deleting manifests", cases: MANIFEST_CASES };
pub(super) const BLOBS: Group = Group { section: "Deleting blobs", cases: BLOB_CASES };

const TAG: &[Feature] = &[Feature::TagDeletes];
const MANIFEST: &[Feature] = &[Feature::ManifestDeletes];
const BLOB: &[Feature] = &[Feature::BlobDeletes];

const TAG_CASES: &[Case] = &[
    must("A DELETE of a tag is 202, and the tag is 404 then.", |site| Box::pin(tag(site))).needs(TAG),
    should("What the tag named stays, by digest and by its other tags.", |site| Box::pin(tag_alone(site)))
        .needs(TAG),
    must("A deleted tag isn't listed.", |site| Box::pin(unlisted(site))).needs(TAG),
    must("A tag that isn't there is 404.", |site| Box::pin(no_tag(site))).needs(TAG),
    must("A deleted tag can be pushed again.", |site| Box::pin(tag_again(site))).needs(TAG),
    must("Where tags can't be deleted, a DELETE is 400 or 405.", |site| Box::pin(tags_stay(site)))
        .unless(Feature::TagDeletes),
];

const MANIFEST_CASES: &[Case] = &[
    must("A DELETE of a manifest is 202, and it is 404 then.", |site| Box::pin(a_manifest(site)))
        .needs(MANIFEST),
    must("Any tag that pointed to it is 404 then.", |site| Box::pin(its_tags(site))).needs(MANIFEST),
    must("A manifest that isn't there is 404.", |site| Box::pin(no_manifest(site))).needs(MANIFEST),
    must("A repository that isn't there is 404.", |site| Box::pin(no_repository(site))).needs(MANIFEST),
    must("The same manifest in another repository stays.", |site| Box::pin(manifest_elsewhere(site)))
        .needs(MANIFEST),
    must("A deleted referrer isn't listed.", |site| Box::pin(referrer(site))).needs(&[
        Feature::ManifestDeletes,
        Feature::Referrers,
        Feature::Subject,
    ]),
    must("A deleted manifest can be pushed again.", |site| Box::pin(manifest_again(site))).needs(MANIFEST),
    must("Where manifests can't be deleted, a DELETE is 400 or 405.", |site| Box::pin(manifests_stay(site)))
        .unless(Feature::ManifestDeletes),
];

const BLOB_CASES: &[Case] = &[
    must("A DELETE of a blob is 202, and it is 404 then.", |site| Box::pin(blob(site))).needs(BLOB),
    must("A blob that isn't there is 404.", |site| Box::pin(no_blob(site))).needs(BLOB),
    must("The same blob in another repository stays.", |site| Box::pin(blob_elsewhere(site))).needs(BLOB),
    must("A deleted blob can be pushed again.", |site| Box::pin(blob_again(site))).needs(BLOB),
    should("What is no digest is 400.", |site| Box::pin(no_digests(site))).needs(BLOB),
    must("Where blobs can't be deleted, a DELETE is 400 or 405.", |site| Box::pin(blobs_stay(site)))
        .unless(Feature::BlobDeletes),
];

/// How what can't be deleted is refused; a registry that can only be read may say that nobody may.
const REFUSED: &[&str] = &["UNSUPPORTED", "DENIED"];

async fn deleted(site: &Site, path: &str) -> Checked {
    site.delete(path).await?.has_status(&[202])?;
    site.get(path).await?.has_status(&[404])?;
    site.head(path).await?.has_status(&[404])
}

async fn tag(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    site.get("manifests/v1").await?.has_status(&[200])?;
    deleted(site, "manifests/v1").await
}

async fn tag_alone(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    site.put_manifest("v2", &image).await?;
    deleted(site, "manifests/v1").await?;
    site.get("manifests/v2").await?.has_content(&image.content)?;
    site.get(&image.path()).await?.has_content(&image.content)
}

async fn lists(site: &Site, expected: &[&str]) -> Checked {
    is_listed(site, "", usize::MAX, expected).await
}

async fn unlisted(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for tag in ["v2", "v3"] {
        site.put_manifest(tag, &image).await?;
    }
    lists(site, &["v1", "v2", "v3"]).await?;
    deleted(site, "manifests/v2").await?;
    lists(site, &["v1", "v3"]).await
}

async fn no_tag(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    site.delete("manifests/v2").await?.is_error(&[404], &["MANIFEST_UNKNOWN"])?;
    deleted(site, "manifests/v1").await?;
    site.delete("manifests/v1").await?.is_error(&[404], &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])
}

async fn tag_again(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    deleted(site, "manifests/v1").await?;
    site.put_manifest("v1", &image).await?;
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn tags_stay(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    site.delete("manifests/v1").await?.is_error(&[400, 405], REFUSED)?;
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn a_manifest(site: &Site) -> Checked {
    let image = site.put_image("untagged").await?;
    site.get(&image.path()).await?.has_status(&[200])?;
    deleted(site, &image.path()).await
}

async fn its_tags(site: &Site) -> Checked {
    let (image, other) = (site.put_tagged("v1").await?, site.put_tagged("other").await?);
    site.put_manifest("v2", &image).await?;
    for tag in ["v1", "v2"] {
        site.get(&format!("manifests/{tag}")).await?.has_status(&[200])?;
    }
    deleted(site, &image.path()).await?;
    for tag in ["v1", "v2"] {
        site.get(&format!("manifests/{tag}")).await?.has_status(&[404])?;
        site.head(&format!("manifests/{tag}")).await?.has_status(&[404])?;
    }
    site.get("manifests/other").await?.has_content(&other.content)?;
    lists(site, &["other"]).await
}

async fn no_manifest(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let path = format!("manifests/{}", Digest::sha256(b"nothing has this content"));
    site.delete(&path).await?.is_error(&[404], &["MANIFEST_UNKNOWN"])
}

async fn no_repository(site: &Site) -> Checked {
    let path = format!("manifests/{}", Digest::sha256(b"nothing has this content"));
    site.delete(&path).await?.is_error(&[404], &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])
}

async fn manifest_elsewhere(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let content = "{}";
    let mut image = None;
    for site in [&here, &there] {
        let document = manifest(&site.put_blob(content).await?, &[], "");
        site.put_manifest("v1", &document).await?;
        site.get("manifests/v1").await?.has_status(&[200])?;
        image = Some(document);
    }
    let Some(image) = image else { return Ok(()) };
    deleted(&here, &image.path()).await?;
    there.get("manifests/v1").await?.has_content(&image.content)?;
    there.get(&image.path()).await?.has_content(&image.content)
}

async fn referrer(site: &Site) -> Checked {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<serde::de::IgnoredAny>,
    }
    let image = site.put_tagged("v1").await?;
    let config = site.put_blob("{}").await?;
    let sbom = manifest(&config, &[], &format!(r#","subject":{}"#, image.descriptor()));
    site.put_manifest("sbom", &sbom).await?;
    let path = format!("referrers/{}", image.digest);
    for count in [1, 0] {
        let answer = site.get(&path).await?;
        answer.has_status(&[200])?;
        let index: Index = answer.json()?;
        if index.manifests.len() != count {
            return Err(answer.fails(format!("{count} should be listed")));
        }
        if count == 1 {
            deleted(site, &sbom.path()).await?;
        }
    }
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn manifest_again(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    deleted(site, &image.path()).await?;
    let image = site.put_tagged("v1").await?;
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn manifests_stay(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    site.delete(&image.path()).await?.is_error(&[400, 405], REFUSED)?;
    site.get(&image.path()).await?.has_content(&image.content)?;
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn unused(site: &Site) -> Checked<Blob> {
    site.put_blob(format!("a blob of {}", site.name())).await
}

async fn blob(site: &Site) -> Checked {
    let blob = unused(site).await?;
    site.get(&blob.path()).await?.has_status(&[200])?;
    deleted(site, &blob.path()).await
}

async fn no_blob(site: &Site) -> Checked {
    let path = format!("blobs/{}", Digest::sha256(b"nothing has this content"));
    site.delete(&path).await?.is_error(&[404], &["BLOB_UNKNOWN", "NAME_UNKNOWN"])?;
    site.put_tagged("v1").await?;
    site.delete(&path).await?.is_error(&[404], &["BLOB_UNKNOWN"])
}

async fn blob_elsewhere(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let content = format!("a blob of {}", site.name());
    let blob = here.put_blob(content.clone()).await?;
    there.put_blob(content).await?;
    deleted(&here, &blob.path()).await?;
    there.get(&blob.path()).await?.has_content(&blob.content)
}

async fn blob_again(site: &Site) -> Checked {
    let blob = unused(site).await?;
    deleted(site, &blob.path()).await?;
    let blob = site.put_blob(blob.content).await?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn no_digests(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    for digest in super::push_blobs::NO_DIGESTS {
        let answer = site.delete(&format!("blobs/{digest}")).await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn blobs_stay(site: &Site) -> Checked {
    let blob = unused(site).await?;
    site.delete(&blob.path()).await?.is_error(&[400, 405], REFUSED)?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}
