use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Uri};
use proptest::prelude::*;

use super::*;
use crate::body::Body;
use crate::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use crate::http::Asked;
use crate::operation::{
    Blob, BlobContent, BlobCreated, BlobPart, CancelUpload, Conditional, DeleteManifest, Deleted, EntityTags,
    FinishUpload, GetBlob, GetManifest, ListReferrers, ListRepositories, ListTags, Manifest, ManifestCreated,
    Operation, Ping, Pong, PutManifest, RateLimit, Referrers, Reply, Repositories, Response, StartUpload,
    Tags, UploadChunk, UploadStarted, UploadState, UploadStatus, Warnings,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::Descriptor;
use crate::spec::json::Raw;
use crate::spec::media_type::MediaType;
use crate::spec::name::{Repository, Tag};
use crate::spec::page::Page;
use crate::spec::range::ByteRange;

const CONTENT: &[u8] = b"{\"schemaVersion\":2}";

fn repository() -> Repository {
    "a/b".parse().unwrap()
}

fn digest() -> Digest {
    Digest::sha256(CONTENT)
}

fn get_manifest(reference: &str) -> Asked {
    Asked::of(&GetManifest::new(repository(), reference.parse().unwrap()).into())
}

fn get_blob(range: Option<&str>) -> Asked {
    let mut get = GetBlob::new(repository(), digest());
    get.range = range.map(|range| range.parse().unwrap());
    Asked::of(&get.into())
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> http::Response<Body> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn read(asked: &Asked, response: http::Response<Body>) -> Result<Response, Error> {
    decode(asked, response).now_or_never().expect("bodies here are all there")
}

fn refused(asked: &Asked, status: u16, headers: &[(&str, &str)], body: &'static str) -> Error {
    read(asked, answer(status, headers, body)).expect_err("no success")
}

fn content(body: Body) -> Bytes {
    body.read(1 << 20).now_or_never().expect("bodies here are all there").unwrap()
}

/// A reply as text, the contents of blobs included.
fn shown(reply: Reply) -> String {
    let Reply::Blob(blob) = reply else { return format!("{reply:?}") };
    let Blob { digest, size, content: found, .. } = blob;
    let found = match found {
        BlobContent::Whole(body) => format!("whole {:?}", content(body)),
        BlobContent::Part(part) => format!("{} {:?}", part.range, content(part.body)),
        BlobContent::Parts(parts) => {
            let parts = parts.into_iter().map(|part| format!("{} {:?}", part.range, content(part.body)));
            parts.collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    };
    format!("{digest} {size:?} {found}")
}

fn round_trip(operation: &Operation, reply: Reply, copy: Reply) {
    let asked = Asked::of(operation);
    let response = encode(&asked, Ok(reply.into()));
    let status = response.status();
    let read = read(&asked, response).unwrap_or_else(|error| panic!("{operation:?}: {status}: {error}"));
    assert_eq!(shown(read.into_reply()), shown(copy), "{operation:?}");
}

/// Each reply twice, since replies with bodies can't be cloned.
fn same(operation: impl Into<Operation>, reply: impl Fn() -> Reply) {
    round_trip(&operation.into(), reply(), reply());
}

#[test]
fn every_reply_is_read_as_it_was_written() {
    let (name, digest) = (repository(), digest());
    let long = Digest::of(Algorithm::Sha512, CONTENT);
    let part = |first: usize, last: usize| {
        let range = ByteRange::new(first as u64, last as u64).unwrap();
        BlobPart::new(range, Body::from(Bytes::copy_from_slice(&CONTENT[first..=last])))
    };
    let whole = || Body::from(Bytes::from_static(CONTENT));
    let size = Some(CONTENT.len() as u64);
    let upload: crate::operation::UploadId = "1f-2".parse().unwrap();
    let state = |received, min_chunk| {
        let mut state = UploadState::new(upload.clone(), received);
        state.min_chunk = min_chunk;
        state
    };
    let manifest =
        |digest| Conditional::Full(Manifest::new(MediaType::OCI_INDEX, digest, Bytes::from_static(CONTENT)));
    let head = || Conditional::Full(Manifest::head(MediaType::DOCKER_LIST, digest, 19));

    same(Ping::new(), || Pong::new().into());
    same(GetManifest::new(name.clone(), "v1".parse().unwrap()), || manifest(digest).into());
    same(GetManifest::new(name.clone(), long.into()), || manifest(long).into());
    same(GetManifest::head(name.clone(), "v1".parse().unwrap()), || head().into());
    let mut conditional = GetManifest::new(name.clone(), "v1".parse().unwrap());
    conditional.conditions.if_none_match = Some(EntityTags::Digests(vec![Digest::sha256(b""), digest]));
    same(conditional, || Conditional::<Manifest>::NotModified(digest).into());
    let put = PutManifest::new(name.clone(), "v1".parse().unwrap(), MediaType::OCI_INDEX, CONTENT.into());
    same(put, || {
        let mut created = ManifestCreated::new(digest);
        created.tags = vec!["1".parse().unwrap(), "1.2".parse().unwrap()];
        created.subject = Some(long);
        created.into()
    });
    same(DeleteManifest::new(name.clone(), digest.into()), || Deleted::new().into());

    same(GetBlob::new(name.clone(), digest), || Blob::whole(digest, size, whole()).into());
    same(GetBlob::head(name.clone(), digest), || Blob::head(digest, size).into());
    same(GetBlob::head(name.clone(), digest), || Blob::head(digest, None).into());
    let ranged = |range: &str| GetBlob::ranges(name.clone(), digest, range.parse().unwrap());
    same(ranged("bytes=2-4"), || Blob::part(digest, 19, part(2, 4)).into());
    same(ranged("bytes=2-4,-3,0-0"), || {
        let mut blob = Blob::head(digest, size);
        blob.content = BlobContent::Parts(vec![part(2, 4), part(16, 18), part(0, 0)]);
        blob.into()
    });
    same(ranged("bytes=5-8"), || {
        let mut blob = Blob::head(digest, None);
        blob.content = BlobContent::Part(part(5, 8));
        blob.into()
    });
    same(GetBlob::new(name.clone(), digest), || {
        let mut blob = Blob::head(digest, None);
        blob.content = BlobContent::Redirect("https://cdn.example/x?sig=%2F+a".parse().unwrap());
        blob.into()
    });
    let mut conditional = GetBlob::new(name.clone(), digest);
    conditional.conditions.if_none_match = Some(EntityTags::Any);
    same(conditional, || {
        let mut blob = Blob::head(digest, None);
        blob.content = BlobContent::NotModified;
        blob.into()
    });

    same(StartUpload::new(name.clone()), || UploadStarted::Open(state(0, Some(1 << 20))).into());
    let mut mount = StartUpload::new(name.clone());
    mount.mount = Some(crate::operation::Mount::new(digest, None));
    same(mount, || UploadStarted::Created(BlobCreated::new(digest)).into());
    for received in [0, 2, 1 << 40] {
        let chunk = UploadChunk::new(name.clone(), upload.clone(), Body::empty());
        same(chunk, || state(received, None).into());
        same(UploadStatus::new(name.clone(), upload.clone()), || state(received, None).into());
    }
    let mut first = UploadChunk::new(name.clone(), upload.clone(), Body::from("x"));
    first.range = ByteRange::new(0, 0);
    same(first, || state(1, None).into());
    let finish = FinishUpload::new(name.clone(), upload.clone(), digest, Body::empty());
    same(finish, || BlobCreated::new(digest).into());
    same(CancelUpload::new(name.clone(), upload.clone()), || Deleted::new().into());

    let tags: Vec<Tag> = ["1", "a"].map(|tag| tag.parse().unwrap()).into();
    same(ListTags::new(name.clone()), || Tags::new(name.clone(), tags.clone(), None).into());
    same(ListTags { repository: name.clone(), page: Page::new(Some(2), Some("0".into())) }, || {
        Tags::new(name.clone(), tags.clone(), Some("a&b=c d/é".into())).into()
    });
    same(ListRepositories::new(), || Repositories::new(vec![name.clone()], Some("z".into())).into());
    let referrer = Descriptor::of(MediaType::OCI_MANIFEST, b"x").with_member("artifactType", Raw::of("a/b"));
    same(ListReferrers::new(name.clone(), digest), || {
        Referrers::new(vec![referrer.clone()], false, Some("m".into())).into()
    });
    let mut filtered = ListReferrers::new(name, digest);
    filtered.artifact_type = Some("a/b".into());
    same(filtered, || Referrers::new(vec![referrer.clone()], true, None).into());
}

#[test]
fn facts_beside_a_reply_are_passed_on() {
    let asked = get_manifest("v1");
    let manifest = Manifest::new(MediaType::OCI_INDEX, digest(), Bytes::from_static(CONTENT));
    let mut response = Response::new(Reply::from(Conditional::Full(manifest)));
    let limits = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "99;w=21600")];
    let limits = limits.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
    response.extensions_mut().insert(RateLimit::new(limits.clone()));
    response.extensions_mut().insert(Warnings::new(["this \"image\" is old".to_owned()]));
    let read = read(&asked, encode(&asked, Ok(response))).unwrap();
    assert_eq!(read.extensions().get::<RateLimit>(), Some(&RateLimit::new(limits)));
    let warnings = Warnings::new(["this \"image\" is old".to_owned()]);
    assert_eq!(read.extensions().get::<Warnings>(), Some(&warnings));
}

#[test]
fn every_status_of_an_upstream_has_its_meaning() {
    use ErrorCode as C;
    use ErrorKind as K;
    let manifest = get_manifest("v1");
    for (status, kind, code, ours) in [
        (400, K::Invalid, C::ManifestInvalid, 400),
        (401, K::Unauthorized, C::Unauthorized, 401),
        (402, K::Denied, C::Denied, 403),
        (403, K::Denied, C::Denied, 403),
        (404, K::NotFound, C::ManifestUnknown, 404),
        (405, K::Unsupported, C::Unsupported, 405),
        (406, K::BadGateway, C::Unsupported, 502),
        (408, K::TimedOut, C::Unsupported, 504),
        (410, K::NotFound, C::ManifestUnknown, 404),
        (413, K::TooLarge, C::SizeInvalid, 413),
        (418, K::BadGateway, C::Unsupported, 502),
        (429, K::TooManyRequests, C::TooManyRequests, 429),
        (451, K::Denied, C::Denied, 451),
        (500, K::BadGateway, C::Unsupported, 502),
        (501, K::BadGateway, C::Unsupported, 502),
        (502, K::BadGateway, C::Unsupported, 502),
        (503, K::Unavailable, C::Unsupported, 503),
        (504, K::TimedOut, C::Unsupported, 504),
        (599, K::BadGateway, C::Unsupported, 502),
        (204, K::BadGateway, C::Unsupported, 502),
        (206, K::BadGateway, C::Unsupported, 502),
        (302, K::BadGateway, C::Unsupported, 502),
        (304, K::BadGateway, C::Unsupported, 502),
    ] {
        let error = refused(&manifest, status, &[("www-authenticate", "Basic realm=\"theirs\"")], "");
        assert_eq!((error.kind(), error.code(), error.status().as_u16()), (kind, code, ours), "{status}");
        assert_eq!(error.challenge(), None, "{status}");
    }
    let upload = || "1".parse().unwrap();
    let unknown = |operation: Operation| refused(&Asked::of(&operation), 404, &[], "").code();
    assert_eq!(unknown(GetBlob::new(repository(), digest()).into()), C::BlobUnknown);
    assert_eq!(unknown(ListTags::new(repository()).into()), C::NameUnknown);
    assert_eq!(unknown(StartUpload::new(repository()).into()), C::NameUnknown);
    assert_eq!(unknown(UploadStatus::new(repository(), upload()).into()), C::BlobUploadUnknown);
    let chunk = UploadChunk::new(repository(), upload(), Body::empty()).into();
    assert_eq!(refused(&Asked::of(&chunk), 416, &[], "").code(), C::BlobUploadInvalid);
    let outside = refused(&get_blob(Some("bytes=90-")), 416, &[("content-range", "bytes */19")], "");
    assert_eq!((outside.kind(), outside.content_size()), (K::RangeNotSatisfiable, Some(19)));
}

#[test]
fn an_upstreams_words_are_told_in_short() {
    let asked = get_manifest("v1");
    let said = |headers: &[(&str, &str)], body| refused(&asked, 400, headers, body).to_string();
    for (body, message) in [
        (
            r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no \u001b[31mgood\r\n","detail":{"a":1}}]}"#,
            ": MANIFEST_INVALID: no \\u{1b}[31mgood\\r\\n",
        ),
        (r#"{"errors":[{"code":"X"},{"code":"Y"}]}"#, ": X"),
        (r#"{"errors":[{"message":"only words"}]}"#, ": only words"),
        (r#"{"errors":[{}]}"#, ""),
        (r#"{"errors":[]}"#, ""),
        (r#"{"error":"other"}"#, ""),
        ("<html>sorry</html>", ""),
        ("", ""),
    ] {
        assert_eq!(said(&[], body), format!("the registry answered with 400{message}"), "{body}");
    }
    assert_eq!(
        said(&[("content-type", "text/plain; charset=utf-8")], "404 page not found\nx"),
        "the registry answered with 400: 404 page not found"
    );
    let code = |body| refused(&asked, 400, &[], body).code();
    assert_eq!(code(r#"{"errors":[{"code":"NAME_INVALID"}]}"#), ErrorCode::NameInvalid);
    assert_eq!(code(r#"{"errors":[{"code":"MADE_UP"}]}"#), ErrorCode::ManifestInvalid);
    let long: &'static str =
        format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "y".repeat(70_000)).leak();
    assert_eq!(said(&[], long), "the registry answered with 400");
    assert_eq!(
        said(&[], format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "y".repeat(6_000)).leak()).len(),
        163
    );
}

#[test]
fn the_words_of_a_failed_head_come_back() {
    let asked = Asked::of(&GetManifest::head(repository(), "v1".parse().unwrap()).into());
    let response = encode(&asked, Err(Error::manifest_unknown("no `v1`")));
    assert_eq!(response.headers()["content-length"], "60");
    let error = read(&asked, response).unwrap_err();
    assert_eq!(error.to_string(), "the registry answered with 404: MANIFEST_UNKNOWN: no `v1`");
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, ErrorCode::ManifestUnknown));
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let asked = get_manifest("v1");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (text, expected) in [
        ("120", Some(RetryAfter::Delay(Duration::from_secs(120)))),
        ("0", Some(RetryAfter::Delay(Duration::ZERO))),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(RetryAfter::At(at))),
        ("soon", None),
        ("-1", None),
        ("99999999999999999999999", None),
    ] {
        for status in [429, 503] {
            let error = refused(&asked, status, &[("retry-after", text)], "");
            assert_eq!(error.retry_after(), expected, "{text}");
        }
    }
}

#[test]
fn manifests_are_what_they_were_asked_for() {
    let text = std::str::from_utf8(CONTENT).unwrap();
    let index = ("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8");
    let sha = digest().to_string();
    let long = Digest::of(Algorithm::Sha512, CONTENT).to_string();
    let other = Digest::sha256(b"other").to_string();
    let get = |reference: &str, headers: &[(&str, &str)], body| match read(
        &get_manifest(reference),
        answer(200, headers, body),
    ) {
        Ok(response) => match response.into_reply() {
            Reply::Manifest(Conditional::Full(manifest)) => {
                format!("{} {} {}", manifest.media_type, manifest.digest, manifest.size)
            }
            other => panic!("{other:?}"),
        },
        Err(error) => format!("{} {error}", error.status().as_u16()),
    };
    let fine = |digest: &str| format!("application/vnd.oci.image.index.v1+json {digest} 19");
    assert_eq!(get("v1", &[index], text), fine(&sha));
    assert_eq!(get(&sha, &[index], text), fine(&sha));
    assert_eq!(get(&long, &[index], text), fine(&long));
    assert_eq!(get("v1", &[index, ("docker-content-digest", &sha)], text), fine(&sha));
    assert_eq!(get("v1", &[index, ("docker-content-digest", &long)], text), fine(&long));
    assert_eq!(get(&sha, &[index, ("docker-content-digest", &long)], text), fine(&sha));
    assert_eq!(get("v1", &[index, ("docker-content-digest", "none")], text), fine(&sha));
    assert_eq!(get("v1", &[], text), format!("application/octet-stream {sha} 19"));
    assert_eq!(get("v1", &[index, ("content-encoding", "identity")], text), fine(&sha));
    let corrupt = format!("502 the content of the manifest {other} is {sha}");
    assert_eq!(get(&other, &[index], text), corrupt);
    assert_eq!(get("v1", &[index, ("docker-content-digest", &other)], text), corrupt);
    assert_eq!(get(&sha, &[index, ("docker-content-digest", &other)], text), corrupt);
    for (headers, body, reason) in [
        (
            &[("content-type", "text/html; charset=utf-8")][..],
            "<html>",
            "an HTML page in place of a manifest",
        ),
        (&[index], " <html>", "something else than a manifest"),
        (&[index], "", "something else than a manifest"),
        (&[index, ("content-encoding", "gzip")], text, "a content coding that nobody asked for"),
    ] {
        assert_eq!(get("v1", headers, body), format!("502 the registry answered with {reason}"));
    }
    assert_eq!(
        get("v1", &[index, ("content-length", "4194305")], ""),
        "502 the registry's document is larger than 4194304 bytes"
    );
    assert_eq!(
        get("v1", &[("content-length", "20")], text),
        "502 the registry's document isn't as long as it says"
    );
}

#[test]
fn the_head_of_a_manifest_tells_digest_and_size_or_nothing() {
    let sha = digest().to_string();
    let other = Digest::sha256(b"other").to_string();
    let head = |reference: &str, headers: &[(&str, &str)]| {
        let operation = GetManifest::head(repository(), reference.parse().unwrap()).into();
        match read(&Asked::of(&operation), answer(200, headers, "")) {
            Ok(response) => format!("{:?}", response.into_reply()),
            Err(error) => error.to_string(),
        }
    };
    let (length, told) = (("content-length", "19"), ("docker-content-digest", sha.as_str()));
    assert!(head("v1", &[length, told]).contains(&format!("Digest({sha}), size: 19, content: None")));
    assert!(head(&sha, &[length]).contains(&format!("Digest({sha}), size: 19, content: None")));
    assert_eq!(head("v1", &[length]), "the registry told no digest of the manifest");
    assert_eq!(head("v1", &[told]), "the registry told no size of the manifest");
    assert_eq!(head("v1", &[told, ("content-length", "+19")]), "the registry told no size of the manifest");
    assert_eq!(
        head(&other, &[length, told]),
        format!("the registry answered with {sha} in place of {other}")
    );
}

#[test]
fn blobs_agree_with_their_headers() {
    let other = Digest::sha256(b"other").to_string();
    let get = |range: Option<&str>, status, headers: &[(&str, &str)], body| match read(
        &get_blob(range),
        answer(status, headers, body),
    ) {
        Ok(response) => shown(response.into_reply()),
        Err(error) => format!("{} {error}", error.status().as_u16()),
    };
    let sha = digest().to_string();
    assert_eq!(
        get(None, 200, &[("content-length", "5")], "hello"),
        format!("{sha} Some(5) whole b\"hello\"")
    );
    assert_eq!(get(Some("bytes=1-"), 200, &[], "hello"), format!("{sha} Some(5) whole b\"hello\""));
    assert_eq!(
        get(None, 200, &[("content-length", "6")], "hello"),
        "502 the registry announced 6 bytes where 5 are to come"
    );
    assert_eq!(
        get(None, 200, &[("content-encoding", "gzip")], "hello"),
        "502 the registry answered with a content coding that nobody asked for"
    );
    assert_eq!(
        get(None, 200, &[("docker-content-digest", &other)], "hello"),
        format!("502 the registry answered with {other} in place of {sha}")
    );
    let senseless = "502 the registry answered with another range than was asked for";
    for (range, told, expected) in [
        (Some("bytes=1-2"), "bytes 1-2/5", format!("{sha} Some(5) 1-2 b\"el\"")),
        (Some("bytes=1-2"), "bytes 1-2/*", format!("{sha} None 1-2 b\"el\"")),
        (Some("bytes=3-9"), "bytes 3-4/5", format!("{sha} Some(5) 3-4 b\"el\"")),
        (Some("bytes=3-"), "bytes 3-4/5", format!("{sha} Some(5) 3-4 b\"el\"")),
        (Some("bytes=-2"), "bytes 3-4/5", format!("{sha} Some(5) 3-4 b\"el\"")),
        (Some("bytes=0-0,3-4"), "bytes 3-4/5", format!("{sha} Some(5) 3-4 b\"el\"")),
        (None, "bytes 1-2/5", senseless.into()),
        (Some("bytes=1-2"), "bytes 0-1/5", senseless.into()),
        (Some("bytes=1-3"), "bytes 1-2/5", senseless.into()),
        (Some("bytes=1-2"), "bytes 1-2", senseless.into()),
        (Some("bytes=1-2"), "bytes */5", senseless.into()),
        (Some("bytes=1-2"), "bytes 1-5/5", senseless.into()),
        (Some("bytes=1-3"), "bytes 1-3/5", "502 the registry announced 2 bytes where 3 are to come".into()),
    ] {
        assert_eq!(get(range, 206, &[("content-range", told)], "el"), expected, "{range:?} {told}");
    }
    assert_eq!(get(Some("bytes=1-2"), 206, &[], "el"), senseless);
    assert_eq!(
        get(None, 307, &[("location", "/elsewhere?sig=x")], ""),
        "502 the registry's redirect leads to no absolute URL"
    );
}

#[test]
fn several_parts_are_taken_apart_or_refused() {
    let get = |body: &'static str| {
        let headers = [("content-type", "multipart/byteranges; boundary=\"B\"")];
        match read(&get_blob(Some("bytes=0-0,2-3")), answer(206, &headers, body)) {
            Ok(response) => shown(response.into_reply()),
            Err(error) => error.to_string(),
        }
    };
    let sha = digest().to_string();
    assert_eq!(
        get(
            "pre\r\n--B\r\ncontent-RANGE: bytes 0-0/5\r\n\r\nh\r\n--B\r\nContent-Type: a/b\r\nContent-Range: bytes 2-3/5\r\n\r\nll\r\n--B--\r\n"
        ),
        format!("{sha} Some(5) 0-0 b\"h\", 2-3 b\"ll\"")
    );
    for bad in [
        "",
        "--B--",
        "--B\r\n\r\nh\r\n--B--",
        "--B\r\nContent-Range: bytes 0-0/5\r\n\r\nh",
        "--B\r\nContent-Range: bytes 0-0/5\r\n\r\nh--B--",
        "--B\r\nContent-Range: bytes 0-0/5\r\n\r\nhh\r\n--B--",
        "--B\r\nContent-Range: bytes 0-18446744073709551614/*\r\n\r\nh\r\n--B--",
        "--B\r\nContent-Range: bytes 1-1/5\r\n\r\nh\r\n--B--",
        "--B\r\nContent-Range: bytes 0-0/5\r\n\r\nh\r\n--B\r\nContent-Range: bytes 2-3/6\r\n\r\nll\r\n--B--",
    ] {
        assert_eq!(get(bad), "the registry answered with another range than was asked for", "{bad}");
    }
}

#[test]
fn uploads_are_known_by_their_path_in_the_repository_alone() {
    let asked = Asked::of(&StartUpload::new(repository()).into());
    let open = |location: &str| match read(&asked, answer(202, &[("location", location)], "")) {
        Ok(response) => match response.into_reply() {
            Reply::UploadStarted(UploadStarted::Open(state)) => state.upload.to_string(),
            other => panic!("{other:?}"),
        },
        Err(error) => error.to_string(),
    };
    assert_eq!(open("/v2/a/b/blobs/uploads/1f"), "1f");
    assert_eq!(open("https://registry.example/v2/a/b/blobs/uploads/1f"), "1f");
    // `1f?_state=x%3D`
    assert_eq!(open("http://r:5000/v2/a/b/blobs/uploads/1f?_state=x%3D"), "~MWY_X3N0YXRlPXglM0Q");
    let foreign = "the upload has a location outside of /v2/a/b/blobs/uploads/, which isn't supported";
    for location in [
        "/v2/other/blobs/uploads/1f?secret",
        "/v2/a/b/blobs/uploads/",
        "/v2/a/b/blobs/uploads/..",
        "/v2/xa/b/blobs/uploads/1f",
        "/v2/a/b/manifests/latest",
        "https://storage.example/upload?sig=secret",
        "1f",
        "",
        "\u{0} ",
    ] {
        if HeaderValue::from_str(location).is_ok() {
            assert_eq!(open(location), foreign, "{location}");
        }
    }
    assert_eq!(
        read(&asked, answer(202, &[], "")).unwrap_err().to_string(),
        "the registry told no location of the upload"
    );
}

#[test]
fn lists_and_the_links_to_their_next_pages_are_read() {
    let tags = |page: Page, headers: &[(&str, &str)], body| {
        let asked = Asked::of(&ListTags { repository: repository(), page }.into());
        match read(&asked, answer(200, headers, body)) {
            Ok(response) => match response.into_reply() {
                Reply::Tags(list) => {
                    let tags: Vec<_> = list.tags.iter().map(Tag::as_str).collect();
                    format!("{} {}", tags.join(","), list.next.unwrap_or("-".into()))
                }
                other => panic!("{other:?}"),
            },
            Err(error) => error.to_string(),
        }
    };
    let all = r#"{"name":"x","tags":["a","b","c","d"]}"#;
    let page = |n, last: Option<&str>| Page::new(n, last.map(Into::into));
    assert_eq!(tags(page(None, None), &[], all), "a,b,c,d -");
    assert_eq!(tags(page(None, None), &[], r#"{"name":"x","tags":null}"#), " -");
    assert_eq!(tags(page(None, None), &[], r#"{"name":"x","tags":["a","/","-"]}"#), "a -");
    // A registry that ignores paging.
    assert_eq!(tags(page(Some(2), None), &[], all), "a,b b");
    assert_eq!(tags(page(Some(2), Some("b")), &[], all), "c,d -");
    assert_eq!(tags(page(Some(2), None), &[], r#"{"tags":["b","a","c"]}"#), "b,a,c -");
    for (link, next) in [
        ("</v2/a/b/tags/list?last=b&n=2>; rel=\"next\"", "b"),
        ("<https://elsewhere.example/v2/x?n=2&last=b%2Fc>; rel=next", "b/c"),
        ("</v2/a/b/tags/list?next_page=x%3D&n=5>; rel=\"next\"", "~bmV4dF9wYWdlPXglM0Qmbj01"),
        ("</v2/a/b/tags/list?last=~x>; rel=\"next\"", "~bGFzdD1-eA"),
        ("</v2/a/b/tags/list?n=2>; rel=\"next\"", "~bj0y"),
        ("</x?last=b>; rel=prev", "-"),
    ] {
        assert_eq!(tags(page(None, None), &[("link", link)], all), format!("a,b,c,d {next}"));
    }
    let long = format!("</x?token={}>; rel=next", "y".repeat(2000));
    for link in ["</v2/a/b/tags/list>; rel=next", "</x?token=y&ns=quay.io>; rel=next", &long] {
        let message = "the link to the next page is empty, too long or malformed";
        assert_eq!(tags(page(None, None), &[("link", link)], all), message);
    }
    for body in ["<html>", "[]", r#"{"tags":"a"}"#, ""] {
        let message = "the registry answered with something else than a list of tags";
        assert_eq!(tags(page(None, None), &[], body), message, "{body}");
    }
    let referrers = Asked::of(&ListReferrers::new(repository(), digest()).into());
    for body in ["<html>", r#"{"manifests":[{}]}"#, r#"{"manifests":[],"manifests":[]}"#] {
        let error = read(&referrers, answer(200, &[], body)).unwrap_err();
        let message = "the registry answered with something else than a list of referrers";
        assert_eq!((error.status().as_u16(), error.to_string().as_str()), (502, message));
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        kind in 0..9usize,
        status in 200..600u16,
        value in "[ -~]{0,30}|bytes [0-9]{1,20}-[0-9]{1,20}/[0-9]{1,20}|</v2/[!-~]{0,20}>; rel=next",
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let name = repository();
        let operation: Operation = match kind {
            0 => Ping::new().into(),
            1 => GetManifest::new(name, "v1".parse().unwrap()).into(),
            2 => GetManifest::head(name, digest().into()).into(),
            3 => GetBlob::new(name, digest()).into(),
            4 => GetBlob::ranges(name, digest(), "bytes=0-9,5-".parse().unwrap()).into(),
            5 => StartUpload::new(name).into(),
            6 => UploadStatus::new(name, "x".parse().unwrap()).into(),
            7 => ListTags::new(name).into(),
            _ => ListReferrers::new(name, digest()).into(),
        };
        let mut response = answer(status, &[], Body::from(body));
        for header in ["content-range", "range", "link", "location", "docker-content-digest", "content-type", "retry-after", "warning", "content-length", "etag"] {
            response.headers_mut().insert(header, HeaderValue::from_str(&value).unwrap());
        }
        let _ = read(&Asked::of(&operation), response);
    }

    #[test]
    fn any_marker_comes_back(marker in "[^~].{0,60}") {
        let asked = Asked::of(&ListTags::new(repository()).into());
        let tags = Tags::new(repository(), vec!["a".parse().unwrap()], Some(marker.clone()));
        let response = encode(&asked, Ok(Reply::from(tags).into()));
        let Reply::Tags(tags) = read(&asked, response).unwrap().into_reply() else { panic!("another reply") };
        prop_assert_eq!(tags.next, Some(marker));
    }
}

#[test]
fn a_redirect_keeps_its_signed_bytes() {
    let uri: Uri = "https://s3.example/b?X-Amz-Signature=a%2Fb%3D&x=%7e+".parse().unwrap();
    let mut blob = Blob::head(digest(), None);
    blob.content = BlobContent::Redirect(uri);
    let response = encode(&get_blob(None), Ok(Reply::from(blob).into()));
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], "https://s3.example/b?X-Amz-Signature=a%2Fb%3D&x=%7e+");
    assert_eq!(response.headers()["content-length"], "0");
}
