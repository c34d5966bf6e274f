//! Pushing manifests.

use bytes::Bytes;
use http::Method;

use super::answer::Answer;
use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::{Blob, CONFIG, Document, INDEX, MANIFEST, descriptor, index, manifest};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const GROUP: Group = Group { section: "Pushing manifests", cases: CASES };

const PUSH: &[Feature] = &[Feature::Push];

const CASES: &[Case] = &[
    must("A manifest is pushed by tag: 201 and a `Location` that can be pulled.", |site| {
        Box::pin(by_tag(site))
    })
    .needs(PUSH),
    must("A manifest is pushed by digest: 201 and a `Location` that can be pulled.", |site| {
        Box::pin(by_digest(site))
    })
    .needs(PUSH),
    must("`Docker-Content-Digest` is the digest of what was pushed.", |site| Box::pin(told(site)))
        .needs(PUSH),
    must("The manifest is kept in the exact bytes.", |site| Box::pin(exact(site))).needs(PUSH),
    should("Parameters of the `Content-Type` are ignored.", |site| Box::pin(parameters(site))).needs(PUSH),
    may("The list of blobs is empty.", |site| Box::pin(no_layers(site))).needs(PUSH),
    must("A tag that is pushed again moves, and what it named stays by digest.", |site| {
        Box::pin(moved(site))
    })
    .needs(PUSH),
    must("A manifest has any number of tags.", |site| Box::pin(several_tags(site))).needs(PUSH),
    must("An index may name indexes.", |site| Box::pin(nested(site))).needs(PUSH),
    must("A manifest that is rejected for what it refers to is a `MANIFEST_BLOB_UNKNOWN`.", |site| {
        Box::pin(missing(site))
    })
    .needs(PUSH),
    may("An index may name manifests that aren't there.", |site| Box::pin(sparse(site)))
        .needs(&[Feature::Push, Feature::SparseIndexes]),
    must("An index that names manifests that aren't there is a `MANIFEST_BLOB_UNKNOWN`.", |site| {
        Box::pin(not_sparse(site))
    })
    .needs(PUSH)
    .unless(Feature::SparseIndexes),
    may("A manifest of a type that nobody knows is kept.", |site| Box::pin(unknown_type(site)))
        .needs(&[Feature::Push, Feature::UnknownManifests]),
    must("A manifest that is pushed by another digest is refused, and not kept.", |site| {
        Box::pin(wrong_digest(site))
    })
    .needs(PUSH),
    should("A digest that is malformed or of an unknown algorithm is 400.", |site| {
        Box::pin(no_digests(site))
    })
    .needs(PUSH),
    must("What is no manifest is refused.", |site| Box::pin(malformed(site))).needs(PUSH),
    must("A name or tag that doesn't match takes no manifest.", |site| Box::pin(no_names(site))).needs(PUSH),
    should("A manifest has up to 4 megabytes, and is kept in the exact bytes.", |site| Box::pin(large(site)))
        .needs(PUSH),
    should("A manifest over the limit is 413.", |site| Box::pin(too_large(site))).needs(PUSH),
    may("A manifest is pushed by a digest of another algorithm.", |site| Box::pin(sha512(site)))
        .needs(&[Feature::Push, Feature::Sha512]),
    must("Where nothing can be pushed, a manifest is refused.", |site| Box::pin(refused(site)))
        .unless(Feature::Push),
];

/// The answer to a push that was successful.
async fn is_pushed(site: &Site, answer: &Answer, document: &Document) -> Checked {
    answer.has_status(&[201])?;
    for pulled in [site.follow(answer.location()?).await?, site.get(&document.path()).await?] {
        pulled.has_status(&[200])?;
        pulled.has_content(&document.content)?;
        pulled.has_header("content-type", document.media_type)?;
    }
    Ok(())
}

pub(super) async fn push(site: &Site, reference: &str, document: &Document) -> Checked<Answer> {
    site.push_manifest(reference, document.media_type, &document.content).await
}

/// A manifest that isn't there yet, with all that it refers to.
pub(super) async fn unpushed(site: &Site, more: &str) -> Checked<Document> {
    let config = site.put_blob(format!(r#"{{"of":"{}"}}"#, site.name())).await?;
    let layer = site.put_blob(format!("a layer of {}", site.name())).await?;
    Ok(manifest(&config, &[&layer], more))
}

async fn by_tag(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    is_pushed(site, &push(site, "v1", &image).await?, &image).await?;
    site.get("manifests/v1").await?.has_content(&image.content)
}

async fn by_digest(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    is_pushed(site, &push(site, &image.digest.to_string(), &image).await?, &image).await
}

async fn told(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    push(site, "v1", &image).await?.has_digest(&image.digest)?;
    push(site, &image.digest.to_string(), &image).await?.has_digest(&image.digest)
}

async fn exact(site: &Site) -> Checked {
    let plain = unpushed(site, "").await?;
    let text = String::from_utf8_lossy(&plain.content).into_owned();
    let members = text.strip_prefix('{').unwrap_or(&text).strip_suffix('}').unwrap_or_default();
    for (number, text) in [
        text.replace(',', " ,\n\t"),
        format!("\r\n {{ {members}\n}}\n\n"),
        format!(r#"{{"org.example":{{"b":1.0e+2,"a":[null,true]}},{members}}}"#),
        format!(r#"{{{members},"annotations":{{"\u006bey":"\u00e9 é \/ 😀"}}}}"#),
        format!(r#"{{{members},"z":12345678901234567890.10,"y":-0}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let document = Document::new(MANIFEST, text);
        let tag = format!("v{number}");
        is_pushed(site, &push(site, &tag, &document).await?, &document).await?;
        site.get(&format!("manifests/{tag}")).await?.has_content(&document.content)?;
    }
    Ok(())
}

async fn parameters(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let kind = format!("{MANIFEST}; charset=utf-8");
    is_pushed(site, &site.push_manifest("v1", &kind, &image.content).await?, &image).await
}

async fn no_layers(site: &Site) -> Checked {
    let config = site.put_blob("{}").await?;
    let image = manifest(&config, &[], "");
    is_pushed(site, &push(site, "v1", &image).await?, &image).await
}

async fn moved(site: &Site) -> Checked {
    let (first, second) = (site.put_tagged("v1").await?, site.put_image("second").await?);
    push(site, "v1", &second).await?.has_status(&[201])?;
    let answer = site.get("manifests/v1").await?;
    answer.has_content(&second.content)?;
    answer.has_digest(&second.digest)?;
    site.head("manifests/v1").await?.has_digest(&second.digest)?;
    let answer = site.get(&first.path()).await?;
    answer.has_status(&[200])?;
    answer.has_content(&first.content)
}

async fn several_tags(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    for tag in ["v1", "v1.2", "latest"] {
        push(site, tag, &image).await?.has_status(&[201])?;
    }
    for tag in ["v1", "v1.2", "latest"] {
        site.get(&format!("manifests/{tag}")).await?.has_content(&image.content)?;
    }
    Ok(())
}

async fn nested(site: &Site) -> Checked {
    let inner = index(&[&site.put_image("one").await?], "");
    is_pushed(site, &push(site, &inner.digest.to_string(), &inner).await?, &inner).await?;
    let outer = index(&[&inner, &site.put_image("other").await?], r#","annotations":{"a":"b"}"#);
    is_pushed(site, &push(site, "v1", &outer).await?, &outer).await?;
    let empty = index(&[], "");
    is_pushed(site, &push(site, "empty", &empty).await?, &empty).await
}

/// Kept, or refused as the specification says.
async fn kept_or_unknown(site: &Site, document: &Document) -> Checked {
    let answer = push(site, "v1", document).await?;
    if answer.status == 201 {
        return is_pushed(site, &answer, document).await;
    }
    is_unknown(site, &answer, document).await
}

async fn is_unknown(site: &Site, answer: &Answer, document: &Document) -> Checked {
    if !(400..500).contains(&answer.status)
        || !String::from_utf8_lossy(&answer.body).contains("MANIFEST_BLOB_UNKNOWN")
    {
        return Err(answer.fails("it should be kept, or a MANIFEST_BLOB_UNKNOWN"));
    }
    answer.is_error(&[answer.status], &["MANIFEST_BLOB_UNKNOWN"])?;
    site.get("manifests/v1").await?.has_status(&[404])?;
    site.get(&document.path()).await?.has_status(&[404])
}

async fn missing(site: &Site) -> Checked {
    let (absent, there) = (Blob::new(format!("nowhere: {}", site.name())), Blob::new("{}"));
    for (name, config, layers) in [
        ("layer", &there, vec![&absent]),
        ("config", &absent, vec![&there]),
        ("one-of-two", &there, vec![&there, &absent]),
    ] {
        let site = site.named(name);
        site.put_blob(there.content.clone()).await?;
        kept_or_unknown(&site, &manifest(config, &layers, "")).await?;
    }
    Ok(())
}

fn of_nothing(site: &Site) -> Document {
    let absent = Document::new(MANIFEST, format!(r#"{{"nowhere":"{}"}}"#, site.name()));
    index(&[&absent], "")
}

async fn sparse(site: &Site) -> Checked {
    let index = of_nothing(site);
    is_pushed(site, &push(site, "v1", &index).await?, &index).await
}

async fn not_sparse(site: &Site) -> Checked {
    let index = of_nothing(site);
    is_unknown(site, &push(site, "v1", &index).await?, &index).await
}

async fn unknown_type(site: &Site) -> Checked {
    const TYPE: &str = "application/vnd.example.thing.v1+json";
    let document = Document::new(TYPE, format!(r#"{{"mediaType":"{TYPE}", "thing": 1 }}"#));
    is_pushed(site, &push(site, "v1", &document).await?, &document).await
}

async fn wrong_digest(site: &Site) -> Checked {
    let (image, other) = (unpushed(site, "").await?, unpushed(site, r#","annotations":{"a":"b"}"#).await?);
    let answer = push(site, &other.digest.to_string(), &image).await?;
    answer.is_error(&[400], &["DIGEST_INVALID"])?;
    for document in [image, other] {
        site.get(&document.path()).await?.has_status(&[404])?;
    }
    Ok(())
}

async fn no_digests(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    for digest in super::push_blobs::NO_DIGESTS.iter().filter(|digest| digest.contains(':')) {
        let answer = push(site, digest, &image).await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED", "MANIFEST_INVALID"])?;
    }
    Ok(())
}

async fn malformed(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let half = image.content.slice(..image.content.len() / 2);
    for (number, content) in [Bytes::new(), half, Bytes::from_static(b"no JSON"), Bytes::from_static(b"[]")]
        .into_iter()
        .enumerate()
    {
        let answer = site.push_manifest(&format!("v{number}"), MANIFEST, &content).await?;
        answer.is_error(&[400], &["MANIFEST_INVALID"])?;
        site.get(&format!("manifests/v{number}")).await?.has_status(&[404])?;
    }
    Ok(())
}

async fn no_names(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    for name in ["A", "a_", "a..b"] {
        let answer = push(&site.named(name), "v1", &image).await?;
        answer.is_error(&[400, 404], &["NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED"])?;
    }
    let long = "t".repeat(129);
    for tag in [".v1", "-v1", "v+1", &long] {
        let answer = push(site, tag, &image).await?;
        answer.is_error(&[400, 404], &["MANIFEST_INVALID", "TAG_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

/// A manifest of so many bytes.
async fn of_size(site: &Site, size: usize) -> Checked<Document> {
    let empty = unpushed(site, r#","annotations":{"a":""}"#).await?;
    let fill = "x".repeat(size.saturating_sub(empty.content.len()));
    unpushed(site, &format!(r#","annotations":{{"a":"{fill}"}}"#)).await
}

async fn large(site: &Site) -> Checked {
    for size in [4_000_000, site.target().max_manifest] {
        let document = of_size(site, size).await?;
        is_pushed(site, &push(site, "v1", &document).await?, &document).await?;
    }
    Ok(())
}

async fn too_large(site: &Site) -> Checked {
    let document = of_size(site, site.target().max_manifest + 1).await?;
    push(site, "v1", &document).await?.is_error(&[413], &["SIZE_INVALID", "MANIFEST_INVALID"])?;
    site.get("manifests/v1").await?.has_status(&[404])
}

async fn sha512(site: &Site) -> Checked {
    let image = unpushed(site, "").await?;
    let digest = Digest::of(Algorithm::Sha512, &image.content);
    let answer = push(site, &digest.to_string(), &image).await?;
    answer.has_status(&[201])?;
    answer.has_digest(&digest)?;
    let wrong = Digest::of(Algorithm::Sha512, b"another content");
    push(site, &wrong.to_string(), &image).await?.is_error(&[400], &["DIGEST_INVALID"])?;
    for pulled in [site.follow(answer.location()?).await?, site.get(&format!("manifests/{digest}")).await?] {
        pulled.has_status(&[200])?;
        pulled.has_content(&image.content)?;
    }
    Ok(())
}

async fn refused(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let text = descriptor(CONFIG, b"{}");
    let other = Document::new(INDEX, format!(r#"{{"schemaVersion":2,"manifests":[],"config":{text}}}"#));
    for document in [&image, &other] {
        let url = site.at("manifests/v2")?;
        let headers = [("content-type", document.media_type)];
        let answer = site.send(Method::PUT, url, &headers, document.content.clone()).await?;
        answer.is_error(&[400, 401, 403, 404, 405], &["UNSUPPORTED", "DENIED", "UNAUTHORIZED"])?;
        site.get("manifests/v2").await?.has_status(&[404])?;
    }
    Ok(())
}
