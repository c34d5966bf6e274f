//! Determining support, and what HTTP asks for beside.

use bytes::Bytes;
use http::Method;

use super::case::{Case, Checked, Group, may, must, should};
use super::site::Site;
use crate::spec::digest::Digest;

pub(super) const GROUP: Group = Group { section: "API", cases: CASES };

/// A registry that nobody has.
const NAMESPACE: &str = "registry.example";

const CASES: &[Case] = &[
    must("A GET of `/v2/` is 200.", |site| Box::pin(ping(site))),
    should("HEAD is answered wherever GET is.", |site| Box::pin(head(site))),
    should("A method that an endpoint doesn't have is 405, with `Allow`.", |site| Box::pin(methods(site))),
    must("A path that is none of the endpoints' is 404.", |site| Box::pin(no_endpoint(site))),
    may("`Docker-Distribution-API-Version` says `registry/2.0`.", |site| Box::pin(version(site))),
    may(
        "An `ns` that nobody knows is ignored or 404; one that is used comes back as `OCI-Namespace`.",
        |site| Box::pin(namespace(site)),
    ),
];

async fn ping(site: &Site) -> Checked {
    site.follow(site.root("/v2/")?).await?.has_status(&[200])
}

/// [RFC 9110, 9.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.1)
async fn head(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    for url in [site.root("/v2/")?, site.at("tags/list")?] {
        let answer = site.send(Method::HEAD, url, &[], Bytes::new()).await?;
        answer.has_status(&[200])?;
        answer.has_content(b"")?;
    }
    Ok(())
}

/// [RFC 9110, 15.5.6](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6)
async fn methods(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let blob = format!("blobs/{}", Digest::sha256(b""));
    for (method, path) in [
        (Method::POST, "manifests/v1"),
        (Method::PATCH, "manifests/v1"),
        (Method::POST, &*blob),
        (Method::PUT, &*blob),
        (Method::POST, "tags/list"),
        (Method::DELETE, "tags/list"),
    ] {
        let answer = site.send(method, site.at(path)?, &[], Bytes::new()).await?;
        answer.is_error(&[405], &["UNSUPPORTED"])?;
        answer.has("allow")?;
    }
    Ok(())
}

async fn no_endpoint(site: &Site) -> Checked {
    for path in ["manifest/v1", "tags", "tags/list/x", "blobs", "manifests/", "x"] {
        let answer = site.get(path).await?;
        // `manifests/` may as well be one with a malformed reference.
        answer.has_status(&[404, 400])?;
    }
    for path in ["/v2/x", "/v2/tags/list", "/v2/manifests/v1"] {
        site.follow(site.root(path)?).await?.has_status(&[404, 400])?;
    }
    Ok(())
}

async fn version(site: &Site) -> Checked {
    let answer = site.follow(site.root("/v2/")?).await?;
    match answer.header("docker-distribution-api-version") {
        Some("registry/2.0") | None => Ok(()),
        Some(_) => Err(answer.fails("another version")),
    }
}

async fn namespace(site: &Site) -> Checked {
    let image = site.put_tagged("v1").await?;
    let config = site.put_blob("{}").await?;
    for (path, content) in [
        ("manifests/v1".to_owned(), &image.content),
        (image.path(), &image.content),
        (config.path(), &config.content),
    ] {
        let answer = site.get(&format!("{path}?ns={NAMESPACE}")).await?;
        if answer.status == 404 {
            continue;
        }
        answer.has_status(&[200])?;
        answer.has_content(content)?;
        if answer.headers.contains_key("oci-namespace") {
            answer.has_header("oci-namespace", NAMESPACE)?;
        }
    }
    Ok(())
}
