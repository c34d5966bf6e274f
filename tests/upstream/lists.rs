//! Tags, referrers, repositories.

use tower_oci::error::Error;
use tower_oci::operation::{
    ListReferrers, ListRepositories, ListTags, RateLimit, Referrers, Registry as _, Request, Tags,
};
use tower_oci::spec::page::Page;

use crate::web::*;

const TAGS: &str = "GET https://registry.example/v2/team/app/tags/list";

async fn tags(web: &Web, page: Page) -> Result<(Vec<String>, Option<String>), Error> {
    let mut operation = ListTags::new(REPOSITORY.parse().unwrap());
    operation.page = page;
    let reply: Tags = web.upstream().build().unwrap().send(Request::new(operation)).await?.into_reply();
    Ok((reply.tags.iter().map(ToString::to_string).collect(), reply.next))
}

fn list(tags: &[&str]) -> Answer {
    let tags: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
    Answer::json(200, &format!(r#"{{"name":"other/name","tags":[{}]}}"#, tags.join(",")))
}

fn owned(tags: &[&str], next: Option<&str>) -> (Vec<String>, Option<String>) {
    (tags.iter().map(|tag| (*tag).to_owned()).collect(), next.map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn a_page_and_its_link_are_passed_on_as_they_are() {
    // A page that is smaller than asked for: the registry's own cap.
    let web =
        Web::new(|_| list(&["a", "b"]).header("link", r#"</v2/team/app/tags/list?n=2&last=b>; rel="next""#));
    assert_eq!(tags(&web, Page::new(Some(100), None)).await.unwrap(), owned(&["a", "b"], Some("b")));
    assert_eq!(web.seen(), [format!("{TAGS}?n=100")]);
}

#[tokio::test(start_paused = true)]
async fn a_page_without_a_link_is_the_last_one() {
    let web = Web::new(|_| list(&["a", "b"]));
    assert_eq!(tags(&web, Page::new(Some(2), None)).await.unwrap(), owned(&["a", "b"], None));
    assert_eq!(web.seen(), [format!("{TAGS}?n=2")]);
}

#[tokio::test(start_paused = true)]
async fn where_paging_is_ignored_pages_are_cut_here() {
    let web = Web::new(|_| list(&["c", "a", "d", "b", "e"]));
    let mut page = Page::new(Some(2), None);
    let mut pages = Vec::new();
    loop {
        let (page_of, next) = tags(&web, page).await.unwrap();
        pages.push(page_of.join(""));
        let Some(last) = next else { break };
        page = Page::new(Some(2), Some(last));
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    assert_eq!(
        web.seen(),
        [format!("{TAGS}?n=2"), format!("{TAGS}?n=2&last=b"), format!("{TAGS}?n=2&last=d")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_known_to_ignore_paging_is_not_asked_for_pages() {
    let web = Web::new(|_| list(&["a", "b", "c"]));
    let upstream = web.upstream_at("gcr.io").build().unwrap();
    let mut operation = ListTags::new(REPOSITORY.parse().unwrap());
    operation.page = Page::new(Some(2), None);
    let reply = upstream.send(Request::new(operation)).await.unwrap().into_reply();
    assert_eq!((reply.tags.len(), reply.next.as_deref()), (2, Some("b")));
    assert_eq!(web.seen(), ["GET https://gcr.io/v2/team/app/tags/list"]);
}

fn referrers_request(artifact_type: Option<&str>) -> Request<ListReferrers> {
    let mut operation = ListReferrers::new(REPOSITORY.parse().unwrap(), manifest_digest());
    operation.artifact_type = artifact_type.map(str::to_owned);
    Request::new(operation)
}

fn index() -> Answer {
    let digest = blob_digest();
    let entry = |kind: &str| {
        format!(r#"{{"mediaType":"{MANIFEST_TYPE}","digest":"{digest}","size":36,"artifactType":"{kind}"}}"#)
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
        entry("a/sbom"),
        entry("a/signature")
    );
    let length = index.len().to_string();
    Answer::json(200, &index)
        .header("content-type", "application/vnd.oci.image.index.v1+json")
        .header("content-length", &length)
}

async fn referrers(web: &Web, artifact_type: Option<&str>) -> Referrers {
    web.upstream().build().unwrap().send(referrers_request(artifact_type)).await.unwrap().into_reply()
}

fn referrers_line(artifact_type: &str) -> String {
    format!("GET https://registry.example/v2/team/app/referrers/{}{artifact_type}", manifest_digest())
}

fn fallback_line() -> String {
    format!("GET https://registry.example/v2/team/app/manifests/sha256-{}", manifest_digest().hex())
}

#[tokio::test(start_paused = true)]
async fn referrers_are_filtered_here_where_the_registry_does_not() {
    for (answer, filtered) in [
        ((|| index()) as fn() -> Answer, 1),
        // It says that it has: it's believed.
        (|| index().header("oci-filters-applied", "artifactType"), 2),
    ] {
        let web = Web::new(move |_| answer());
        let reply = referrers(&web, Some("a/sbom")).await;
        assert_eq!((reply.manifests.len(), reply.filtered), (filtered, true));
        assert_eq!(web.seen(), [referrers_line("?artifactType=a/sbom")]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_referrers_api_the_tag_that_stands_for_it_is_read() {
    for status in [404, 405] {
        let web = Web::new(move |call| match call.line.contains("/referrers/") {
            true => Answer::status(status),
            false => index(),
        });
        let all = referrers(&web, None).await;
        assert_eq!((all.manifests.len(), all.filtered), (2, false));
        assert_eq!(web.seen(), [referrers_line(""), fallback_line()]);
        let some = referrers(&web, Some("a/sbom")).await;
        assert_eq!((some.manifests.len(), some.filtered), (1, true));
    }
}

#[tokio::test(start_paused = true)]
async fn without_referrers_there_are_none() {
    for answer in [(|| Answer::status(404)) as fn() -> Answer, Answer::manifest] {
        let web = Web::new(move |call| match call.line.contains("/referrers/") {
            true => Answer::status(404),
            false => answer(),
        });
        assert_eq!(referrers(&web, None).await, Referrers::default());
        assert_eq!(web.seen(), [referrers_line(""), fallback_line()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_a_catalog_says_so() {
    let web = Web::new(|_| Answer::status(404));
    let asked = web.upstream().build().unwrap().send(Request::new(ListRepositories::new())).await;
    assert_eq!(told(asked), error(404, "NAME_UNKNOWN", "registry.example answered with 404"));
    assert_eq!(web.seen(), ["GET https://registry.example/v2/_catalog"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_says_of_its_rate_limit_is_kept() {
    let web = Web::new(|_| {
        Answer::manifest().header("ratelimit-remaining", "76;w=21600").header("set-cookie", "session=1")
    });
    let response = web.upstream().build().unwrap().send(Request::new(manifest_request("v1"))).await.unwrap();
    let limits = response.extensions().get::<RateLimit>().unwrap();
    let limits: Vec<_> =
        limits.0.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(limits, [("ratelimit-remaining", "76;w=21600")]);
}
