//! Pushing blobs, in one request or two.

use http::{Method, Uri};

use super::answer::Answer;
use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::{Blob, OCTETS, with_digest};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const GROUP: Group = Group { section: "Pushing blobs", cases: CASES };

const PUSH: &[Feature] = &[Feature::Push];

const CASES: &[Case] = &[
    must("A POST opens an upload: 202 and `Location`.", |site| Box::pin(opens(site))).needs(PUSH),
    must("Each upload has a session of its own.", |site| Box::pin(sessions(site))).needs(PUSH),
    must("A PUT to that location ends it: 201 and a `Location` that can be pulled.", |site| {
        Box::pin(post_then_put(site))
    })
    .needs(PUSH),
    must("An empty blob is pushed like any other.", |site| Box::pin(empty(site))).needs(PUSH),
    must("A blob of several megabytes is pushed whole.", |site| Box::pin(large(site))).needs(PUSH),
    must("A blob may be pushed though it is there.", |site| Box::pin(twice(site))).needs(PUSH),
    may("A digest that comes with the blob's creation is that of the blob.", |site| Box::pin(told(site)))
        .needs(PUSH),
    should("A digest that isn't the content's is 400, and nothing is kept.", |site| {
        Box::pin(wrong_digest(site))
    })
    .needs(PUSH),
    should("A digest that is malformed or of an unknown algorithm is 400.", |site| {
        Box::pin(no_digests(site))
    })
    .needs(PUSH),
    should("An end of an upload without a digest is 400.", |site| Box::pin(without_digest(site))).needs(PUSH),
    must("An upload that isn't open is 404.", |site| Box::pin(unknown(site))).needs(PUSH),
    must("A name that doesn't match takes no upload.", |site| Box::pin(no_names(site))).needs(PUSH),
    may("A blob is pushed with a single POST: 201 and a `Location` that can be pulled.", |site| {
        Box::pin(single(site))
    })
    .needs(&[Feature::Push, Feature::SinglePost]),
    should("A single POST with a wrong or malformed digest is 400.", |site| Box::pin(single_wrong(site)))
        .needs(&[Feature::Push, Feature::SinglePost]),
    should("Where a single POST isn't offered it opens an upload: 202 and `Location`.", |site| {
        Box::pin(not_single(site))
    })
    .needs(PUSH)
    .unless(Feature::SinglePost),
    may("A blob is pushed by a digest of another algorithm.", |site| Box::pin(sha512(site)))
        .needs(&[Feature::Push, Feature::Sha512]),
    must("Where nothing can be pushed, an upload is refused.", |site| Box::pin(refused(site)))
        .unless(Feature::Push),
];

async fn opens(site: &Site) -> Checked {
    let answer = site.open("").await?;
    answer.location()?;
    Ok(())
}

async fn sessions(site: &Site) -> Checked {
    let (one, other) = (site.open("").await?, site.open("").await?);
    if one.location()? == other.location()? {
        return Err(other.fails("two uploads have the same location"));
    }
    // They don't get in each other's way.
    let (a, b) = (Blob::new("of one"), Blob::new("of the other"));
    is_pushed(site, &site.finish(other.location()?, &b.digest, &b.content).await?, &b).await?;
    is_pushed(site, &site.finish(one.location()?, &a.digest, &a.content).await?, &a).await
}

/// The answer to a push that was successful.
async fn is_pushed(site: &Site, answer: &Answer, blob: &Blob) -> Checked {
    answer.has_status(&[201])?;
    let pulled = site.follow(answer.location()?).await?;
    pulled.has_status(&[200])?;
    pulled.has_content(&blob.content)?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn push(site: &Site, blob: &Blob) -> Checked<Answer> {
    site.finish(site.open("").await?.location()?, &blob.digest, &blob.content).await
}

async fn post_then_put(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    is_pushed(site, &push(site, &blob).await?, &blob).await
}

async fn empty(site: &Site) -> Checked {
    let blob = Blob::new("");
    is_pushed(site, &push(site, &blob).await?, &blob).await
}

async fn large(site: &Site) -> Checked {
    let blob = Blob::of_length((5 << 20) + 3, site.name());
    is_pushed(site, &push(site, &blob).await?, &blob).await
}

async fn twice(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    for site in [site, site, &site.named("elsewhere")] {
        is_pushed(site, &push(site, &blob).await?, &blob).await?;
    }
    Ok(())
}

async fn told(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    let answer = push(site, &blob).await?;
    answer.has_status(&[201])?;
    if answer.headers.contains_key("docker-content-digest") {
        answer.has_digest(&blob.digest)
    } else {
        Ok(())
    }
}

async fn wrong_digest(site: &Site) -> Checked {
    let (blob, other) = (Blob::new("what was said"), Blob::new("what was sent"));
    let location = site.open("").await?.location()?;
    let answer = site.finish(location, &blob.digest, &other.content).await?;
    answer.is_error(&[400], &["DIGEST_INVALID"])?;
    for blob in [blob, other] {
        site.get(&blob.path()).await?.has_status(&[404])?;
    }
    Ok(())
}

/// What is no digest, or one of an algorithm that nobody has.
pub(super) const NO_DIGESTS: [&str; 5] = [
    "sha256:abc",
    "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    "example:d41d8cd98f00b204e9800998ecf8427e",
    "nonsense",
];

async fn put(site: &Site, url: &str, content: &'static str) -> Checked<Answer> {
    site.send(Method::PUT, site.root(url)?, &[OCTETS], content).await
}

async fn no_digests(site: &Site) -> Checked {
    for digest in NO_DIGESTS {
        let location = site.open("").await?.location()?;
        let answer = put(site, &with_digest(&location, digest), "content").await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn without_digest(site: &Site) -> Checked {
    let location = site.open("").await?.location()?;
    let answer = put(site, &location.to_string(), "content").await?;
    answer.is_error(&[400], &["DIGEST_INVALID", "BLOB_UPLOAD_INVALID"])
}

async fn unknown(site: &Site) -> Checked {
    let location = site.open("").await?.location()?;
    let blob = Blob::new(format!("a blob of {}", site.name()));
    site.finish(location.clone(), &blob.digest, &blob.content).await?.has_status(&[201])?;
    let chunk = site.target().offers(Feature::Chunks).then_some(Method::PATCH);
    for method in chunk.into_iter().chain([Method::PUT, Method::GET, Method::DELETE]) {
        let is_put = method == Method::PUT;
        let url: String = if is_put { with_digest(&location, blob.digest) } else { location.to_string() };
        let has_body = is_put || method == Method::PATCH;
        let (headers, body): (&[_], _) = if has_body { (&[OCTETS], "content") } else { (&[], "") };
        let answer = site.send(method, site.root(&url)?, headers, body).await?;
        answer.is_error(&[404], &["BLOB_UPLOAD_UNKNOWN"])?;
    }
    Ok(())
}

async fn no_names(site: &Site) -> Checked {
    for name in ["A", "a_", "a..b", "a%2fb"] {
        let url = site.named(name).at("blobs/uploads/")?;
        let answer = site.send(Method::POST, url, &[("content-length", "0")], "").await?;
        answer.is_error(&[400, 404], &["NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED"])?;
    }
    Ok(())
}

fn single_url(site: &Site, digest: impl std::fmt::Display) -> Checked<Uri> {
    site.at(&format!("blobs/uploads/?digest={digest}"))
}

async fn single(site: &Site) -> Checked {
    for blob in
        [Blob::new(format!("a blob of {}", site.name())), Blob::new(""), Blob::of_length(3_000_000, "large")]
    {
        let url = single_url(site, blob.digest)?;
        let answer = site.send(Method::POST, url, &[OCTETS], blob.content.clone()).await?;
        is_pushed(site, &answer, &blob).await?;
    }
    Ok(())
}

async fn single_wrong(site: &Site) -> Checked {
    let (blob, other) = (Blob::new("what was said"), Blob::new("what was sent"));
    let url = single_url(site, blob.digest)?;
    let answer = site.send(Method::POST, url, &[OCTETS], other.content.clone()).await?;
    answer.is_error(&[400], &["DIGEST_INVALID"])?;
    for blob in [blob, other] {
        site.get(&blob.path()).await?.has_status(&[404])?;
    }
    for digest in NO_DIGESTS {
        let answer = site.send(Method::POST, single_url(site, digest)?, &[OCTETS], "content").await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn not_single(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    let url = single_url(site, blob.digest)?;
    let answer = site.send(Method::POST, url, &[OCTETS], blob.content.clone()).await?;
    answer.has_status(&[202])?;
    is_pushed(site, &site.finish(answer.location()?, &blob.digest, &blob.content).await?, &blob).await
}

async fn sha512(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    let digest = Digest::of(Algorithm::Sha512, &blob.content);
    // With and without saying so beforehand.
    for query in ["?digest-algorithm=sha512", ""] {
        let location = site.open(query).await?.location()?;
        let answer = site.finish(location, &digest, &blob.content).await?;
        answer.has_status(&[201])?;
        site.follow(answer.location()?).await?.has_content(&blob.content)?;
        site.get(&format!("blobs/{digest}")).await?.has_content(&blob.content)?;
    }
    let answer = site
        .send(Method::POST, site.at("blobs/uploads/?digest-algorithm=md5")?, &[("content-length", "0")], "")
        .await?;
    answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])
}

async fn refused(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let url = site.at("blobs/uploads/")?;
    let answer = site.send(Method::POST, url, &[("content-length", "0")], "").await?;
    answer.is_error(&[400, 401, 403, 404, 405], &["UNSUPPORTED", "DENIED", "UNAUTHORIZED"])?;
    let blob = Blob::new("what was sent");
    let url = single_url(site, blob.digest)?;
    let answer = site.send(Method::POST, url, &[OCTETS], blob.content.clone()).await?;
    answer.is_error(&[400, 401, 403, 404, 405], &["UNSUPPORTED", "DENIED", "UNAUTHORIZED"])?;
    site.get(&blob.path()).await?.has_status(&[404])
}
