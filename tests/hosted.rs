//! The registry in memory as clients see it: every endpoint of the specification over HTTP, and what hostile clients
//! send.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails is meant to stop")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt;
use tower_oci::body::Body;
use tower_oci::error::BoxError;
use tower_oci::hosted::Memory;
use tower_oci::http::OciService;
use tower_oci::operation::BoxRegistry;
use tower_oci::spec::digest::{Algorithm, Digest};

#[path = "../examples/support/demo.rs"]
mod demo;
#[path = "hosted/hostile.rs"]
mod hostile;
#[path = "hosted/leaf.rs"]
mod leaf;

use leaf::{Kind, Leaf, leaf, tests_of_both};

/// An answer, read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status and code of an error, whose body must be the specification's.
    fn error(&self) -> (u16, &str) {
        let text = self.text();
        let code = text.strip_prefix(r#"{"errors":[{"code":""#).unwrap_or_else(|| panic!("{self:?}"));
        (self.status, code.split('"').next().unwrap())
    }
}

struct Client(OciService<BoxRegistry>);

impl Client {
    fn new(leaf: &Leaf) -> Self {
        Self(OciService::new(leaf.registry()))
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.read(16 << 20).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    /// The location of a new upload.
    async fn open(&self, repository: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status, 202);
        answer.header("location").unwrap().to_owned()
    }

    async fn push_blob(&self, repository: &str, content: &'static str) -> Digest {
        let digest = Digest::sha256(content.as_bytes());
        let location = self.open(repository).await;
        let answer = self.send("PUT", &format!("{location}?digest={digest}"), &[], content).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    async fn push_manifest(&self, target: &str, content: String) -> Answer {
        self.send("PUT", target, &[("content-type", MANIFEST)], content).await
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn descriptor(media_type: &str, content: &str) -> String {
    let digest = Digest::sha256(content.as_bytes());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
}

/// A manifest whose config and only layer are `{}` and `layer`.
fn manifest(more: &str) -> String {
    let config = descriptor("application/vnd.oci.image.config.v1+json", "{}");
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", "layer");
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]{more}}}"#)
}

fn frames(frames: &[&'static str]) -> Body {
    let frames: Vec<_> =
        frames.iter().map(|frame| Ok::<_, BoxError>(Bytes::from_static(frame.as_bytes()))).collect();
    Body::from_stream(stream::iter(frames))
}

async fn pull(kind: Kind) {
    let (memory, repository) = (leaf!(kind), "a/b");
    let client = Client::new(&memory);
    assert_eq!(client.get("/v2/").await.status, 200);
    client.push_blob(repository, "{}").await;
    let layer = client.push_blob(repository, "layer").await;
    // White space and order are the client's.
    let content = manifest("").replace(r#""layers":"#, "\n  \"layers\" :\t");
    let digest = Digest::sha256(content.as_bytes());
    assert_eq!(client.push_manifest("/v2/a/b/manifests/v1", content.clone()).await.status, 201);

    for reference in ["v1".to_owned(), digest.to_string()] {
        let target = format!("/v2/a/b/manifests/{reference}");
        for method in ["GET", "HEAD"] {
            let answer = client.send(method, &target, &[], "").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some(MANIFEST));
            assert_eq!(answer.header("docker-content-digest"), Some(&*digest.to_string()));
            assert_eq!(answer.header("content-length"), Some(&*content.len().to_string()));
            assert_eq!(answer.text(), if method == "GET" { &content } else { "" });
        }
        let known = format!("\"{digest}\"");
        let answer = client.send("GET", &target, &[("if-none-match", &known)], "").await;
        assert_eq!((answer.status, answer.text()), (304, ""));
    }

    let target = format!("/v2/a/b/blobs/{layer}");
    let head = client.send("HEAD", &target, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    for (range, status, content_range, body) in [
        (None, 200, None, "layer"),
        (Some("bytes=1-3"), 206, Some("bytes 1-3/5"), "aye"),
        (Some("bytes=-2"), 206, Some("bytes 3-4/5"), "er"),
        (Some("bytes=nonsense"), 200, None, "layer"),
    ] {
        let headers: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let answer = client.send("GET", &target, &headers, "").await;
        assert_eq!((answer.status, answer.header("content-range")), (status, content_range), "{range:?}");
        assert_eq!(answer.header("docker-content-digest"), Some(&*layer.to_string()));
        assert_eq!(answer.text(), body);
    }
    let several = client.send("GET", &target, &[("range", "bytes=0-0,4-4")], "").await;
    assert_eq!(several.status, 206);
    assert!(several.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    for part in ["Content-Range: bytes 0-0/5\r\n\r\nl\r\n", "Content-Range: bytes 4-4/5\r\n\r\nr\r\n"] {
        let text = several.text().to_ascii_lowercase();
        assert!(text.contains(&part.to_ascii_lowercase()), "{text}");
    }
    let beyond = client.send("GET", &target, &[("range", "bytes=5-")], "").await;
    assert_eq!((beyond.error(), beyond.header("content-range")), ((416, "SIZE_INVALID"), Some("bytes */5")));

    for (target, error) in [
        ("/v2/a/b/manifests/v2".to_owned(), (404, "MANIFEST_UNKNOWN")),
        ("/v2/c/manifests/v1".to_owned(), (404, "MANIFEST_UNKNOWN")),
        (format!("/v2/c/blobs/{layer}"), (404, "BLOB_UNKNOWN")),
        ("/v2/c/tags/list".to_owned(), (404, "NAME_UNKNOWN")),
        ("/v2/_catalog".to_owned(), (405, "UNSUPPORTED")),
    ] {
        assert_eq!(client.get(&target).await.error(), error, "{target}");
    }
}

async fn push_monolithically(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    for (algorithm, content) in
        [(Algorithm::Sha256, "two requests"), (Algorithm::Sha512, "long digest"), (Algorithm::Sha256, "")]
    {
        let digest = Digest::of(algorithm, content.as_bytes());
        let blob = format!("/v2/a/blobs/{digest}");

        let target = format!("/v2/a/blobs/uploads/?digest-algorithm={algorithm}");
        let started = client.send("POST", &target, &[], "").await;
        assert_eq!(started.status, 202);
        let location = started.header("location").unwrap();
        assert!(location.starts_with("/v2/a/blobs/uploads/"));
        let finished = client.send("PUT", &format!("{location}?digest={digest}"), &[], content).await;
        assert_eq!((finished.status, finished.header("location")), (201, Some(&*blob)));
        assert_eq!(client.get(&blob).await.text(), content);

        let single = format!("/v2/b/blobs/uploads/?digest={digest}");
        let created = client.send("POST", &single, &[], content).await;
        let blob = format!("/v2/b/blobs/{digest}");
        assert_eq!((created.status, created.header("location")), (201, Some(&*blob)));
        assert_eq!(client.get(&blob).await.text(), content);
    }
    assert_eq!(memory.usage().await.blobs, 3, "both repositories share them");
}

async fn push_in_chunks(kind: Kind) {
    let memory = leaf!(kind, min_chunk(4));
    let client = Client::new(&memory);
    let started = client.send("POST", "/v2/a/blobs/uploads/", &[("content-length", "0")], "").await;
    assert_eq!(started.header("oci-chunk-min-length"), Some("4"));
    let location = started.header("location").unwrap().to_owned();
    let chunk = |range: &'static str, body: &'static str| {
        let length = body.len().to_string();
        let (client, location) = (&client, &location);
        async move {
            client
                .send("PATCH", location, &[("content-range", range), ("content-length", &length)], body)
                .await
        }
    };
    let first = chunk("0-3", "0123").await;
    assert_eq!((first.status, first.header("range")), (202, Some("0-3")));
    assert_eq!(first.header("location"), Some(&*location));
    assert_eq!(chunk("0-3", "0123").await.error(), (416, "BLOB_UPLOAD_INVALID"));
    assert_eq!(chunk("8-11", "89ab").await.error(), (416, "BLOB_UPLOAD_INVALID"));
    let status = client.get(&location).await;
    assert_eq!((status.status, status.header("range")), (204, Some("0-3")));
    assert_eq!(status.header("location"), Some(&*location));
    assert_eq!(chunk("4-7", "4567").await.header("range"), Some("0-7"));

    let digest = Digest::sha256(b"0123456789");
    let finish = format!("{location}?digest={digest}");
    let out_of_order = client.send("PUT", &finish, &[("content-range", "9-10")], "89").await;
    assert_eq!(out_of_order.error(), (416, "BLOB_UPLOAD_INVALID"));
    let finished = client.send("PUT", &finish, &[("content-range", "8-9")], "89").await;
    assert_eq!(
        (finished.status, finished.header("location")),
        (201, Some(&*format!("/v2/a/blobs/{digest}")))
    );
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.text(), "0123456789");
    assert_eq!(client.get(&location).await.error(), (404, "BLOB_UPLOAD_UNKNOWN"));

    let location = client.open("a").await;
    assert_eq!(client.send("DELETE", &location, &[], "").await.status, 204);
    assert_eq!(client.send("PATCH", &location, &[], "x").await.error(), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(memory.usage().await.uploads, 0);
}

async fn mount(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let digest = client.push_blob("a", "shared").await;
    let mount = |query: String| {
        let client = &client;
        async move { client.send("POST", &format!("/v2/b/blobs/uploads/?mount={digest}{query}"), &[], "").await }
    };
    for query in ["", "&from=c"] {
        let answer = mount(query.to_owned()).await;
        assert_eq!(answer.status, 202);
        assert!(answer.header("location").unwrap().starts_with("/v2/b/blobs/uploads/"));
    }
    let mounted = mount("&from=a".to_owned()).await;
    assert_eq!((mounted.status, mounted.header("location")), (201, Some(&*format!("/v2/b/blobs/{digest}"))));
    assert_eq!(client.get(&format!("/v2/b/blobs/{digest}")).await.text(), "shared");
}

async fn push_manifests(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    client.push_blob("a", "{}").await;
    let missing = client.push_manifest("/v2/a/manifests/v1", manifest("")).await;
    assert_eq!(missing.error(), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert!(missing.text().contains(&Digest::sha256(b"layer").to_string()), "{missing:?}");
    client.push_blob("a", "layer").await;

    let digest = Digest::sha256(manifest("").as_bytes());
    let target = format!("/v2/a/manifests/{digest}?tag=1.2.3&tag=1.2&tag=latest");
    let created = client.push_manifest(&target, manifest("")).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), Some(&*format!("/v2/a/manifests/{digest}")));
    assert_eq!(created.header("docker-content-digest"), Some(&*digest.to_string()));
    let tags: Vec<&str> =
        created.headers.get_all("oci-tag").iter().flat_map(|v| v.to_str().unwrap().split(", ")).collect();
    assert_eq!(tags, ["1.2.3", "1.2", "latest"]);
    assert_eq!(client.get("/v2/a/manifests/1.2").await.text(), manifest(""));

    let other = Digest::sha256(b"other");
    let wrong = client.push_manifest(&format!("/v2/a/manifests/{other}"), manifest("")).await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID"));
    let headers = [("content-type", INDEX)];
    let confused = client.send("PUT", "/v2/a/manifests/v1", &headers, manifest("")).await;
    assert_eq!(confused.error(), (400, "MANIFEST_INVALID"));
    let child = descriptor(MANIFEST, "nowhere");
    let sparse = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{child}]}}"#);
    assert_eq!(client.send("PUT", "/v2/a/manifests/sparse", &headers, sparse).await.status, 201);
}

async fn tags(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    client.push_blob("a", "{}").await;
    client.push_blob("a", "layer").await;
    for tag in ["b", "C", "a"] {
        client.push_manifest(&format!("/v2/a/manifests/{tag}"), manifest("")).await;
    }
    for (query, tags, link) in [
        ("", r#"["C","a","b"]"#, None),
        ("?n=2", r#"["C","a"]"#, Some("</v2/a/tags/list?n=2&last=a>; rel=\"next\"")),
        ("?n=2&last=a", r#"["b"]"#, None),
        ("?last=C", r#"["a","b"]"#, None),
        ("?n=0", "[]", None),
        ("?n=3", r#"["C","a","b"]"#, None),
    ] {
        let answer = client.get(&format!("/v2/a/tags/list{query}")).await;
        assert_eq!(answer.text(), format!(r#"{{"name":"a","tags":{tags}}}"#), "{query}");
        assert_eq!(answer.header("link"), link, "{query}");
    }
    assert_eq!(client.send("DELETE", "/v2/a/manifests/C", &[], "").await.status, 202);
    assert_eq!(client.get("/v2/a/manifests/C").await.error(), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(client.get("/v2/a/tags/list").await.text(), r#"{"name":"a","tags":["a","b"]}"#);
}

async fn referrers(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    client.push_blob("a", "{}").await;
    client.push_blob("a", "layer").await;
    let subject = Digest::sha256(manifest("").as_bytes());
    let list = |query: &str| {
        let target = format!("/v2/a/referrers/{subject}{query}");
        let client = &client;
        async move { client.get(&target).await }
    };
    let empty = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    assert_eq!(list("").await.text(), empty);

    // A referrer may come before its subject.
    let subject_member = descriptor(MANIFEST, &manifest(""));
    let sbom = manifest(&format!(
        r#","artifactType":"a/sbom","subject":{subject_member},"annotations":{{"k":"v"}}"#
    ));
    let pushed = client.push_manifest("/v2/a/manifests/sbom", sbom.clone()).await;
    assert_eq!((pushed.status, pushed.header("oci-subject")), (201, Some(&*subject.to_string())));
    let listed = list("").await;
    assert_eq!(listed.header("content-type"), Some(INDEX));
    let entry = format!(
        r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"artifactType":"a/sbom","annotations":{{"k":"v"}}}}"#,
        Digest::sha256(sbom.as_bytes()),
        sbom.len()
    );
    assert_eq!(listed.text(), empty.replace("[]", &format!("[{entry}]")));
    assert_eq!(listed.header("oci-filters-applied"), None);
    for (artifact_type, expected) in [("a/sbom", listed.text()), ("a/other", &*empty)] {
        let filtered = list(&format!("?artifactType={artifact_type}")).await;
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(filtered.text(), expected);
    }
    assert_eq!(client.get("/v2/a/referrers/sha256:x").await.error(), (400, "DIGEST_INVALID"));
    assert_eq!(client.get(&format!("/v2/unknown/referrers/{subject}")).await.text(), empty);
}

async fn deletes(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let config = client.push_blob("a", "{}").await;
    let layer = client.push_blob("a", "layer").await;
    let digest = Digest::sha256(manifest("").as_bytes());
    client.push_manifest("/v2/a/manifests/v1", manifest("")).await;
    let delete = |target: String| {
        let client = &client;
        async move { client.send("DELETE", &target, &[], "").await }
    };
    let needed = delete(format!("/v2/a/blobs/{layer}")).await;
    assert_eq!(needed.error(), (405, "UNSUPPORTED"));
    assert_eq!(client.get(&format!("/v2/a/blobs/{layer}")).await.status, 200);
    assert_eq!(delete(format!("/v2/a/manifests/{digest}")).await.status, 202);
    for target in ["v1", &*digest.to_string()] {
        assert_eq!(client.get(&format!("/v2/a/manifests/{target}")).await.error(), (404, "MANIFEST_UNKNOWN"));
    }
    assert_eq!(client.get("/v2/a/tags/list").await.text(), r#"{"name":"a","tags":[]}"#);
    assert_eq!(delete(format!("/v2/a/blobs/{layer}")).await.status, 202);
    assert_eq!(delete(format!("/v2/a/blobs/{layer}")).await.error(), (404, "BLOB_UNKNOWN"));
    assert_eq!(delete(format!("/v2/a/blobs/{config}")).await.status, 202);
    assert_eq!(delete(format!("/v2/a/manifests/{digest}")).await.error(), (404, "NAME_UNKNOWN"));
    memory.is_empty().await;
}

async fn catalog(kind: Kind) {
    let leaf = leaf!(kind, catalog(true));
    let client = Client::new(&leaf);
    for repository in ["b/c", "a"] {
        client.push_blob(repository, "x").await;
    }
    let answer = client.get("/v2/_catalog?n=1").await;
    assert_eq!(answer.text(), r#"{"repositories":["a"]}"#);
    assert_eq!(answer.header("link"), Some("</v2/_catalog?n=1&last=a>; rel=\"next\""));
    assert_eq!(client.get("/v2/_catalog?n=1&last=a").await.text(), r#"{"repositories":["b/c"]}"#);
}

/// The program of the demo image runs, and says what it should.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[tokio::test]
async fn the_demo_image_runs() {
    use std::os::unix::fs::PermissionsExt;
    use tower_oci::spec::image::{Config, Manifest};

    let memory = Memory::new();
    let digest = demo::push(&memory).unwrap();
    assert_eq!(digest, demo::push(&Memory::new()).unwrap(), "the same in every process");
    let client = Client::new(&Leaf::Memory(memory));
    let pull = |kind: &'static str, reference: String| {
        let (client, repository) = (&client, demo::REPOSITORY);
        async move { client.get(&format!("/v2/{repository}/{kind}/{reference}")).await.body }
    };
    let Manifest::Index(index) =
        Manifest::parse(None, pull("manifests", demo::TAG.to_owned()).await).unwrap()
    else {
        panic!("not an index")
    };
    let [entry] = index.manifests() else { panic!("{index:?}") };
    assert_eq!(entry.platform().unwrap().unwrap().to_string(), "linux/amd64");
    let Manifest::Image(image) =
        Manifest::parse(None, pull("manifests", entry.digest().to_string()).await).unwrap()
    else {
        panic!("not an image")
    };
    let config = Config::parse(pull("blobs", image.config().digest().to_string()).await).unwrap();
    assert!(config.history_agrees());

    let root = tempfile::tempdir().unwrap();
    let layer = pull("blobs", image.layers()[0].digest().to_string()).await;
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&layer[..]), &mut tar).unwrap();
    assert_eq!(config.parsed_diff_ids().unwrap(), [Digest::sha256(&tar)]);
    tar::Archive::new(&tar[..]).unpack(root.path()).unwrap();
    let program = root.path().join("hello");
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);

    let long = "x".repeat(10_000);
    std::fs::write(root.path().join("file"), &long).unwrap();
    let output = tokio::process::Command::new(&program)
        .args(["file", "absent"])
        .current_dir(root.path())
        .env_clear()
        .env("GREETING", "hello world")
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.unwrap().unwrap();
    assert!(output.status.success());
    let expected = format!("Hello from the demo image.\nGREETING=hello world\n{long}absent is not there\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

tests_of_both! {
    pull,
    push_monolithically,
    push_in_chunks,
    mount,
    push_manifests,
    tags,
    referrers,
    deletes,
    catalog,
}
