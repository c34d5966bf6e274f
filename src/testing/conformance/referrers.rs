//! Listing referrers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer::Answer;
use super::case::{Case, Checked, Group, must, should};
use super::fixtures::{CONFIG, Document, INDEX, MANIFEST, manifest};
use super::referrer::{Entry, Referrer};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::Digest;

pub(super) const GROUP: Group = Group { section: "Listing referrers", cases: CASES };

const REFERRERS: &[Feature] = &[Feature::Referrers];

const CASES: &[Case] = &[
    must("The list is 200, an image index with its `Content-Type`.", |site| Box::pin(listed(site)))
        .needs(REFERRERS),
    must("Without referrers the list is empty, and never a 404.", |site| Box::pin(empty(site)))
        .needs(REFERRERS),
    must("What is no digest is 400.", |site| Box::pin(no_digests(site))).needs(REFERRERS),
    must("A descriptor has the `artifactType` of its manifest or index.", |site| {
        Box::pin(artifact_type(site))
    })
    .needs(REFERRERS),
    must("Without an `artifactType` it is the media type of the config.", |site| Box::pin(of_config(site)))
        .needs(REFERRERS),
    must("The descriptor of an index without `artifactType` has none.", |site| Box::pin(of_index(site)))
        .needs(REFERRERS),
    must("A descriptor has the annotations of its manifest or index.", |site| Box::pin(annotations(site)))
        .needs(REFERRERS),
    must("Only manifests of the same repository are listed.", |site| Box::pin(of_repository(site)))
        .needs(REFERRERS),
    must("Every manifest with the subject is listed once, before and after the subject came.", |site| {
        Box::pin(all(site))
    })
    .needs(REFERRERS),
    should("A filter by `artifactType` leaves out all others.", |site| Box::pin(filtered(site)))
        .needs(REFERRERS),
    must("A filter that was applied is named in `OCI-Filters-Applied`.", |site| Box::pin(told(site)))
        .needs(REFERRERS),
    must("A list that is too long for a manifest has a `Link` to the rest.", |site| Box::pin(long(site)))
        // The referrers tag is a manifest, and has no room for them either.
        .needs(&[Feature::Referrers, Feature::Subject]),
    must("A registry without the list says 404.", |site| Box::pin(not_offered(site)))
        .unless(Feature::Referrers),
];

const SBOM: &str = "application/vnd.example.sbom.v1";
const SIGNATURE: &str = "application/vnd.example.signature.v1";

/// The largest list that clients read, in bytes.
const MAX_LIST: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    schema_version: u8,
    media_type: String,
    manifests: Vec<Entry>,
}

fn path(subject: &Digest, query: &str) -> String {
    format!("referrers/{subject}{query}")
}

fn read(answer: &Answer) -> Checked<Vec<Entry>> {
    answer.has_status(&[200])?;
    answer.has_header("content-type", INDEX)?;
    let list: List = answer.json()?;
    if list.schema_version != 2 || list.media_type != INDEX {
        return Err(answer.fails("the list is no image index"));
    }
    if answer.body.len() > MAX_LIST {
        return Err(answer.fails(format!("the list is larger than {MAX_LIST} bytes")));
    }
    Ok(list.manifests)
}

/// All entries from all pages, and the last answer.
async fn entries(site: &Site, subject: &Digest, query: &str) -> Checked<(Answer, Vec<Entry>)> {
    let mut answer = site.get(&path(subject, query)).await?;
    let mut all = read(&answer)?;
    while let Some(next) = answer.next()? {
        answer = site.follow(next).await?;
        let page = read(&answer)?;
        if page.is_empty() && answer.headers.contains_key("link") || all.len() > 1000 {
            return Err(answer.fails("the pages have no end"));
        }
        all.extend(page);
    }
    Ok((answer, all))
}

/// Checks that these are listed and no others, in whatever order.
async fn has(site: &Site, subject: &Digest, query: &str, expected: &[&Referrer]) -> Checked {
    let (answer, entries) = entries(site, subject, query).await?;
    let is_there = |referrer: &&Referrer| entries.iter().filter(|entry| referrer.is(entry)).count() == 1;
    if entries.len() == expected.len() && expected.iter().all(is_there) {
        return Ok(());
    }
    let expected: Vec<String> = expected.iter().map(|referrer| referrer.descriptor()).collect();
    Err(answer.fails(format!("{entries:?} should be these and no others: [{}]", expected.join(", "))))
}

async fn listed(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let sbom = Referrer::new(site, &image, false, Some(SBOM), &[]).await?;
    sbom.put(site, &image).await?;
    has(site, &image.digest, "", &[&sbom]).await?;
    site.get(&sbom.document.path()).await?.has_content(&sbom.document.content)
}

async fn empty(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    has(site, &image.digest, "", &[]).await?;
    let absent = Digest::sha256(b"nothing has this content");
    has(site, &absent, "", &[]).await?;
    has(site, &absent, &format!("?artifactType={SBOM}"), &[]).await?;
    has(&site.named("absent"), &absent, "", &[]).await
}

async fn no_digests(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    for digest in ["sha256:abc", "v1", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = site.get(&format!("referrers/{digest}")).await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn artifact_type(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let sbom = Referrer::new(site, &image, false, Some(SBOM), &[]).await?;
    let list = Referrer::new(site, &image, true, Some(SIGNATURE), &[]).await?;
    sbom.put(site, &image).await?;
    list.put(site, &image).await?;
    has(site, &image.digest, "", &[&sbom, &list]).await
}

async fn of_config(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let plain = Referrer::new(site, &image, false, None, &[]).await?;
    plain.put(site, &image).await?;
    has(site, &image.digest, "", &[&plain]).await?;
    // An empty one counts as missing.
    let site = site.named("empty");
    let image = site.put_tagged("v1").await?;
    let config = site.put_blob("{}").await?;
    let more = format!(r#","artifactType":"","subject":{}"#, image.descriptor());
    let document = manifest(&config, &[], &more);
    let empty = Referrer { document, artifact_type: Some(CONFIG), annotations: BTreeMap::new() };
    empty.put(&site, &image).await?;
    has(&site, &image.digest, "", &[&empty]).await
}

async fn of_index(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let plain = Referrer::new(site, &image, true, None, &[("a", "b")]).await?;
    plain.put(site, &image).await?;
    has(site, &image.digest, "", &[&plain]).await
}

async fn annotations(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let some = [("org.opencontainers.image.created", "2022-01-01T14:42:55Z"), ("org.example.é", "ü")];
    let sbom = Referrer::new(site, &image, false, Some(SBOM), &some).await?;
    let list = Referrer::new(site, &image, true, Some(SBOM), &some).await?;
    sbom.put(site, &image).await?;
    list.put(site, &image).await?;
    has(site, &image.digest, "", &[&sbom, &list]).await
}

async fn of_repository(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let image = here.put_tagged("v1").await?;
    there.put_image("other").await?;
    let sbom = Referrer::new(&here, &image, false, Some(SBOM), &[]).await?;
    sbom.put(&here, &image).await?;
    has(&here, &image.digest, "", &[&sbom]).await?;
    has(&there, &image.digest, "", &[]).await
}

async fn all(site: &Site) -> Checked {
    let config = site.put_blob("{}").await?;
    let image = manifest(&config, &[], r#","annotations":{"subject":"to be"}"#);
    let before = Referrer::new(site, &image, false, Some(SBOM), &[("came", "before")]).await?;
    let after = Referrer::new(site, &image, false, Some(SBOM), &[("came", "after")]).await?;
    before.put(site, &image).await?;
    has(site, &image.digest, "", &[&before]).await?;
    site.put_manifest("v1", &image).await?;
    after.put(site, &image).await?;
    site.put_manifest("sbom", &after.document).await?;
    has(site, &image.digest, "", &[&before, &after]).await?;
    // A referrer has referrers.
    let about = Referrer::new(site, &after.document, false, Some(SIGNATURE), &[]).await?;
    about.put(site, &after.document).await?;
    has(site, &after.document.digest, "", &[&about]).await?;
    has(site, &image.digest, "", &[&before, &after]).await
}

async fn three(site: &Site) -> Checked<(Document, Vec<Referrer>)> {
    let image = site.put_tagged("v1").await?;
    let mut referrers = Vec::new();
    for (is_index, artifact_type, annotation) in
        [(false, Some(SBOM), "one"), (true, Some(SBOM), "two"), (false, Some(SIGNATURE), "three")]
    {
        let referrer = Referrer::new(site, &image, is_index, artifact_type, &[("it", annotation)]).await?;
        referrer.put(site, &image).await?;
        referrers.push(referrer);
    }
    Ok((image, referrers))
}

async fn filtered(site: &Site) -> Checked {
    let (image, referrers) = three(site).await?;
    for artifact_type in [SBOM, SIGNATURE, "application/vnd.example.nobody"] {
        let expected: Vec<&Referrer> =
            referrers.iter().filter(|referrer| referrer.artifact_type == Some(artifact_type)).collect();
        has(site, &image.digest, &format!("?artifactType={artifact_type}"), &expected).await?;
        let escaped = artifact_type.replace('/', "%2F");
        has(site, &image.digest, &format!("?artifactType={escaped}"), &expected).await?;
    }
    has(site, &image.digest, "", &referrers.iter().collect::<Vec<_>>()).await
}

async fn told(site: &Site) -> Checked {
    let (image, _) = three(site).await?;
    for artifact_type in [SBOM, "application/vnd.example.nobody"] {
        let answer = site.get(&path(&image.digest, &format!("?artifactType={artifact_type}"))).await?;
        answer.has_header("oci-filters-applied", "artifactType")?;
    }
    site.get(&path(&image.digest, "")).await?.lacks("oci-filters-applied")
}

/// Fourteen descriptors of 400 kB each, which no manifest has room for.
async fn long(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let fill = "x".repeat(400_000);
    let mut referrers = Vec::new();
    for number in 0..14 {
        let number = number.to_string();
        let some = [("fill", &*fill), ("number", &*number)];
        let referrer = Referrer::new(site, &image, false, Some(SBOM), &some).await?;
        referrer.put(site, &image).await?;
        referrers.push(referrer);
    }
    let expected: Vec<&Referrer> = referrers.iter().collect();
    let other = Referrer::new(site, &image, false, Some(SIGNATURE), &[]).await?;
    other.put(site, &image).await?;
    for (query, more) in [("", Some(&other)), (&*format!("?artifactType={SBOM}"), None)] {
        let answer = site.get(&path(&image.digest, query)).await?;
        if read(&answer)?.len() < expected.len() {
            answer.has("link")?;
        }
        let expected: Vec<&Referrer> = expected.iter().copied().chain(more).collect();
        has(site, &image.digest, query, &expected).await?;
    }
    Ok(())
}

async fn not_offered(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let answer = site.get(&path(&image.digest, "")).await?;
    answer.has_status(&[404])?;
    site.get(&path(&Digest::sha256(MANIFEST.as_bytes()), "")).await?.has_status(&[404])
}
