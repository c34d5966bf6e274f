//! Checking if content exists in the registry.

use super::case::{Case, Checked, Group, must, should};
use super::site::Site;
use crate::spec::digest::Digest;

pub(super) const GROUP: Group = Group { section: "Checking if content exists in the registry", cases: CASES };

const CASES: &[Case] = &[
    must("A HEAD of a blob returns 200.", |site| Box::pin(blob(site))),
    must("A HEAD of a manifest returns 200, by tag and by digest.", |site| Box::pin(manifest(site))),
    must("The response contains the digest in `Docker-Content-Digest`.", |site| Box::pin(digest(site))),
    must("The response contains the size in `Content-Length`.", |site| Box::pin(length(site))),
    should("A HEAD says of the content what a GET says.", |site| Box::pin(agrees(site))),
    must("A blob that isn't there is 404.", |site| Box::pin(no_blob(site))),
    must("A manifest that isn't there is 404.", |site| Box::pin(no_manifest(site))),
    must("What lies in another repository is 404.", |site| Box::pin(elsewhere(site))),
];

async fn blob(site: &Site) -> Checked {
    for content in [String::new(), format!("a blob of {}", site.name())] {
        let blob = site.put_blob(content).await?;
        let answer = site.head(&blob.path()).await?;
        answer.has_status(&[200])?;
        answer.has_content(b"")?;
    }
    Ok(())
}

async fn manifest(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        let answer = site.head(&path).await?;
        answer.has_status(&[200])?;
        answer.has_content(b"")?;
    }
    Ok(())
}

async fn digest(site: &Site) -> Checked {
    let blob = site.put_blob(format!("a blob of {}", site.name())).await?;
    site.head(&blob.path()).await?.has_digest(&blob.digest)?;
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        site.head(&path).await?.has_digest(&image.digest)?;
    }
    Ok(())
}

async fn length(site: &Site) -> Checked {
    for content in [String::new(), format!("a blob of {}", site.name())] {
        let blob = site.put_blob(content).await?;
        site.head(&blob.path()).await?.has_header("content-length", blob.content.len())?;
    }
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        site.head(&path).await?.has_header("content-length", image.content.len())?;
    }
    Ok(())
}

/// [RFC 9110, 9.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2)
async fn agrees(site: &Site) -> Checked {
    let blob = site.put_blob(format!("a blob of {}", site.name())).await?;
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path(), blob.path()] {
        let (head, get) = (site.head(&path).await?, site.get(&path).await?);
        for name in ["content-type", "content-length", "docker-content-digest", "etag", "accept-ranges"] {
            if head.headers.get(name) != get.headers.get(name) {
                let of_get = get.header(name);
                return Err(head.fails(format!("a GET says `{name}: {}`", of_get.unwrap_or("(nothing)"))));
            }
        }
    }
    Ok(())
}

async fn no_blob(site: &Site) -> Checked {
    let path = format!("blobs/{}", Digest::sha256(b"nothing has this content"));
    site.head(&path).await?.has_status(&[404])?;
    site.put_tagged("v1").await?;
    let answer = site.head(&path).await?;
    answer.has_status(&[404])?;
    answer.has_content(b"")
}

async fn no_manifest(site: &Site) -> Checked {
    let path = format!("manifests/{}", Digest::sha256(b"nothing has this content"));
    site.head(&path).await?.has_status(&[404])?;
    site.put_tagged("v1").await?;
    for path in ["manifests/v2", &*path] {
        let answer = site.head(path).await?;
        answer.has_status(&[404])?;
        answer.has_content(b"")?;
    }
    Ok(())
}

async fn elsewhere(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let image = here.put_tagged("v1").await?;
    let blob = here.put_blob(format!("a blob of {}", site.name())).await?;
    there.put_tagged("v2").await?;
    for path in ["manifests/v1".to_owned(), image.path(), blob.path()] {
        there.head(&path).await?.has_status(&[404])?;
    }
    Ok(())
}
