//! Error codes and warnings. That every error in JSON has the format and a code of the specification, and every
//! `Warning` its form, is checked with each answer of the suite.

use http::Method;
use serde::Deserialize;

use super::answer::Answer;
use super::case::{Case, Checked, Group, must};
use super::site::Site;
use super::target::Feature;
use crate::spec::digest::Digest;

pub(super) const GROUP: Group = Group { section: "Error codes", cases: CASES };

const CASES: &[Case] = &[
    must("An error in JSON has `errors`, of which each has a code, and `message` is text.", |site| {
        Box::pin(format(site))
    }),
    must("A code has only uppercase letters and underscores.", |site| Box::pin(codes(site))),
    must("The answer to a HEAD has no body, an error's neither.", |site| Box::pin(of_head(site))),
    must("An upload that nobody has opened is a `BLOB_UPLOAD_UNKNOWN`.", |site| Box::pin(no_upload(site)))
        .needs(&[Feature::Push]),
];

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
    #[serde(default)]
    message: String,
}

/// One of each kind that reading can lead to.
async fn some(site: &Site) -> Checked<Vec<Answer>> {
    site.put_tagged("v1").await?;
    let absent = Digest::sha256(b"nothing has this content");
    let mut answers = vec![
        site.get("manifests/absent").await?,
        site.get(&format!("manifests/{absent}")).await?,
        site.get(&format!("blobs/{absent}")).await?,
        site.get("blobs/sha256:abc").await?,
        site.named("absent").get("tags/list").await?,
        site.named("A").get("tags/list").await?,
    ];
    answers.push(site.send(Method::POST, site.at("manifests/v1")?, &[], "").await?);
    match answers.iter().find(|answer| !(400..500).contains(&answer.status)) {
        Some(answer) => Err(answer.fails("it should be an error of the client's")),
        None => Ok(answers),
    }
}

async fn format(site: &Site) -> Checked {
    for answer in some(site).await? {
        if !answer.header("content-type").unwrap_or_default().starts_with("application/json") {
            continue;
        }
        let Errors { errors } = answer.json()?;
        if errors.is_empty() || errors.iter().any(|error| error.message.chars().any(char::is_control)) {
            return Err(answer.fails("it should have errors, with messages that people can read"));
        }
        answer.has_header("content-length", answer.body.len())?;
    }
    Ok(())
}

async fn codes(site: &Site) -> Checked {
    for answer in some(site).await? {
        if !answer.header("content-type").unwrap_or_default().starts_with("application/json") {
            continue;
        }
        let Errors { errors } = answer.json()?;
        let is_code =
            |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        if !errors.iter().all(|error| is_code(&error.code)) {
            return Err(answer.fails("a code of other characters"));
        }
    }
    Ok(())
}

async fn of_head(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    let absent = Digest::sha256(b"nothing has this content");
    for path in [
        "manifests/absent".to_owned(),
        format!("manifests/{absent}"),
        format!("blobs/{absent}"),
        "blobs/x".to_owned(),
    ] {
        let answer = site.head(&path).await?;
        if !(400..500).contains(&answer.status) {
            return Err(answer.fails("it should be an error of the client's"));
        }
        answer.has_content(b"")?;
    }
    Ok(())
}

async fn no_upload(site: &Site) -> Checked {
    site.put_tagged("v1").await?;
    for id in ["00000000000000000000000000000000", "6b3c9a93-af5d-473f-a4ff-9710022185cd", "x"] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let url = site.at(&format!("blobs/uploads/{id}"))?;
            let body = if method == Method::PATCH { "content" } else { "" };
            let answer = site.send(method, url, &[], body).await?;
            answer.is_error(&[404], &["BLOB_UPLOAD_UNKNOWN"])?;
        }
    }
    Ok(())
}
