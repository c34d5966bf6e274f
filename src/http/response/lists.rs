//! Lists, and the links to their next pages.

use std::str::FromStr;

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use super::encode::{json, value};
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::http::Asked;
use crate::http::headers::{OCI_FILTERS_APPLIED, joined};
use crate::http::marker::of_links;
use crate::http::request::query::Target;
use crate::operation::{Referrers, Repositories, Tags};
use crate::spec::image::Descriptor;
use crate::spec::json::{Document, InvalidDocument, Object, Raw};
use crate::spec::media_type::MediaType;
use crate::spec::name::{Repository, Tag};

#[derive(Serialize)]
struct TagList<'a> {
    /// The name that the caller knows the repository by.
    name: &'a Repository,
    tags: &'a [Tag],
}

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: &'a [Repository],
}

pub(super) fn tags(
    repository: &Repository,
    asked: &Asked,
    tags: &Tags,
) -> Result<http::Response<Body>, Error> {
    let text = Raw::of(&TagList { name: repository, tags: &tags.tags });
    let mut response = json(MediaType::JSON, text.bytes().clone());
    link(&mut response, asked, format!("/v2/{repository}/tags/list"), tags.next.as_deref());
    Ok(response)
}

pub(super) fn repositories(asked: &Asked, list: &Repositories) -> Result<http::Response<Body>, Error> {
    let text = Raw::of(&Catalog { repositories: &list.repositories });
    let mut response = json(MediaType::JSON, text.bytes().clone());
    link(&mut response, asked, "/v2/_catalog".to_owned(), list.next.as_deref());
    Ok(response)
}

/// An index of the referrers. A filter that the leaf hasn't applied is applied here.
pub(super) fn referrers(
    repository: &Repository,
    asked: &Asked,
    list: Referrers,
) -> Result<http::Response<Body>, Error> {
    let Referrers { mut manifests, filtered, next } = list;
    if let (Some(wanted), false) = (asked.artifact_type(), filtered) {
        manifests
            .retain(|manifest| manifest.artifact_type().ok().flatten().is_some_and(|found| found == wanted));
    }
    let manifests: Vec<_> = manifests.iter().map(|manifest| manifest.object().to_raw()).collect();
    let mut index = Object::default();
    index.set("schemaVersion", Raw::of(&2));
    index.set("mediaType", Raw::of(&MediaType::OCI_INDEX));
    index.set("manifests", Raw::list(&manifests));
    let mut response = json(MediaType::OCI_INDEX, index.to_raw().bytes().clone());
    if filtered || asked.artifact_type().is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    let digest = asked.digest().ok_or_else(|| Error::internal("referrers of nothing were asked for"))?;
    link(&mut response, asked, format!("/v2/{repository}/referrers/{digest}"), next.as_deref());
    Ok(response)
}

/// `Link: </v2/…?…>; rel="next"` with everything that the caller asked for but the page itself.
fn link(response: &mut http::Response<Body>, asked: &Asked, path: String, next: Option<&str>) {
    let Some(next) = next.filter(|_| asked.page().n != Some(0)) else { return };
    let mut target = Target::new(path);
    if let Some(n) = asked.page().n {
        target.push("n", &n.to_string());
    }
    target.push("last", next);
    if let Some(artifact_type) = asked.artifact_type() {
        target.push("artifactType", artifact_type);
    }
    if let Some(namespace) = asked.namespace() {
        target.push("ns", namespace.0.as_str());
    }
    let line = value(format!("<{}>; rel=\"next\"", target.into_string()));
    response.headers_mut().extend(line.map(|line| (LINK, line)));
}

pub(super) fn read_tags(asked: &Asked, headers: &HeaderMap, content: Bytes) -> Result<Tags, Error> {
    let repository = asked.repository().ok_or_else(|| Error::internal("a list of tags has no repository"))?;
    let (tags, next) = cut(asked, of_links(headers)?, entries(content, "tags")?);
    Ok(Tags::new(repository.clone(), tags, next))
}

pub(super) fn read_repositories(
    asked: &Asked,
    headers: &HeaderMap,
    content: Bytes,
) -> Result<Repositories, Error> {
    let (repositories, next) = cut(asked, of_links(headers)?, entries(content, "repositories")?);
    Ok(Repositories::new(repositories, next))
}

pub(super) fn read_referrers(headers: &HeaderMap, content: Bytes) -> Result<Referrers, Error> {
    let read = |content| -> Result<Vec<Descriptor>, InvalidDocument> {
        let document = Document::parse(content)?;
        let manifests = document.object().array("manifests")?.unwrap_or_default();
        manifests.iter().map(Descriptor::read).collect()
    };
    let manifests = read(content).map_err(|error| no_list("referrers", error))?;
    let filters = joined(headers, &OCI_FILTERS_APPLIED).unwrap_or_default();
    let filtered = filters.split(',').any(|filter| filter.trim() == "artifactType");
    Ok(Referrers::new(manifests, filtered, of_links(headers)?))
}

fn no_list(of: &str, source: impl Into<BoxError>) -> Error {
    Error::bad_gateway(format!("the registry answered with something else than a list of {of}"))
        .with_source(source)
}

/// The entries that are what they should be: what else some registries list couldn't be asked for.
fn entries<T: FromStr>(content: Bytes, member: &'static str) -> Result<Vec<T>, Error> {
    let read = |content| Document::parse(content)?.object().read_member::<Vec<String>>(member);
    let entries = read(content).map_err(|error| no_list(member, error))?.unwrap_or_default();
    Ok(entries.iter().filter_map(|entry| entry.parse().ok()).collect())
}

/// Some registries give everything, whatever page is asked for, and no link. Then the page is cut here, if the order
/// is the one that markers go by.
fn cut<T: AsRef<str> + Clone>(
    asked: &Asked,
    next: Option<String>,
    entries: Vec<T>,
) -> (Vec<T>, Option<String>) {
    let page = asked.page();
    let sorted = entries.is_sorted_by(|a, b| a.as_ref() < b.as_ref());
    let is_query = page.last.as_deref().is_some_and(|last| last.starts_with('~'));
    if next.is_some() || is_query || !sorted || (page.n.is_none() && page.last.is_none()) {
        return (entries, next);
    }
    let (cut, last) = page.cut(&entries);
    (cut.to_vec(), last.map(|last| last.as_ref().to_owned()))
}
