//! Pulling blobs.

use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::Blob;
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const GROUP: Group = Group { section: "Pulling blobs", cases: CASES };

/// More than a megabyte, and no round number.
const LARGE: usize = (5 << 20) + 3;

const CASES: &[Case] = &[
    must("A GET of a blob provides it, with 200.", |site| Box::pin(a_blob(site))),
    must("A blob of several megabytes comes whole.", |site| Box::pin(a_large_one(site))),
    must("An empty blob is one, too.", |site| Box::pin(an_empty_one(site))),
    must("The response contains the digest in `Docker-Content-Digest`.", |site| Box::pin(digest(site))),
    should("The response tells the length in `Content-Length`.", |site| Box::pin(length(site))),
    must("The bytes are the blob's also where the client takes gzip.", |site| Box::pin(encodings(site))),
    must("A blob that isn't there is 404.", |site| Box::pin(no_blob(site))),
    must("A blob of another repository is 404.", |site| Box::pin(elsewhere(site))),
    must("A blob of a repository that isn't there is 404.", |site| Box::pin(no_repository(site))),
    must("What is no digest names no blob.", |site| Box::pin(no_digests(site))),
    may("A blob goes by a digest of another algorithm.", |site| Box::pin(sha512(site)))
        .needs(&[Feature::Sha512]),
    should("A client that has the blob is told so with 304.", |site| Box::pin(conditional(site)))
        .needs(&[Feature::Conditions]),
];

async fn comes_back(site: &Site, blob: &Blob) -> Checked {
    let answer = site.get(&blob.path()).await?;
    answer.has_status(&[200])?;
    answer.has_content(&blob.content)
}

async fn a_blob(site: &Site) -> Checked {
    let blob = site.put_blob(format!("a blob of {}", site.name())).await?;
    comes_back(site, &blob).await
}

async fn a_large_one(site: &Site) -> Checked {
    let blob = site.put_blob(Blob::of_length(LARGE, site.name()).content).await?;
    comes_back(site, &blob).await
}

async fn an_empty_one(site: &Site) -> Checked {
    let blob = site.put_blob("").await?;
    comes_back(site, &blob).await
}

async fn digest(site: &Site) -> Checked {
    let blob = site.put_blob(format!("a blob of {}", site.name())).await?;
    site.get(&blob.path()).await?.has_digest(&blob.digest)
}

async fn length(site: &Site) -> Checked {
    for content in [String::new(), format!("a blob of {}", site.name())] {
        let blob = site.put_blob(content).await?;
        site.get(&blob.path()).await?.has_header("content-length", blob.content.len())?;
    }
    Ok(())
}

async fn encodings(site: &Site) -> Checked {
    let blob = site.put_blob("text that compresses well ".repeat(1000)).await?;
    let answer =
        site.get_with(&blob.path(), &[("accept-encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")]).await?;
    answer.has_status(&[200])?;
    answer.has_content(&blob.content)
}

async fn no_blob(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let path = format!("blobs/{}", Digest::sha256(b"nothing has this content"));
    site.get(&path).await?.is_error(&[404], &["BLOB_UNKNOWN"])
}

async fn elsewhere(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let blob = here.put_blob(format!("a blob of {}", site.name())).await?;
    there.put_tagged("v1").await?;
    there.get(&blob.path()).await?.is_error(&[404], &["BLOB_UNKNOWN"])
}

async fn no_repository(site: &Site) -> Checked {
    let path = format!("blobs/{}", Digest::sha256(b"nothing has this content"));
    site.get(&path).await?.is_error(&[404], &["NAME_UNKNOWN", "BLOB_UNKNOWN"])
}

async fn no_digests(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let digits = "0".repeat(64);
    for digest in [
        "sha256:abc".to_owned(),
        format!("sha256:{}", "A".repeat(64)),
        format!("sha256:{}", "g".repeat(64)),
        format!("sha256:{digits}0"),
        format!("sha512:{digits}"),
        format!("SHA256:{digits}"),
        format!("sha256{digits}"),
        format!("sha256%3A{digits}"),
        "v1".to_owned(),
    ] {
        let answer = site.get(&format!("blobs/{digest}")).await?;
        answer.is_error(&[400, 404], &["DIGEST_INVALID", "BLOB_UNKNOWN", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn sha512(site: &Site) -> Checked {
    let blob = Blob::new(format!("a blob of {}", site.name()));
    let digest = Digest::of(Algorithm::Sha512, &blob.content);
    site.put_blob_as(&digest, &blob.content).await?;
    let answer = site.get(&format!("blobs/{digest}")).await?;
    answer.has_status(&[200])?;
    answer.has_content(&blob.content)?;
    let told: Option<Digest> = answer.has("docker-content-digest")?.parse().ok();
    match told {
        Some(told) if told.matches(&blob.content) => Ok(()),
        _ => Err(answer.fails("`Docker-Content-Digest` isn't that of the content")),
    }
}

async fn conditional(site: &Site) -> Checked {
    let blob = site.put_blob(format!("a blob of {}", site.name())).await?;
    let first = site.get(&blob.path()).await?;
    let tag = first.has("etag")?;
    for matching in [tag, "*"] {
        let answer = site.get_with(&blob.path(), &[("if-none-match", matching)]).await?;
        answer.has_status(&[304])?;
        answer.has_content(b"")?;
        answer.has_header("etag", tag)?;
    }
    let answer = site.get_with(&blob.path(), &[("if-none-match", "\"another\"")]).await?;
    answer.has_status(&[200])?;
    answer.has_content(&blob.content)
}
