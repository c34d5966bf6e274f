//! What the edge answers, byte by byte.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tower_oci::body::Body;
use tower_oci::error::{Error, ErrorCode, ErrorKind, RetryAfter};
use tower_oci::operation::{
    Blob, BlobContent, BlobCreated, BlobPart, CancelUpload, DeleteManifest, Deleted, FinishUpload, GetBlob,
    GetManifest, Handlers, ListReferrers, ListRepositories, ListTags, Manifest, ManifestCreated, Namespace,
    Ping, Pong, PutManifest, Referrers, Repositories, Request, Response, StartUpload, Tags, UploadChunk,
    UploadStarted, UploadState, UploadStatus, Warnings,
};
use tower_oci::spec::digest::Digest;
use tower_oci::spec::image::Descriptor;
use tower_oci::spec::json::Raw;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::Tag;
use tower_oci::spec::range::ByteRange;

use crate::wire::{Answer, serve, unsized_body};

const MANIFEST: &[u8] = b"{\"schemaVersion\":2}";
const BLOB: &[u8] = b"0123456789";

async fn manifest(
    request: Request<GetManifest>,
) -> Result<Response<tower_oci::operation::Conditional<Manifest>>, Error> {
    let get = request.operation();
    if get.reference.tag().is_some_and(|tag| tag.as_str() == "gone") {
        return Err(Error::manifest_unknown("no manifest `gone` in `a/b`"));
    }
    let digest = Digest::sha256(MANIFEST);
    let manifest = match get.head {
        true => Manifest::head(MediaType::OCI_INDEX, digest, MANIFEST.len() as u64),
        false => Manifest::new(MediaType::OCI_INDEX, digest, Bytes::from_static(MANIFEST)),
    };
    let mut response = Response::from(manifest);
    if let Some(namespace) = request.extensions().get::<Namespace>() {
        response.extensions_mut().insert(namespace.clone());
        response.extensions_mut().insert(Warnings::new(["\"old\"".to_owned(), "soon gone".to_owned()]));
    }
    Ok(response)
}

/// The repository's name says how the blob comes.
async fn blob(request: Request<GetBlob>) -> Result<Blob, Error> {
    let GetBlob { repository, digest, head, range, .. } = request.into_operation();
    let bytes = Bytes::from_static(BLOB);
    let size = Some(BLOB.len() as u64);
    Ok(match repository.as_str() {
        _ if head && repository.as_str() != "unsized" => Blob::head(digest, size),
        "memory" => Blob::whole(digest, size, Body::from(bytes)),
        "stream" => Blob::whole(digest, size, unsized_body(vec![Ok(bytes)])),
        "unsized" => Blob::whole(digest, None, unsized_body(vec![Ok(bytes.clone()), Ok(bytes)])),
        "broken" => Blob::whole(
            digest,
            None,
            unsized_body(vec![Ok(bytes), Err(Error::corrupt("the content is another"))]),
        ),
        "short" => Blob::whole(digest, Some(11), unsized_body(vec![Ok(bytes)])),
        "contradiction" => Blob::whole(digest, Some(11), Body::from(bytes)),
        "huge" => {
            let frame = Bytes::from(vec![b'x'; 1 << 20]);
            Blob::whole(digest, None, unsized_body((0..9).map(|_| Ok(frame.clone())).collect()))
        }
        "part" => {
            assert_eq!(range.unwrap().to_string(), "bytes=2-4");
            let range = ByteRange::new(2, 4).unwrap();
            Blob::part(digest, 10, BlobPart::new(range, unsized_body(vec![Ok(bytes.slice(2..5))])))
        }
        "short-part" => {
            let parts = [(0, 3), (5, 9)].map(|(first, last)| {
                let range = ByteRange::new(first, last).unwrap();
                BlobPart::new(range, unsized_body(vec![Ok(Bytes::from_static(b"0123"))]))
            });
            let mut blob = Blob::head(digest, size);
            blob.content = BlobContent::Parts(parts.into());
            blob
        }
        "redirect" => {
            let mut blob = Blob::head(digest, size);
            blob.content = BlobContent::Redirect("https://cdn.example/x?sig=%2F".parse().unwrap());
            blob
        }
        _ => return Err(Error::blob_unknown(format!("no blob {digest} in `{repository}`"))),
    })
}

fn registry() -> Handlers {
    Handlers::new().on(manifest).on(blob).on(|_: Request<Ping>| async { Ok(Pong::new()) })
}

fn blob_path(repository: &str) -> String {
    format!("/v2/{repository}/blobs/{}", Digest::sha256(BLOB))
}

fn errors(code: &str, message: &str) -> String {
    format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
}

#[tokio::test]
async fn a_ping_is_answered_with_and_without_the_slash() {
    let server = serve(registry()).await;
    let expected = Answer {
        status: "HTTP/1.1 200 OK".into(),
        headers: vec![
            "cache-control: private, no-cache".into(),
            "content-length: 2".into(),
            "content-type: application/json".into(),
            "docker-distribution-api-version: registry/2.0".into(),
        ],
        body: b"{}".into(),
    };
    assert_eq!(server.get("/v2/", "").await, expected);
    assert_eq!(server.get("/v2", "").await, expected);
    let head = server.head("/v2/", "").await;
    assert_eq!(head, Answer { body: Vec::new(), ..expected });
}

#[tokio::test]
async fn head_and_get_of_a_manifest_agree() {
    let server = serve(registry()).await;
    let digest = Digest::sha256(MANIFEST);
    for (reference, cache) in
        [("v1".to_owned(), "private, no-cache"), (digest.to_string(), "private, max-age=31536000, immutable")]
    {
        let path = format!("/v2/a/b/manifests/{reference}");
        let get = server.get(&path, "").await;
        let head = server.head(&path, "").await;
        assert_eq!(get.status, "HTTP/1.1 200 OK");
        assert_eq!(
            get.headers,
            [
                format!("cache-control: {cache}"),
                "content-encoding: identity".into(),
                "content-length: 19".into(),
                "content-type: application/vnd.oci.image.index.v1+json".into(),
                format!("docker-content-digest: {digest}"),
                "docker-distribution-api-version: registry/2.0".into(),
                format!("etag: \"{digest}\""),
            ]
        );
        assert_eq!(get.body, MANIFEST);
        assert_eq!(head.headers, get.headers);
        assert_eq!(head.body, b"");
        let had = server.get(&path, &format!("If-None-Match: \"{digest}\"\r\n")).await;
        assert_eq!(had.status, "HTTP/1.1 304 Not Modified");
        assert_eq!(had.header("etag"), Some(format!("\"{digest}\"").as_str()));
        assert_eq!(had.header("docker-content-digest"), Some(digest.to_string().as_str()));
        assert_eq!(had.header("content-length"), None);
        assert_eq!(had.body, b"");
    }
}

#[tokio::test]
async fn head_and_get_of_a_blob_agree() {
    let server = serve(registry()).await;
    for repository in ["memory", "stream"] {
        let get = server.get(&blob_path(repository), "").await;
        let head = server.head(&blob_path(repository), "").await;
        let digest = Digest::sha256(BLOB);
        assert_eq!(
            get.headers,
            [
                "accept-ranges: bytes".into(),
                "cache-control: private, max-age=31536000, immutable".into(),
                "content-encoding: identity".into(),
                "content-length: 10".into(),
                "content-type: application/octet-stream".into(),
                format!("docker-content-digest: {digest}"),
                "docker-distribution-api-version: registry/2.0".into(),
                format!("etag: \"{digest}\""),
            ]
        );
        assert_eq!(get.body, BLOB);
        assert_eq!(head, Answer { body: Vec::new(), ..get });
    }
    // A length that nobody knows isn't told as one of zero.
    let head = server.head(&blob_path("unsized"), "").await;
    assert_eq!((head.status.as_str(), head.header("content-length")), ("HTTP/1.1 200 OK", None));
}

#[tokio::test]
async fn a_body_that_fails_never_ends_well() {
    let server = serve(registry()).await;
    let fine = server.get(&blob_path("unsized"), "").await;
    assert_eq!(fine.text(), "A\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n");
    // Chunked: the last chunk is missing.
    let broken = server.get(&blob_path("broken"), "").await;
    assert_eq!(broken.text(), "A\r\n0123456789\r\n");
    // With a length: there are fewer bytes.
    let short = server.get(&blob_path("short"), "").await;
    assert_eq!((short.header("content-length"), short.body.len()), (Some("11"), 10));
    let contradiction = server.get(&blob_path("contradiction"), "").await;
    assert_eq!(contradiction.status, "HTTP/1.1 502 Bad Gateway");
}

#[tokio::test]
async fn an_http_1_0_client_gets_a_length_or_an_error() {
    let server = serve(registry()).await;
    let ask = async |repository| server.ask("GET", &blob_path(repository), "HTTP/1.0", "").await;
    let fine = ask("unsized").await;
    assert_eq!((fine.header("content-length"), fine.text()), (Some("20"), "01234567890123456789"));
    assert_eq!(fine.header("transfer-encoding"), None);
    let streamed = ask("stream").await;
    assert_eq!((streamed.header("content-length"), streamed.body.as_slice()), (Some("10"), BLOB));
    let broken = ask("broken").await;
    assert_eq!(broken.status, "HTTP/1.0 502 Bad Gateway");
    assert_eq!(broken.text(), errors("DIGEST_INVALID", "the content is another"));
    let huge = ask("huge").await;
    assert_eq!(huge.status, "HTTP/1.0 502 Bad Gateway");
    let message = "content of unknown length is too large for HTTP/1.0; ask with HTTP/1.1";
    assert_eq!(huge.text(), errors("UNSUPPORTED", message));
    let head = server.ask("HEAD", &blob_path("unsized"), "HTTP/1.0", "").await;
    assert_eq!((head.status.as_str(), head.header("content-length")), ("HTTP/1.0 200 OK", None));
}

#[tokio::test]
async fn one_range_is_one_part() {
    let server = serve(registry()).await;
    for (repository, range, told, body) in [
        ("part", "bytes=2-4", "bytes 2-4/10", "234"),
        ("memory", "bytes=2-4", "bytes 2-4/10", "234"),
        ("memory", "bytes=7-99", "bytes 7-9/10", "789"),
        ("memory", "bytes=-1", "bytes 9-9/10", "9"),
    ] {
        let part = server.get(&blob_path(repository), &format!("Range: {range}\r\n")).await;
        assert_eq!(part.status, "HTTP/1.1 206 Partial Content");
        assert_eq!(part.header("content-range"), Some(told));
        assert_eq!(part.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(part.text(), body);
    }
    // What can't be read is ignored; so is a range for other content, and one that a streaming leaf doesn't apply.
    for (repository, headers) in [
        ("memory", "Range: bytes=4-2\r\n"),
        ("memory", "Range: bytes=2-4\r\nIf-Range: \"other\"\r\n"),
        ("memory", "Range: bytes=0-,0-,0-\r\n"),
        ("stream", "Range: bytes=2-4\r\n"),
    ] {
        let whole = server.get(&blob_path(repository), headers).await;
        assert_eq!((whole.status.as_str(), whole.body.as_slice()), ("HTTP/1.1 200 OK", BLOB), "{headers}");
    }
    let outside = server.get(&blob_path("memory"), "Range: bytes=10-\r\n").await;
    assert_eq!(outside.status, "HTTP/1.1 416 Range Not Satisfiable");
    assert_eq!(outside.header("content-range"), Some("bytes */10"));
    let digest = Digest::sha256(BLOB);
    let message = format!("no part of what was asked for lies within the 10 bytes of {digest}");
    assert_eq!(outside.text(), errors("SIZE_INVALID", &message));
}

#[tokio::test]
async fn several_ranges_are_a_multipart_of_the_length_that_it_says() {
    let server = serve(registry()).await;
    let parts = server.get(&blob_path("memory"), "Range: bytes=0-1, -2\r\n").await;
    assert_eq!(parts.status, "HTTP/1.1 206 Partial Content");
    let boundary = &Digest::sha256(BLOB).hex()[..60];
    assert_eq!(
        parts.header("content-type"),
        Some(format!("multipart/byteranges; boundary={boundary}").as_str())
    );
    assert_eq!(
        parts.text(),
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n\
             --{boundary}--\r\n"
        )
    );
    assert_eq!(parts.header("content-length"), Some(parts.body.len().to_string().as_str()));
    assert_eq!(parts.header("content-range"), None);
    // A part that is shorter than its range makes the answer shorter than its length.
    let short = server.get(&blob_path("short-part"), "Range: bytes=0-3,5-9\r\n").await;
    let length: usize = short.header("content-length").unwrap().parse().unwrap();
    assert!(short.body.len() < length, "{} of {length}", short.body.len());
}

#[tokio::test]
async fn a_redirect_has_no_body() {
    let server = serve(registry()).await;
    let redirect = server.get(&blob_path("redirect"), "").await;
    assert_eq!(redirect.status, "HTTP/1.1 307 Temporary Redirect");
    assert_eq!(
        redirect.headers,
        [
            "cache-control: no-store".into(),
            "content-length: 0".into(),
            format!("docker-content-digest: {}", Digest::sha256(BLOB)),
            "docker-distribution-api-version: registry/2.0".into(),
            "location: https://cdn.example/x?sig=%2F".into(),
        ]
    );
    assert_eq!(redirect.body, b"");
}

#[tokio::test]
async fn the_namespace_and_warnings_are_told() {
    let server = serve(registry()).await;
    let answer = server.get("/v2/a/b/manifests/v1?ns=quay.io", "").await;
    assert_eq!(answer.header("oci-namespace"), Some("quay.io"));
    let warnings: Vec<_> = answer.headers.iter().filter(|line| line.starts_with("warning")).collect();
    assert_eq!(warnings, [r#"warning: 299 - "\"old\"""#, r#"warning: 299 - "soon gone""#]);
    let refused = server.get("/v2/a/b/manifests/v1?ns=a/b", "").await;
    assert_eq!(refused.status, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn errors_have_the_specifications_form() {
    let server = serve(registry()).await;
    let get = server.get("/v2/a/b/manifests/gone", "").await;
    let text = errors("MANIFEST_UNKNOWN", "no manifest `gone` in `a/b`");
    assert_eq!(get.status, "HTTP/1.1 404 Not Found");
    assert_eq!(
        get.headers,
        [
            "cache-control: no-store".into(),
            format!("content-length: {}", text.len()),
            "content-type: application/json".into(),
            "docker-distribution-api-version: registry/2.0".to_owned(),
        ]
    );
    assert_eq!(get.text(), text);
    // A `HEAD` has no body to say it in.
    let head = server.head("/v2/a/b/manifests/gone", "").await;
    assert_eq!(head.status, "HTTP/1.1 404 Not Found");
    assert_eq!(head.header("warning"), Some("299 - \"MANIFEST_UNKNOWN: no manifest `gone` in `a/b`\""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.body, b"");
    for (method, path, status, allow, code) in [
        (
            "POST",
            "/v2/a/manifests/x",
            "HTTP/1.1 405 Method Not Allowed",
            Some("GET, HEAD, PUT, DELETE"),
            "UNSUPPORTED",
        ),
        ("DELETE", "/v2/a/manifests/x", "HTTP/1.1 405 Method Not Allowed", Some("GET, HEAD"), "UNSUPPORTED"),
        ("POST", "/v2/a/blobs/uploads/", "HTTP/1.1 405 Method Not Allowed", Some(""), "UNSUPPORTED"),
        ("GET", "/v2/a/b", "HTTP/1.1 404 Not Found", None, "UNSUPPORTED"),
        ("GET", "/elsewhere", "HTTP/1.1 404 Not Found", None, "UNSUPPORTED"),
        ("GET", "/v2/a%2fb/tags/list", "HTTP/1.1 400 Bad Request", None, "NAME_INVALID"),
    ] {
        let answer = server.ask(method, path, "HTTP/1.1", "").await;
        let allowed = answer.headers.iter().find_map(|line| line.strip_prefix("allow:")).map(str::trim);
        assert_eq!((answer.status.as_str(), allowed), (status, allow), "{method} {path}");
        assert!(
            answer.text().starts_with(&format!(r#"{{"errors":[{{"code":"{code}","#)),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn an_errors_time_and_challenge_are_told() {
    let tags = |request: Request<ListTags>| async move {
        let busy = Error::new(ErrorKind::TooManyRequests, ErrorCode::TooManyRequests, "slow down");
        Err::<Tags, _>(match request.operation().repository.as_str() {
            "delay" => busy.with_retry_after(RetryAfter::Delay(Duration::from_millis(1500))),
            "date" => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
                busy.with_retry_after(RetryAfter::At(at))
            }
            "never" => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
                busy.with_retry_after(RetryAfter::At(at))
            }
            _ => Error::new(ErrorKind::Unauthorized, ErrorCode::Unauthorized, "who are you?")
                .with_challenge("Bearer realm=\"https://here.example/token\""),
        })
    };
    let server = serve(Handlers::new().on(tags)).await;
    for (name, expected) in
        [("delay", Some("2")), ("date", Some("Sun, 06 Nov 1994 08:49:37 GMT")), ("never", None)]
    {
        let answer = server.get(&format!("/v2/{name}/tags/list"), "").await;
        assert_eq!(answer.status, "HTTP/1.1 429 Too Many Requests");
        assert_eq!(answer.header("retry-after"), expected);
        assert_eq!(answer.text(), errors("TOOMANYREQUESTS", "slow down"));
    }
    let answer = server.get("/v2/who/tags/list", "").await;
    assert_eq!(answer.status, "HTTP/1.1 401 Unauthorized");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"https://here.example/token\""));
}

#[tokio::test]
async fn lists_name_what_the_client_named_and_link_to_the_next_page() {
    let digest = Digest::sha256(b"subject");
    let sbom =
        Descriptor::of(MediaType::OCI_MANIFEST, b"sbom").with_member("artifactType", Raw::of("a/sbom"));
    let other = Descriptor::of(MediaType::OCI_MANIFEST, b"other").with_member("artifactType", Raw::of("a/b"));
    let listed = vec![sbom.clone(), other];
    let registry = Handlers::new()
        .on(|_: Request<ListTags>| async {
            let tags: Vec<Tag> = vec!["v1".parse()?, "v2".parse()?];
            Ok(Tags::new("inner/name".parse()?, tags, Some("v2&x".into())))
        })
        .on(|_: Request<ListRepositories>| async {
            Ok(Repositories::new(vec!["a/b".parse()?], Some("a/b".into())))
        })
        .on(move |_: Request<ListReferrers>| {
            let listed = listed.clone();
            async move { Ok(Referrers::new(listed, false, Some("m".into()))) }
        });
    let server = serve(registry).await;
    let tags = server.get("/v2/a/b/tags/list?n=2&ns=quay.io:443", "").await;
    assert_eq!(tags.text(), r#"{"name":"a/b","tags":["v1","v2"]}"#);
    assert_eq!(tags.header("link"), Some("</v2/a/b/tags/list?n=2&last=v2%26x&ns=quay.io:443>; rel=\"next\""));
    assert_eq!(server.get("/v2/a/b/tags/list?n=0", "").await.header("link"), None);
    let catalog = server.get("/v2/_catalog", "").await;
    assert_eq!(catalog.text(), r#"{"repositories":["a/b"]}"#);
    assert_eq!(catalog.header("link"), Some("</v2/_catalog?last=a/b>; rel=\"next\""));
    let path = format!("/v2/a/b/referrers/{digest}");
    let all = server.get(&path, "").await;
    assert_eq!(all.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
    assert_eq!(all.header("oci-filters-applied"), None);
    assert_eq!(all.text().matches("artifactType").count(), 2);
    // The leaf doesn't filter, so the edge does.
    let some = server.get(&format!("{path}?artifactType=a/sbom"), "").await;
    assert_eq!(some.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(
        some.header("link"),
        Some(format!("<{path}?last=m&artifactType=a/sbom>; rel=\"next\"").as_str())
    );
    assert_eq!(
        some.text(),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":4,"artifactType":"a/sbom"}}]}}"#,
            sbom.digest()
        )
    );
}

#[tokio::test]
async fn writes_are_answered_with_their_locations() {
    let digest = Digest::sha256(BLOB);
    let state = |received| UploadState::new("1f".parse().unwrap(), received);
    let registry = Handlers::new()
        .on(move |request: Request<StartUpload>| async move {
            let mut open = state(0);
            open.min_chunk = Some(65_536);
            Ok(match request.operation().mount {
                Some(_) => UploadStarted::Created(BlobCreated::new(digest)),
                None => UploadStarted::Open(open),
            })
        })
        .on(move |_: Request<UploadChunk>| async move { Ok(state(5)) })
        .on(move |_: Request<UploadStatus>| async move { Ok(state(5)) })
        .on(move |_: Request<FinishUpload>| async move { Ok(BlobCreated::new(digest)) })
        .on(|_: Request<CancelUpload>| async { Ok(Deleted::new()) })
        .on(|_: Request<DeleteManifest>| async { Ok(Deleted::new()) })
        .on(|request: Request<PutManifest>| async move {
            let put = request.into_operation();
            let mut created = ManifestCreated::new(Digest::sha256(&put.content));
            created.tags = put.tags;
            created.subject = Some(Digest::sha256(b"subject"));
            Ok(created)
        });
    let server = serve(registry).await;
    let digest = digest.to_string();
    let api = "docker-distribution-api-version: registry/2.0".to_owned();
    let upload = "location: /v2/a/b/blobs/uploads/1f".to_owned();
    let uuid = "docker-upload-uuid: 1f".to_owned();
    let empty = "content-length: 0".to_owned();
    let told = format!("docker-content-digest: {digest}");
    let created = vec![empty.clone(), told.clone(), api.clone(), format!("location: /v2/a/b/blobs/{digest}")];
    let chunk_min = "oci-chunk-min-length: 65536".to_owned();
    let open = vec![empty.clone(), api.clone(), uuid.clone(), upload.clone(), chunk_min, "range: 0-0".into()];
    let taken = vec![empty.clone(), api.clone(), uuid.clone(), upload.clone(), "range: 0-4".to_owned()];
    let put = Digest::sha256(b"12345");
    let manifest = vec![
        empty.clone(),
        format!("docker-content-digest: {put}"),
        api.clone(),
        format!("location: /v2/a/b/manifests/{put}"),
        format!("oci-subject: {}", Digest::sha256(b"subject")),
        "oci-tag: 1, 1.2".into(),
    ];
    for (method, target, status, headers) in [
        ("POST", "/v2/a/b/blobs/uploads/".to_owned(), "202 Accepted", open),
        ("POST", format!("/v2/a/b/blobs/uploads/?mount={digest}&from=c"), "201 Created", created.clone()),
        ("PATCH", "/v2/a/b/blobs/uploads/1f".to_owned(), "202 Accepted", taken.clone()),
        ("GET", "/v2/a/b/blobs/uploads/1f".to_owned(), "204 No Content", taken[1..].into()),
        ("PUT", format!("/v2/a/b/blobs/uploads/1f?digest={digest}"), "201 Created", created),
        ("DELETE", "/v2/a/b/blobs/uploads/1f".to_owned(), "204 No Content", vec![api.clone()]),
        ("DELETE", "/v2/a/b/manifests/v1".to_owned(), "202 Accepted", vec![empty, api]),
        ("PUT", format!("/v2/a/b/manifests/{put}?tag=1&tag=1.2"), "201 Created", manifest),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345"
        );
        let answer = Answer::parse(&server.exchange(request).await);
        assert_eq!(answer.status, format!("HTTP/1.1 {status}"), "{method} {target}");
        assert_eq!(answer.headers, headers, "{method} {target}");
        assert_eq!(answer.body, b"", "{method} {target}");
    }
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_a_500() {
    let registry = Handlers::new().on(|request: Request<GetBlob>| async move {
        let get = request.into_operation();
        let range = ByteRange::new(8, 10).unwrap();
        Ok(Blob::part(get.digest, 10, BlobPart::new(range, Body::from("890"))))
    });
    let server = serve(registry).await;
    let digest = Digest::sha256(BLOB);
    for headers in ["", "Range: bytes=8-10\r\n"] {
        let answer = server.get(&blob_path("a"), headers).await;
        assert_eq!(answer.status, "HTTP/1.1 500 Internal Server Error");
        let message = format!("{digest} was answered with the part 8-10, which makes no sense");
        assert_eq!(answer.text(), errors("UNSUPPORTED", &message));
    }
}
