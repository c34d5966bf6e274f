//! Each operation once, as it should go.

use http::header::{HeaderName, HeaderValue, WARNING};
use tower_oci::spec::digest::Algorithm;
use tower_oci::testing::{Fault, Kind, When};

use super::*;

#[tokio::test(start_paused = true)]
async fn an_image_is_pushed_and_pulled_back() {
    let home = Home::new();
    let client = home.client();
    let config = client.push_blob("a/b", "{}").await;
    let layer = client.push_blob("a/b", "a layer of the image").await;
    let document = manifest("");
    let digest = Digest::sha256(document.as_bytes());
    let put =
        client.send("PUT", "/v2/a/b/manifests/v1", &[("content-type", MANIFEST)], document.clone()).await;
    assert_eq!((put.status, put.location()), (201, format!("/v2/a/b/manifests/{digest}").as_str()));
    assert_eq!(
        home.seen(),
        [
            "POST /v2/a/b/blobs/uploads/".to_owned(),
            format!("PUT /v2/a/b/blobs/uploads/<id>?digest={config}"),
            "POST /v2/a/b/blobs/uploads/".to_owned(),
            format!("PUT /v2/a/b/blobs/uploads/<id>?digest={layer}"),
            "PUT /v2/a/b/manifests/v1".to_owned(),
        ]
    );
    assert_eq!(client.send("GET", "/v2/a/b/manifests/v1", &[], "").await.text(), document);
    let blob = client.send("GET", &format!("/v2/a/b/blobs/{layer}"), &[], "").await;
    assert_eq!(blob.text(), "a layer of the image");
}

#[tokio::test(start_paused = true)]
async fn an_upload_in_chunks_tells_how_far_it_is() {
    let home = Home::of(Memory::builder().min_chunk(4).build());
    let client = home.client();
    let opened = client.send("POST", "/v2/a/b/blobs/uploads/", &[("content-length", "0")], "").await;
    assert_eq!((opened.header("range"), opened.header("oci-chunk-min-length")), (Some("0-0"), Some("4")));
    let first = [("content-range", "0-4"), ("content-length", "5")];
    let chunk = client.send("PATCH", opened.location(), &first, streamed("01234")).await;
    assert_eq!((chunk.status, chunk.header("range")), (202, Some("0-4")));
    assert_ne!(chunk.location(), opened.location(), "each answer has a new identity");

    let early = client.send("PATCH", chunk.location(), &[("content-range", "7-9")], streamed("789")).await;
    assert_eq!(
        early.error(),
        refused(
            416,
            "BLOB_UPLOAD_INVALID",
            "registry.example answered with 416: BLOB_UPLOAD_INVALID: the chunk starts at 7, but 5 bytes of the upload \
             have come"
        )
    );
    assert_eq!((early.header("range"), early.location()), (Some("0-4"), chunk.location()));
    assert_eq!(early.header("content-range"), None);

    let status = client.send("GET", chunk.location(), &[], "").await;
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let second = client.send("PATCH", status.location(), &[], streamed("56789")).await;
    assert_eq!((second.status, second.header("range")), (202, Some("0-9")));
    let digest = Digest::sha256(b"0123456789ab");
    let finish = format!("{}?digest={digest}", second.location());
    let finished = client.send("PUT", &finish, &[("content-range", "10-11")], "ab").await;
    assert_eq!((finished.status, finished.location()), (201, format!("/v2/a/b/blobs/{digest}").as_str()));
    assert_eq!(
        home.seen_with(&["content-range", "content-length"]),
        [
            "POST /v2/a/b/blobs/uploads/ content-length=0".to_owned(),
            "PATCH /v2/a/b/blobs/uploads/<id> content-range=0-4 content-length=5".to_owned(),
            "PATCH /v2/a/b/blobs/uploads/<id> content-range=7-9".to_owned(),
            "GET /v2/a/b/blobs/uploads/<id>".to_owned(),
            "PATCH /v2/a/b/blobs/uploads/<id>".to_owned(),
            format!("PUT /v2/a/b/blobs/uploads/<id>?digest={digest} content-range=10-11 content-length=2"),
        ]
    );
    assert_eq!(client.send("GET", second.location(), &[], "").await.error().1, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_given_up() {
    let home = Home::new();
    let client = home.client();
    let location = client.open("a/b").await;
    assert_eq!(client.send("DELETE", &location, &[], "").await.status, 204);
    let gone = client.send("GET", &location, &[], "").await;
    assert_eq!((gone.status, gone.error().1.as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(
        home.seen(),
        [
            "POST /v2/a/b/blobs/uploads/",
            "DELETE /v2/a/b/blobs/uploads/<id>",
            "GET /v2/a/b/blobs/uploads/<id>"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_in_one_request_and_one_with_another_algorithm() {
    let home = Home::new();
    let client = home.client();
    let digest = Digest::sha256(b"content");
    let target = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let created = client.send("POST", &target, &[("content-length", "7")], streamed("content")).await;
    assert_eq!((created.status, created.location()), (201, format!("/v2/a/b/blobs/{digest}").as_str()));
    // Nothing is known of the upstream yet, and the content comes only once.
    assert_eq!(home.seen(), ["GET /v2/".to_owned(), format!("POST {target}")]);
    let wrong = client.send("POST", &target, &[], streamed("other")).await;
    assert_eq!((wrong.status, wrong.error().1.as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(home.seen(), [format!("POST {target}")]);

    let digest = Digest::of(Algorithm::Sha512, b"content");
    let opened = client.send("POST", "/v2/a/b/blobs/uploads/?digest-algorithm=sha512", &[], "").await;
    let finish = format!("{}?digest={digest}", opened.location());
    assert_eq!(client.send("PUT", &finish, &[], "content").await.status, 201);
    assert_eq!(
        home.seen(),
        [
            "POST /v2/a/b/blobs/uploads/?digest-algorithm=sha512".to_owned(),
            format!("PUT /v2/a/b/blobs/uploads/<id>?digest={digest}")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_mounted_or_an_upload_opened() {
    let home = Home::of(Memory::builder().mount_from_anywhere(true).build());
    let client = home.client();
    let digest = client.push_blob("a/source", "content").await;
    home.seen();
    let from = format!("/v2/a/b/blobs/uploads/?mount={digest}&from=a/source");
    let mounted = client.send("POST", &from, &[], "").await;
    assert_eq!((mounted.status, mounted.location()), (201, format!("/v2/a/b/blobs/{digest}").as_str()));
    let anywhere = format!("/v2/a/c/blobs/uploads/?mount={digest}");
    assert_eq!(client.send("POST", &anywhere, &[], "").await.status, 201);
    let absent = format!("/v2/a/b/blobs/uploads/?mount={}&from=a/source", Digest::sha256(b"absent"));
    let opened = client.send("POST", &absent, &[], "").await;
    assert_eq!(opened.status, 202);
    assert_eq!(client.send("DELETE", opened.location(), &[], "").await.status, 204);
    assert_eq!(
        home.seen(),
        [
            format!("POST {from}"),
            format!("POST {anywhere}"),
            format!("POST {absent}"),
            "DELETE /v2/a/b/blobs/uploads/<id>".to_owned()
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_manifests_tags_subject_and_warnings_come_back() {
    let home = Home::new();
    let client = home.client();
    client.push_blob("a/b", "{}").await;
    client.push_blob("a/b", "a layer of the image").await;
    let subject = Digest::sha256(b"whatever");
    let more = format!(r#","subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":8}}"#);
    let document = manifest(&more);
    let digest = Digest::sha256(document.as_bytes());
    let warning = HeaderValue::from_static("299 - \"soon read-only\"");
    home.faulty.inject(When::kind(Kind::Manifest), Fault::Header(WARNING, warning));
    home.seen();
    let target = format!("/v2/a/b/manifests/{digest}?tag=v1&tag=latest");
    let put = client.send("PUT", &target, &[("content-type", MANIFEST)], document.clone()).await;
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(digest.to_string().as_str())));
    assert_eq!(put.header("oci-tag"), Some("v1, latest"));
    assert_eq!(put.header("oci-subject"), Some(subject.to_string().as_str()));
    assert_eq!(put.header("warning"), Some("299 - \"soon read-only\""));
    let length = document.len();
    assert_eq!(
        home.seen_with(&["content-type", "content-length"]),
        [format!("PUT {target} content-type={MANIFEST} content-length={length}")]
    );

    // A registry without referrers says nothing of the subject, and neither do we.
    home.faulty.inject(When::kind(Kind::Manifest), Fault::NoHeader(HeaderName::from_static("oci-subject")));
    let put = client.send("PUT", "/v2/a/b/manifests/v2", &[("content-type", MANIFEST)], document).await;
    assert_eq!((put.status, put.header("oci-subject")), (201, None));
    assert_eq!(home.seen(), ["PUT /v2/a/b/manifests/v2"], "the referrers tag is the client's to write");

    let torn = client.send("PUT", "/v2/a/b/manifests/v3", &[("content-type", MANIFEST)], "{").await;
    assert_eq!((torn.status, torn.error().1.as_str()), (400, "MANIFEST_INVALID"));
}

#[tokio::test(start_paused = true)]
async fn tags_manifests_and_blobs_are_deleted() {
    let home = Home::new();
    let client = home.client();
    let config = client.push_blob("a/b", "{}").await;
    client.push_blob("a/b", "a layer of the image").await;
    let document = manifest("");
    let digest = Digest::sha256(document.as_bytes());
    client.send("PUT", "/v2/a/b/manifests/v1", &[("content-type", MANIFEST)], document).await;
    home.seen();
    let tag = "/v2/a/b/manifests/v1".to_owned();
    let targets = [tag.clone(), format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{config}")];
    for target in &targets {
        assert_eq!(client.send("DELETE", target, &[], "").await.status, 202, "{target}");
    }
    assert_eq!(home.seen(), targets.each_ref().map(|target| format!("DELETE {target}")));
    let codes = ["MANIFEST_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"];
    for (target, code) in targets.iter().zip(codes) {
        let gone = client.send("DELETE", target, &[], "").await;
        assert_eq!((gone.status, gone.error().1.as_str()), (404, code), "{target}");
    }

    let fixed = Home::of(Memory::builder().deletes(false).build());
    let error = fixed.client().send("DELETE", &tag, &[], "").await.error();
    let message =
        "registry.example answered with 405: UNSUPPORTED: nothing can be deleted from this registry";
    assert_eq!(error, refused(405, "UNSUPPORTED", message));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_unless_it_is_turned_on() {
    let home = Home::new();
    let client = Client::new(home.upstream().writes(false).build().unwrap());
    let digest = Digest::sha256(b"x");
    for (method, target) in [
        ("POST", "/v2/a/b/blobs/uploads/".to_owned()),
        ("PATCH", "/v2/a/b/blobs/uploads/x".to_owned()),
        ("GET", "/v2/a/b/blobs/uploads/x".to_owned()),
        ("PUT", format!("/v2/a/b/blobs/uploads/x?digest={digest}")),
        ("DELETE", "/v2/a/b/blobs/uploads/x".to_owned()),
        ("PUT", "/v2/a/b/manifests/v1".to_owned()),
        ("DELETE", "/v2/a/b/manifests/v1".to_owned()),
        ("DELETE", format!("/v2/a/b/blobs/{digest}")),
    ] {
        let (status, code, message) = client.send(method, &target, &[], "").await.error();
        assert_eq!((status, code.as_str()), (405, "UNSUPPORTED"), "{method} {target}");
        let end = " is not passed on to registry.example: upstreams are only read from";
        assert!(message.ends_with(end), "{message}");
    }
    assert_eq!(home.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn referrers_that_a_client_lists_itself_are_found_where_there_is_no_api() {
    let home = Home::of(Memory::builder().sparse_indexes(true).build());
    home.faulty.inject(When::kind(Kind::Referrers), Fault::NoSuchApi);
    let client = home.client();
    let subject = Digest::sha256(b"whatever");
    let entry = |kind: &str| {
        let digest = Digest::sha256(kind.as_bytes());
        format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":7,"artifactType":"{kind}"}}"#)
    };
    let index = "application/vnd.oci.image.index.v1+json";
    let list = |entries: &[&str]| {
        let entries = entries.join(",");
        format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{entries}]}}"#)
    };
    let (sbom, signature) = (entry("a/sbom"), entry("a/signature"));
    let tag = format!("/v2/a/b/manifests/sha256-{}", subject.hex());
    let put = client.send("PUT", &tag, &[("content-type", index)], list(&[&sbom, &signature])).await;
    assert_eq!(put.status, 201, "{put:?}");
    home.seen();
    let referrers = format!("/v2/a/b/referrers/{subject}");
    let all = client.send("GET", &referrers, &[], "").await;
    assert_eq!((all.status, all.text()), (200, list(&[&sbom, &signature]).as_str()));
    assert_eq!(home.seen(), [format!("GET {referrers}"), format!("GET {tag}")]);
    let some = client.send("GET", &format!("{referrers}?artifactType=a/sbom"), &[], "").await;
    assert_eq!(
        (some.header("oci-filters-applied"), some.text()),
        (Some("artifactType"), list(&[&sbom]).as_str())
    );
}
