use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Method;
use proptest::prelude::*;

use super::*;
use crate::body::Body;
use crate::error::{Error, ErrorCode};
use crate::operation::{
    Accept, CancelUpload, DeleteBlob, DeleteManifest, EntityTags, FinishUpload, GetBlob, GetManifest,
    ListReferrers, ListRepositories, ListTags, Mount, Namespace, Operation, Ping, PutManifest, Request,
    SingleUpload, StartUpload, UploadChunk, UploadId, UploadStatus,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::media_type::{ACCEPT_MANIFESTS, MediaType};
use crate::spec::name::{Reference, Repository, Tag};
use crate::spec::page::Page;
use crate::spec::range::{ByteRange, RangeSpec, Ranges};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn read(request: http::Request<Body>) -> Result<Request, Error> {
    let (parts, body) = request.into_parts();
    decode(&parts, body).now_or_never().expect("bodies here are all there")
}

fn ask(method: &str, target: &str, headers: &[(&str, &str)], body: &'static str) -> Result<Request, Error> {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.body(Body::from(body)).unwrap())
}

/// Which operation a request means, as its `Debug` shows it.
fn shown(method: &str, target: &str, headers: &[(&str, &str)], body: &'static str) -> String {
    match ask(method, target, headers, body) {
        Ok(request) => format!("{:?}", request.operation()),
        Err(error) => format!("{} {}: {error}", error.status().as_u16(), error.code()),
    }
}

/// The table of the specification's section Endpoints, and what Docker's registry has beside it.
#[test]
fn every_endpoint_of_the_specification_is_an_operation() {
    for (id, method, target, kind) in [
        ("end-1", "GET", "/v2/", "Ping"),
        ("end-2", "GET", "/v2/a/b/blobs/DIGEST", "GetBlob"),
        ("end-2", "HEAD", "/v2/a/b/blobs/DIGEST", "GetBlob"),
        ("end-3", "GET", "/v2/a/b/manifests/v1", "GetManifest"),
        ("end-3", "HEAD", "/v2/a/b/manifests/DIGEST", "GetManifest"),
        ("end-4a", "POST", "/v2/a/b/blobs/uploads/", "StartUpload"),
        ("end-4b", "POST", "/v2/a/b/blobs/uploads/?digest=DIGEST", "StartUpload"),
        ("end-4c", "POST", "/v2/a/b/blobs/uploads/?digest-algorithm=sha512", "StartUpload"),
        ("end-5", "PATCH", "/v2/a/b/blobs/uploads/1f", "UploadChunk"),
        ("end-6", "PUT", "/v2/a/b/blobs/uploads/1f?digest=DIGEST", "FinishUpload"),
        ("end-7a", "PUT", "/v2/a/b/manifests/v1", "PutManifest"),
        ("end-7b", "PUT", "/v2/a/b/manifests/DIGEST?tag=1&tag=2&tag=3", "PutManifest"),
        ("end-8a", "GET", "/v2/a/b/tags/list", "ListTags"),
        ("end-8b", "GET", "/v2/a/b/tags/list?n=5&last=v1", "ListTags"),
        ("end-9", "DELETE", "/v2/a/b/manifests/v1", "DeleteManifest"),
        ("end-10", "DELETE", "/v2/a/b/blobs/DIGEST", "DeleteBlob"),
        ("end-11", "POST", "/v2/a/b/blobs/uploads/?mount=DIGEST&from=c/d", "StartUpload"),
        ("end-12a", "GET", "/v2/a/b/referrers/DIGEST", "ListReferrers"),
        ("end-12b", "GET", "/v2/a/b/referrers/DIGEST?artifactType=a/b", "ListReferrers"),
        ("end-13", "GET", "/v2/a/b/blobs/uploads/1f", "UploadStatus"),
        ("end-14", "DELETE", "/v2/a/b/blobs/uploads/1f", "CancelUpload"),
        ("-", "GET", "/v2", "Ping"),
        ("-", "HEAD", "/v2/", "Ping"),
        ("-", "GET", "/v2/_catalog?n=2", "ListRepositories"),
        ("-", "POST", "/v2/a/b/blobs/uploads", "StartUpload"),
    ] {
        let request = ask(method, &target.replace("DIGEST", DIGEST), &[], "").expect(id);
        assert_eq!(request.operation().kind().as_str(), kind, "{id}");
        let repository = request.operation().repository().map(Repository::as_str);
        assert_eq!(repository, target.contains("/a/b/").then_some("a/b"), "{id}");
    }
}

#[test]
fn what_is_malformed_gets_a_clear_answer_that_names_the_value() {
    let long = format!("/v2/{}/tags/list", "a".repeat(256));
    let cut = format!("{}…", "a".repeat(128));
    let chars = "its components are not lower-case letters and digits, separated by `.`, `_`, `__` or dashes";
    let name =
        |name: &str, reason: &str| format!("400 NAME_INVALID: invalid repository name `{name}`: {reason}");
    let escapes = "it must stand in the path without escapes";
    for (method, target, expected) in [
        ("GET", "/v2/a%2fb/manifests/x", name("a%2fb", escapes)),
        ("GET", "/v2/%61/blobs/DIGEST", name("%61", escapes)),
        ("GET", "/v2/../manifests/x", name("..", chars)),
        ("GET", "/v2/a/../../etc/manifests/x", name("a/../../etc", chars)),
        ("GET", "/v2/a//b/manifests/x", name("a//b", chars)),
        ("GET", "/v2//tags/list", name("", "it is empty")),
        ("GET", "/v2/A/tags/list", name("A", chars)),
        ("GET", &long, name(&cut, "it is longer than 255 characters")),
        ("GET", "/v2/a/manifests/DIGESTx", format!("400 MANIFEST_INVALID: invalid reference `{DIGEST}x`: it is no valid digest")),
        ("GET", "/v2/a/manifests/sha256%3Ae3b0", format!("400 MANIFEST_INVALID: invalid reference `sha256%3Ae3b0`: {escapes}")),
        ("GET", "/v2/a/blobs/latest", "400 DIGEST_INVALID: invalid digest `latest`: it has no colon".into()),
        ("GET", "/v2/a/referrers/md5:00", "400 DIGEST_INVALID: invalid digest `md5:00`: its algorithm is neither sha256 nor sha512".into()),
        ("GET", "/v2/a/tags/list?n=ten", "400 UNSUPPORTED: the query parameter `n` is no number: `ten`".into()),
        ("GET", "/v2/a/tags/list?n=-1", "400 UNSUPPORTED: the query parameter `n` is no number: `-1`".into()),
        ("GET", "/v2/a/tags/list?n=", "400 UNSUPPORTED: the query parameter `n` is no number: ``".into()),
        ("GET", "/v2/a/tags/list?n=1&n=2", "400 UNSUPPORTED: the query parameter `n` stands more than once".into()),
        ("GET", "/v2/a/tags/list?last=%ff", "400 UNSUPPORTED: the query parameter `last` is no UTF-8: `%ff`".into()),
        ("GET", "/v2/?ns=a/b", "400 NAME_INVALID: the query parameter `ns` names no registry: invalid registry host `a/b`: it is no lower-case DNS name or address".into()),
        ("GET", "/v2/?ns=", "400 NAME_INVALID: the query parameter `ns` names no registry: invalid registry host ``: it is empty or longer than 255 characters".into()),
        ("PUT", "/v2/a/blobs/uploads/1?digest=sha256:0", "400 DIGEST_INVALID: invalid digest `sha256:0`: the number of its hex digits is wrong".into()),
        ("PUT", "/v2/a/blobs/uploads/1", "400 DIGEST_INVALID: the end of an upload needs the parameter `digest`".into()),
        ("PUT", "/v2/a/blobs/uploads/..?digest=DIGEST", "400 BLOB_UPLOAD_INVALID: the upload's identity is malformed".into()),
        ("POST", "/v2/a/blobs/uploads/?mount=x", "400 DIGEST_INVALID: invalid digest `x`: it has no colon".into()),
        ("POST", "/v2/a/blobs/uploads/?mount=DIGEST&from=../b", name("../b", chars)),
        ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", "400 DIGEST_INVALID: invalid digest `md5`: its algorithm is neither sha256 nor sha512".into()),
        ("PUT", "/v2/a/manifests/v1?tag=v2", "400 UNSUPPORTED: the parameter `tag` is for manifests that are put by digest".into()),
        ("PUT", "/v2/a/manifests/DIGEST?tag=-", "400 MANIFEST_INVALID: invalid tag `-`: it has characters other than letters, digits, `_`, `.` and `-`, or starts with one of the last two".into()),
        ("GET", "/v2/a", "404 UNSUPPORTED: the registry API has no endpoint `/v2/a`".into()),
        ("GET", "/v2/a/b/c/d", "404 UNSUPPORTED: the registry API has no endpoint `/v2/a/b/c/d`".into()),
        ("GET", "/v1/", "404 UNSUPPORTED: the registry API has no endpoint `/v1/`".into()),
        ("POST", "/v2/", "405 UNSUPPORTED: this endpoint has no method `POST`, only GET, HEAD".into()),
        ("PATCH", "/v2/a/manifests/x", "405 UNSUPPORTED: this endpoint has no method `PATCH`, only GET, HEAD, PUT, DELETE".into()),
        ("GET", "/v2/a/blobs/uploads/", "405 UNSUPPORTED: this endpoint has no method `GET`, only POST".into()),
        ("get", "/v2/", "405 UNSUPPORTED: this endpoint has no method `get`, only GET, HEAD".into()),
    ] {
        assert_eq!(shown(method, &target.replace("DIGEST", DIGEST), &[], ""), expected, "{method} {target}");
    }
}

#[test]
fn query_values_are_decoded_and_only_they() {
    let escaped = DIGEST.replace(':', "%3A");
    let Operation::FinishUpload(finish) =
        ask("PUT", &format!("/v2/a/blobs/uploads/1?digest={escaped}"), &[], "").unwrap().into_operation()
    else {
        panic!("another operation")
    };
    assert_eq!(finish.digest.to_string(), DIGEST);
    for target in ["?artifactType=a/b%2Bjson", "?artifactType=a/b+json", "?%61rtifactType=a%2fb%2bjson&x"] {
        let target = format!("/v2/a/referrers/{DIGEST}{target}");
        let Operation::ListReferrers(list) = ask("GET", &target, &[], "").unwrap().into_operation() else {
            panic!("another operation")
        };
        assert_eq!(list.artifact_type.as_deref(), Some("a/b+json"), "{target}");
    }
}

#[test]
fn an_artifact_type_is_no_longer_than_a_media_type() {
    let target = |length| format!("/v2/a/referrers/{DIGEST}?artifactType={}", "(".repeat(length));
    let longest =
        encode(ask("GET", &target(255), &[], "").unwrap().into_operation()).unwrap().into_parts().0.uri;
    assert_eq!(longest.query(), Some(format!("artifactType={}", "%28".repeat(255)).as_str()));
    // Escaped, it would not fit into a URI: a defect of ours to whoever asked.
    assert_eq!(
        shown("GET", &target(30_000), &[], ""),
        "400 UNSUPPORTED: the query parameter `artifactType` is longer than 255 bytes"
    );
}

#[test]
fn the_size_of_a_page_is_clamped() {
    for (n, expected) in [("0", 0), ("5", 5), ("10001", 10_000), ("99999999999999999999999", 10_000)] {
        let Operation::ListTags(list) =
            ask("GET", &format!("/v2/a/tags/list?n={n}&last="), &[], "").unwrap().into_operation()
        else {
            panic!("another operation")
        };
        assert_eq!(list.page, Page::new(Some(expected), None));
    }
    let long = format!("/v2/_catalog?last={}", "a".repeat(1025));
    assert_eq!(
        shown("GET", &long, &[], ""),
        "400 UNSUPPORTED: the query parameter `last` is longer than 1024 bytes"
    );
}

#[test]
fn ns_is_taken_from_reads_and_ignored_on_writes() {
    let namespace = |method, target: &str| {
        let request = ask(method, &target.replace("DIGEST", DIGEST), &[], "{}").unwrap();
        request.extensions().get::<Namespace>().map(|namespace| namespace.0.to_string())
    };
    for target in ["/v2/", "/v2/a/manifests/x", "/v2/a/blobs/DIGEST", "/v2/a/tags/list", "/v2/_catalog"] {
        assert_eq!(namespace("GET", &format!("{target}?ns=quay.io:443")).as_deref(), Some("quay.io:443"));
        assert_eq!(namespace("HEAD", &format!("{target}?ns=quay.io%3a443")).as_deref(), Some("quay.io:443"));
        assert_eq!(namespace("GET", target), None);
    }
    for (method, target) in [
        ("PUT", "/v2/a/manifests/x"),
        ("DELETE", "/v2/a/manifests/x"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("GET", "/v2/a/blobs/uploads/1"),
    ] {
        assert_eq!(namespace(method, &format!("{target}?ns=quay.io&ns=/../")), None, "{method}");
    }
}

#[test]
fn headers_of_the_client_stay_out_of_the_operation() {
    let headers = [
        ("authorization", "Bearer hunter2"),
        ("cookie", "session=hunter2"),
        ("proxy-authorization", "Basic hunter2"),
        ("x-forwarded-host", "hunter2"),
        ("connection", "close, x-hop"),
        ("x-hop", "hunter2"),
    ];
    for target in ["/v2/a/manifests/x".to_owned(), format!("/v2/a/blobs/{DIGEST}"), "/v2/".to_owned()] {
        let request = ask("GET", &target, &headers, "").unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
        let sent = encode(request.into_operation()).unwrap();
        for (name, _) in headers {
            assert!(!sent.headers().contains_key(name), "{name}");
        }
    }
}

#[test]
fn ranges_and_conditions_are_read_as_rfc_9110_has_them() {
    let get =
        |method, headers: &[(&str, &str)]| match ask(method, &format!("/v2/a/blobs/{DIGEST}"), headers, "")
            .unwrap()
            .into_operation()
        {
            Operation::GetBlob(get) => (get.range.map(|range| range.to_string()), get.conditions),
            other => panic!("{other:?}"),
        };
    let quoted = format!("\"{DIGEST}\"");
    let range = |headers: &[(&str, &str)]| get("GET", headers).0;
    assert_eq!(range(&[("range", "bytes=0-4")]).as_deref(), Some("bytes=0-4"));
    assert_eq!(range(&[("range", "bytes=0-4, -1")]).as_deref(), Some("bytes=0-4,-1"));
    for ignored in ["bytes=4-0", "lines=1-2", "bytes=", "", &format!("bytes={}", ["0-0"; 17].join(","))] {
        assert_eq!(range(&[("range", ignored)]), None, "{ignored}");
    }
    assert_eq!(range(&[("range", "bytes=0-4"), ("range", "bytes=5-9")]), None);
    assert_eq!(get("HEAD", &[("range", "bytes=0-4")]).0, None);
    let ranged = |if_range: &str| get("GET", &[("range", "bytes=0-4"), ("if-range", if_range)]);
    assert_eq!(ranged(&quoted).0.as_deref(), Some("bytes=0-4"));
    assert!(ranged(&quoted).1.if_range.is_some());
    for never in [&format!("W/{quoted}"), "\"other\"", "*", "Sat, 29 Oct 1994 19:43:31 GMT"] {
        assert_eq!(ranged(never).0, None, "{never}");
        assert_eq!(ranged(never).1.if_range, None, "{never}");
    }
    let has = |value: &str| get("GET", &[("if-none-match", value)]).1.if_none_match;
    assert_eq!(has("*"), Some(EntityTags::Any));
    let digest = DIGEST.parse().unwrap();
    assert_eq!(has(&format!("\"x\", W/{quoted}")), Some(EntityTags::Digests(vec![digest])));
    assert_eq!(has("\"x\""), None);
    let lines = [("if-none-match", "\"x\""), ("if-none-match", quoted.as_str())];
    assert_eq!(get("GET", &lines).1.if_none_match, Some(EntityTags::Digests(vec![digest])));
}

#[test]
fn accept_may_stand_in_several_lines() {
    let headers = [("accept", "a/b"), ("accept", "c/d;q=0.5"), ("accept", "*/*")];
    let Operation::GetManifest(get) = ask("GET", "/v2/a/manifests/x", &headers, "").unwrap().into_operation()
    else {
        panic!("another operation")
    };
    assert_eq!(get.accept.as_str(), Some("a/b, c/d;q=0.5, */*"));
}

#[test]
fn chunks_agree_with_their_announcements() {
    let chunk = |headers: &[(&str, &str)], body| shown("PATCH", "/v2/a/blobs/uploads/1", headers, body);
    assert!(
        chunk(&[("content-range", "0-4")], "hello").contains("range: Some(ByteRange { first: 0, last: 4 })")
    );
    assert!(chunk(&[("content-range", "bytes 5-9/*")], "hello").contains("first: 5"));
    assert!(chunk(&[], "hello").contains("range: None, length: Some(5)"));
    for (range, expected) in [
        ("0-5", "400 SIZE_INVALID: the Content-Range `0-5` isn't that of 5 bytes"),
        ("4-0", "400 BLOB_UPLOAD_INVALID: the Content-Range `4-0` isn't `<first>-<last>`"),
        ("0-", "400 BLOB_UPLOAD_INVALID: the Content-Range `0-` isn't `<first>-<last>`"),
        ("x", "400 BLOB_UPLOAD_INVALID: the Content-Range `x` isn't `<first>-<last>`"),
    ] {
        assert_eq!(chunk(&[("content-range", range)], "hello"), expected);
    }
    assert_eq!(
        chunk(&[("content-encoding", "gzip")], "hello"),
        "415 UNSUPPORTED: content must come without the coding `gzip`"
    );
}

#[test]
fn a_manifest_is_read_up_to_its_limit() {
    let put = |length: usize, announced: Option<u64>| {
        let body = Body::from_stream(futures_util::stream::iter(
            [Bytes::from(vec![b' '; length])].map(Ok::<_, std::io::Error>),
        ));
        let mut request = http::Request::builder().method(Method::PUT).uri("/v2/a/manifests/x");
        if let Some(announced) = announced {
            request = request.header("content-length", announced);
        }
        read(request.body(body).unwrap())
    };
    let Operation::PutManifest(put_) = put(4 << 20, None).unwrap().into_operation() else {
        panic!("another operation")
    };
    assert_eq!(put_.content.len(), 4 << 20);
    for error in [put((4 << 20) + 1, None).unwrap_err(), put(1, Some((4 << 20) + 1)).unwrap_err()] {
        assert_eq!(error.status(), 413);
        assert_eq!(error.code(), ErrorCode::SizeInvalid);
        assert_eq!(error.to_string(), "the manifest is larger than 4194304 bytes");
    }
    let tags = |n: usize| format!("/v2/a/manifests/{DIGEST}?{}", vec!["tag=a"; n].join("&"));
    assert_eq!(
        shown("PUT", &tags(65), &[], "{}"),
        "414 UNSUPPORTED: a manifest takes 64 `tag` parameters at most"
    );
    assert!(ask("PUT", &tags(64), &[], "{}").is_ok());
    assert_eq!(
        shown("PUT", "/v2/a/manifests/x", &[("content-type", "json")], "{}"),
        "400 MANIFEST_INVALID: invalid media type `json`"
    );
}

#[test]
fn packed_markers_and_uploads_are_sent_as_what_they_stand_for() {
    let mut list = ListTags::new("a/b".parse().unwrap());
    // `next_page=x%3D&n=5`
    list.page.last = Some("~bmV4dF9wYWdlPXglM0Qmbj01".into());
    list.page.n = Some(7);
    let sent = encode(list.clone().into()).unwrap();
    assert_eq!(sent.uri().to_string(), "/v2/a/b/tags/list?next_page=x%3D&n=5");
    // `x y`, `x#y`, `a=b&%6es=quay.io`, `ns=a?b`, `a;ns=b` and no base64.
    for forged in ["~eCB5", "~eCN5", "~YT1iJiU2ZXM9cXVheS5pbw", "~bnM9YT9i", "~YTtucz1i", "~%"] {
        list.page.last = Some(forged.into());
        assert_eq!(encode(list.clone().into()).unwrap_err().status(), 400, "{forged}");
    }
    let status = |id: &str| encode(UploadStatus::new("a/b".parse().unwrap(), id.parse().unwrap()).into());
    // `1f?_state=x%3D`
    assert_eq!(
        status("~MWY_X3N0YXRlPXglM0Q").unwrap().uri().to_string(),
        "/v2/a/b/blobs/uploads/1f?_state=x%3D"
    );
    // `../../c/manifests/latest?`, `..?`, `x`, `x?digest=y` and no base64.
    for forged in ["~Li4vLi4vYy9tYW5pZmVzdHMvbGF0ZXN0Pw", "~Li4_", "~eA", "~eD9kaWdlc3Q9eQ", "~-"] {
        assert_eq!(status(forged).unwrap_err().status(), 400, "{forged}");
    }
}

fn repository() -> impl Strategy<Value = Repository> {
    let part =
        "[a-z0-9]{1,6}([._-][a-z0-9]{1,3}|__[a-z0-9]|--[a-z]){0,2}|manifests|blobs|uploads|tags|list|v2";
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/").parse().unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), any::<u64>()).prop_map(|(long, seed)| {
        Digest::of(if long { Algorithm::Sha512 } else { Algorithm::Sha256 }, &seed.to_be_bytes())
    })
}

fn tag() -> impl Strategy<Value = Tag> {
    "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}".prop_map(|tag| tag.parse().unwrap())
}

fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![tag().prop_map(Reference::Tag), digest().prop_map(Reference::Digest)]
}

fn upload() -> impl Strategy<Value = UploadId> {
    "[a-zA-Z0-9_=-][a-zA-Z0-9._~=-]{0,40}".prop_map(|id| id.parse().unwrap())
}

fn entity_tags() -> impl Strategy<Value = Option<EntityTags>> {
    prop_oneof![
        Just(None),
        Just(Some(EntityTags::Any)),
        prop::collection::vec(digest(), 1..4).prop_map(|digests| Some(EntityTags::Digests(digests))),
    ]
}

fn page() -> impl Strategy<Value = Page> {
    (prop::option::of(0..20_000u64), prop::option::of("[^~].{0,40}")).prop_map(|(n, last)| Page::new(n, last))
}

fn ranges() -> impl Strategy<Value = Ranges> {
    let range = prop_oneof![
        any::<u64>().prop_map(RangeSpec::From),
        any::<u64>().prop_map(RangeSpec::Suffix),
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| RangeSpec::Span(a.min(b), a.max(b))),
    ];
    prop::collection::vec(range, 1..=Ranges::MAX).prop_map(|ranges| {
        let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        format!("bytes={}", texts.join(",")).parse().unwrap()
    })
}

fn body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn get_manifest() -> impl Strategy<Value = Operation> {
    (repository(), reference(), any::<bool>(), entity_tags()).prop_map(
        |(repository, reference, head, tags)| {
            let mut get = GetManifest::new(repository, reference);
            get.head = head;
            get.accept = Accept::new(ACCEPT_MANIFESTS);
            get.conditions.if_none_match = tags;
            get.into()
        },
    )
}

fn put_manifest() -> impl Strategy<Value = Operation> {
    let media_type = prop::option::of("[a-z]{1,9}/[a-z0-9.+-]{1,30}".prop_map(|text| text.parse().unwrap()));
    (repository(), reference(), prop::collection::vec(tag(), 0..9), media_type, body()).prop_map(
        |(repository, reference, tags, media_type, content)| {
            let mut put = PutManifest::new(repository, reference, MediaType::OCI_INDEX, content);
            put.media_type = media_type;
            if put.reference.digest().is_some() {
                put.tags = tags;
            }
            put.into()
        },
    )
}

fn get_blob() -> impl Strategy<Value = Operation> {
    (repository(), digest(), prop::option::of(ranges()), entity_tags(), any::<[bool; 2]>()).prop_map(
        |(repository, digest, range, tags, [head, if_range])| {
            let mut get = GetBlob::new(repository, digest);
            get.head = head;
            get.range = range.filter(|_| !head);
            get.conditions.if_none_match = tags;
            if get.range.is_some() && if_range {
                get.conditions.if_range = Some(EntityTags::Digests(vec![digest]));
            }
            get.into()
        },
    )
}

fn start_upload() -> impl Strategy<Value = Operation> {
    let algorithm = prop::option::of(prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)]);
    let mount = prop::option::of((digest(), prop::option::of(repository())));
    (repository(), algorithm, mount, prop::option::of((digest(), body()))).prop_map(
        |(repository, algorithm, mount, single)| {
            let mut start = StartUpload::new(repository);
            start.algorithm = algorithm;
            start.mount = mount.map(|(digest, from)| Mount::new(digest, from));
            start.single = single
                .map(|(digest, body)| SingleUpload::new(digest, Some(body.len() as u64), Body::from(body)));
            start.into()
        },
    )
}

fn chunk() -> impl Strategy<Value = Operation> {
    let ranged = prop::option::of(0..u64::MAX / 2);
    (repository(), upload(), prop::option::of(digest()), ranged, body()).prop_map(
        |(repository, upload, digest, first, content)| {
            let length = content.len() as u64;
            let range =
                first.filter(|_| length > 0).and_then(|first| ByteRange::new(first, first + length - 1));
            match digest {
                Some(digest) => {
                    let mut finish = FinishUpload::new(repository, upload, digest, Body::from(content));
                    finish.range = range;
                    finish.into()
                }
                None => {
                    let mut chunk = UploadChunk::new(repository, upload, Body::from(content));
                    chunk.range = range;
                    chunk.into()
                }
            }
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let artifact_type = prop::option::of("[a-z]{1,9}/[a-zA-Z0-9.+&=-]{1,30}");
    prop_oneof![
        Just(()).prop_map(|()| Ping::new().into()),
        get_manifest(),
        put_manifest(),
        get_blob(),
        start_upload(),
        chunk(),
        (repository(), reference()).prop_map(|(r, reference)| DeleteManifest::new(r, reference).into()),
        (repository(), digest()).prop_map(|(repository, digest)| DeleteBlob::new(repository, digest).into()),
        (repository(), upload())
            .prop_map(|(repository, upload)| UploadStatus::new(repository, upload).into()),
        (repository(), upload())
            .prop_map(|(repository, upload)| CancelUpload::new(repository, upload).into()),
        (repository(), page()).prop_map(|(repository, page)| ListTags { repository, page }.into()),
        page().prop_map(|page| ListRepositories { page }.into()),
        (repository(), digest(), artifact_type, page()).prop_map(
            |(repository, digest, artifact_type, page)| {
                ListReferrers { repository, digest, artifact_type, page }.into()
            }
        ),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_as_the_same(operation in operation()) {
        let before = format!("{operation:?}");
        let request = encode(operation).unwrap();
        let after = read(request).unwrap();
        prop_assert_eq!(before, format!("{:?}", after.operation()));
    }

    #[test]
    fn no_request_makes_it_panic(
        method in "GET|HEAD|PUT|POST|PATCH|DELETE|[A-Z]{1,5}",
        path in "(/v2)?(/(a|blobs|manifests|uploads|tags|list|referrers|[!-~]{0,8})){0,6}",
        query in prop::option::of("((n|last|ns|digest|mount|from|tag|artifactType)=[!-~]{0,9}&){0,3}"),
        range in "[ -~]{0,20}",
    ) {
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let request = http::Request::builder().method(method.as_str()).uri(target);
        let request = request.header("range", &range).header("content-range", &range).header("if-range", &range);
        if let Ok(request) = request.body(Body::from("x")) {
            let _ = read(request);
        }
    }
}
