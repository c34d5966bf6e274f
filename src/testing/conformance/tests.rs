use std::collections::BTreeMap;

use http::StatusCode;
use http::header::LOCATION;
use http::{HeaderValue, Response};
use tower::service_fn;

use super::case::Case;
use super::*;
use crate::body::Body;
use crate::hosted::Memory;
use crate::http::OciService;
use crate::testing::{Served, serve};

/// A server that knows one answer.
fn stubborn(status: u16) -> Served {
    let service = service_fn(move |_: http::Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let headers = response.headers_mut();
        headers.insert(LOCATION, HeaderValue::from_static("/v2/somewhere"));
        headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/1.0"));
        Ok::<_, Error>(response)
    });
    serve(service).unwrap()
}

/// What is offered: everything, nothing but pushes, nothing.
fn targets(url: &str) -> [Target; 3] {
    let all = || GROUPS.iter().flat_map(|group| group.cases).flat_map(Case::features);
    [
        Target::new(url),
        Target::new(url).without(all().filter(|feature| *feature != Feature::Push)),
        Target::new(url).without(all()),
    ]
}

#[tokio::test]
async fn every_case_can_fail() {
    let behind = serve(OciService::new(Memory::new())).unwrap();
    let mut failed = BTreeMap::new();
    for status in [200, 202, 404] {
        let served = stubborn(status);
        for mut target in targets(&served.url("")) {
            // Everything is there to be read, and nothing of it can be had.
            target.seed = Some(behind.url(""));
            for outcome in run(&target).await.unwrap().outcomes() {
                let failures = failed.entry((outcome.section, outcome.sentence)).or_insert(0);
                *failures += usize::from(matches!(outcome.verdict, Verdict::Failed(_)));
            }
        }
    }
    let cases: usize = GROUPS.iter().map(|group| group.cases.len()).sum();
    assert_eq!(failed.len(), cases, "each sentence stands once in its section");
    let never: Vec<_> = failed.iter().filter(|(_, failures)| **failures == 0).collect();
    assert!(never.is_empty(), "{never:#?}");
}

#[tokio::test]
async fn what_has_no_registry_is_no_target() {
    for url in ["", "/v2/", "127.0.0.1:5000", "http:///v2/"] {
        assert!(run(&Target::new(url)).await.is_err(), "{url}");
    }
    // Nobody listens there: each case says so.
    let report = run(&Target::new("http://127.0.0.1:1")).await.unwrap();
    let applicable = report.outcomes().len() - report.counts().not_applicable;
    assert_eq!((report.counts().passed, report.counts().failed), (0, applicable));
}

#[test]
fn a_report_names_what_failed() {
    let mut report = Report::default();
    let mut push = |section, sentence, verdict| {
        report.push(Outcome { section, level: Level::Must, sentence, verdict });
    };
    push("One", "It holds.", Verdict::Passed);
    push("One", "It is for others.", Verdict::NotApplicable("no Push".to_owned()));
    push("Two", "It fails.", Verdict::Failed("  why".to_owned()));
    let text = "One: 1 passed, 0 failed, 1 not applicable\n\
                Two: 0 passed, 1 failed, 0 not applicable\n\
                in all: 1 passed, 1 failed, 1 not applicable\n\n\
                Two, MUST: It fails.\n  why";
    assert_eq!(report.to_string(), text);
    assert_eq!(report.failures().count(), 1);
}

#[test]
#[should_panic(expected = "in all: 0 passed, 1 failed, 0 not applicable")]
fn a_failure_is_a_panic() {
    let mut report = Report::default();
    let verdict = Verdict::Failed(String::new());
    report.push(Outcome { section: "One", level: Level::May, sentence: "It fails.", verdict });
    report.check();
}
