//! Pulling manifests.

use super::case::{Case, Checked, Group, may, must, should};
use super::fixtures::{Document, INDEX, index, manifest};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const GROUP: Group = Group { section: "Pulling manifests", cases: CASES };

const CASES: &[Case] = &[
    must("A GET of a tag provides the manifest, with 200.", |site| Box::pin(by_tag(site))),
    must("A GET of a digest provides the manifest, with 200.", |site| Box::pin(by_digest(site))),
    must("The response contains the digest in `Docker-Content-Digest`.", |site| Box::pin(digest(site))),
    should("The `Content-Type` is the one that was pushed.", |site| Box::pin(content_type(site))),
    should("The `Content-Type` has no parameters.", |site| Box::pin(no_parameters(site))),
    must("An image index is pulled like any manifest.", |site| Box::pin(image_index(site))),
    must("The manifest is the expected one whatever `Accept` says.", |site| Box::pin(accept(site))),
    must("The bytes are the manifest's also where the client takes gzip.", |site| Box::pin(encodings(site))),
    must("A tag that isn't there is 404.", |site| Box::pin(no_tag(site))),
    must("A digest that isn't there is 404.", |site| Box::pin(no_digest(site))),
    must("A manifest of another repository is 404.", |site| Box::pin(elsewhere(site))),
    must("A manifest of a repository that isn't there is 404.", |site| Box::pin(no_repository(site))),
    must("A tag has up to 128 characters of `[a-zA-Z0-9_.-]`.", |site| Box::pin(tags(site))),
    must("A reference is a digest or a tag, and nothing else.", |site| Box::pin(no_references(site))),
    must("A name matches the regular expression.", |site| Box::pin(names(site))),
    must("A name that doesn't match names nothing.", |site| Box::pin(no_names(site))),
    may("A manifest goes by a digest of another algorithm.", |site| Box::pin(sha512(site)))
        .needs(&[Feature::Sha512]),
    should("A client that has the manifest is told so with 304.", |site| Box::pin(conditional(site)))
        .needs(&[Feature::Conditions]),
];

async fn by_tag(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let answer = site.get("manifests/v1").await?;
    answer.has_status(&[200])?;
    answer.has_content(&image.content)
}

async fn by_digest(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let answer = site.get(&image.path()).await?;
    answer.has_status(&[200])?;
    answer.has_content(&image.content)
}

async fn digest(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        site.get(&path).await?.has_digest(&image.digest)?;
    }
    Ok(())
}

async fn content_type(site: &Site) -> Checked {
    for document in of_all_types(site).await? {
        site.put_manifest("v1", &document).await?;
        for path in ["manifests/v1".to_owned(), document.path()] {
            let answer = site.get(&path).await?;
            answer.has_status(&[200])?;
            answer.has_header("content-type", document.media_type)?;
        }
    }
    Ok(())
}

/// An image and an index of both families.
async fn of_all_types(site: &Site) -> Checked<Vec<Document>> {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    let image = site.put_image("oci").await?;
    let text = String::from_utf8_lossy(&image.content).into_owned();
    let docker = text
        .replace("application/vnd.oci.image.manifest.v1+json", DOCKER)
        .replace("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
        .replace(
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
    let docker = Document::new(DOCKER, docker);
    site.put_manifest(&docker.digest.to_string(), &docker).await?;
    let list = index(&[&docker], "");
    let list = Document::new(LIST, String::from_utf8_lossy(&list.content).replace(INDEX, LIST));
    let own = index(&[&image], "");
    Ok(vec![image, own, docker, list])
}

async fn no_parameters(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        let answer = site.get(&path).await?;
        if answer.has("content-type")?.contains(';') {
            return Err(answer.fails("`Content-Type` has parameters"));
        }
    }
    Ok(())
}

async fn image_index(site: &Site) -> Checked {
    let (one, other) = (site.put_image("one").await?, site.put_image("other").await?);
    let index = index(&[&one, &other], "");
    site.put_manifest("v1", &index).await?;
    let answer = site.get("manifests/v1").await?;
    answer.has_status(&[200])?;
    answer.has_content(&index.content)?;
    answer.has_digest(&index.digest)?;
    site.get(&other.path()).await?.has_content(&other.content)
}

async fn accept(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for accept in [image.media_type, "*/*", "application/vnd.oci.image.index.v1+json, */*;q=0.1"] {
        for path in ["manifests/v1".to_owned(), image.path()] {
            let answer = site.get_with(&path, &[("accept", accept)]).await?;
            answer.has_status(&[200])?;
            answer.has_content(&image.content)?;
        }
    }
    // Several lines are one list.
    let lines = [("accept", INDEX), ("accept", image.media_type)];
    let answer = site.get_with("manifests/v1", &lines).await?;
    answer.has_status(&[200])?;
    answer.has_content(&image.content)
}

async fn encodings(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let answer = site
        .get_with("manifests/v1", &[("accept-encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")])
        .await?;
    answer.has_status(&[200])?;
    answer.has_content(&image.content)
}

async fn no_tag(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    site.get("manifests/v2").await?.is_error(&[404], &["MANIFEST_UNKNOWN"])
}

async fn no_digest(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let path = format!("manifests/{}", Digest::sha256(b"nothing has this content"));
    site.get(&path).await?.is_error(&[404], &["MANIFEST_UNKNOWN"])
}

async fn elsewhere(site: &Site) -> Checked {
    let (here, there) = (site.named("here"), site.named("there"));
    let image = here.put_tagged("v1").await?;
    there.put_tagged("v2").await?;
    there.get(&image.path()).await?.is_error(&[404], &["MANIFEST_UNKNOWN"])?;
    there.get("manifests/v1").await?.is_error(&[404], &["MANIFEST_UNKNOWN"])
}

async fn no_repository(site: &Site) -> Checked {
    let digest = Digest::sha256(b"nothing has this content");
    for path in ["manifests/v1".to_owned(), format!("manifests/{digest}")] {
        site.get(&path).await?.is_error(&[404], &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])?;
    }
    Ok(())
}

async fn tags(site: &Site) -> Checked {
    let image = site.put_image("tagged").await?;
    let longest = "t".repeat(128);
    for tag in ["_", "0", "A", "_a.b-C__9.", "latest", &longest] {
        site.put_manifest(tag, &image).await?;
        let answer = site.get(&format!("manifests/{tag}")).await?;
        answer.has_status(&[200])?;
        answer.has_content(&image.content)?;
    }
    Ok(())
}

async fn no_references(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let long = "t".repeat(129);
    let uppercase = format!("sha256:{}", "A".repeat(64));
    for reference in
        [".v1", "-v1", "v+1", "v%201", "v1@sha256:00", "sha256:", "sha256:abc", &uppercase, &*long]
    {
        let answer = site.get(&format!("manifests/{reference}")).await?;
        answer.is_error(
            &[400, 404],
            &["MANIFEST_INVALID", "MANIFEST_UNKNOWN", "DIGEST_INVALID", "TAG_INVALID", "UNSUPPORTED"],
        )?;
    }
    Ok(())
}

async fn names(site: &Site) -> Checked {
    for name in [
        "a",
        "0",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "a.b_c__d-e--f/0/g",
        "manifests/tags/list/blobs/uploads/referrers/x",
        "tags/list",
        "blobs/uploads",
    ] {
        let site = site.named(name);
        let image = site.put_tagged("v1").await?;
        let answer = site.get("manifests/v1").await?;
        answer.has_status(&[200])?;
        answer.has_content(&image.content)?;
    }
    Ok(())
}

async fn no_names(site: &Site) -> Checked {
    for name in ["A", "a_", "-a", "a..b", "a___b", "a._b", "a//b", "a/", "a+b", "a%2fb", "%C3%A4", "a:1"] {
        let answer = site.named(name).get("manifests/v1").await?;
        answer.is_error(&[400, 404], &["NAME_INVALID", "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn sha512(site: &Site) -> Checked {
    let config = site.put_blob("{}").await?;
    let image = manifest(&config, &[], "");
    let digest = Digest::of(Algorithm::Sha512, &image.content);
    site.put_manifest(&digest.to_string(), &image).await?;
    let answer = site.get(&format!("manifests/{digest}")).await?;
    answer.has_status(&[200])?;
    answer.has_content(&image.content)?;
    let told: Option<Digest> = answer.has("docker-content-digest")?.parse().ok();
    match told {
        Some(told) if told.matches(&image.content) => Ok(()),
        _ => Err(answer.fails("`Docker-Content-Digest` isn't that of the content")),
    }
}

async fn conditional(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    for path in ["manifests/v1".to_owned(), image.path()] {
        let first = site.get(&path).await?;
        let tag = first.has("etag")?;
        let weak = format!("W/{}", tag.trim_start_matches("W/"));
        let several = format!("\"another\", {tag}");
        for matching in [tag, "*", &weak, &several] {
            let answer = site.get_with(&path, &[("if-none-match", matching)]).await?;
            answer.has_status(&[304])?;
            answer.has_content(b"")?;
            answer.has_header("etag", tag)?;
        }
        let answer = site.get_with(&path, &[("if-none-match", "\"another\"")]).await?;
        answer.has_status(&[200])?;
        answer.has_content(&image.content)?;
    }
    Ok(())
}
