//! What nobody sends by accident: a spec error each, nothing lost, and memory that is bounded.

use super::*;

async fn nothing_leads_out_of_a_repository(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let secret = client.push_blob("private", "secret").await;
    let zeros = "0".repeat(64);
    let location = client.open("private").await;
    let id = location.rsplit('/').next().unwrap();
    let before = memory.usage().await;
    for (method, target, status) in [
        ("GET", format!("/v2/a/../private/blobs/{secret}"), 400),
        ("GET", format!("/v2/a/%2e%2e/private/blobs/{secret}"), 400),
        ("GET", format!("/v2/a%2f..%2fprivate/blobs/{secret}"), 400),
        ("GET", format!("/v2//private/blobs/{secret}"), 400),
        ("GET", format!("/v2/PRIVATE/blobs/{secret}"), 400),
        ("GET", format!("/v2/a/blobs/{secret}"), 404),
        ("GET", "/v2/a/blobs/sha256:..%2f..%2fetc%2fpasswd".to_owned(), 400),
        ("GET", format!("/v2/a/blobs/md5:{zeros}"), 400),
        ("GET", format!("/v2/a/blobs/sha256:{}", "A".repeat(64)), 400),
        ("GET", "/v2/a/manifests/..".to_owned(), 400),
        ("GET", format!("/v2/a/manifests/{}", "t".repeat(129)), 400),
        ("GET", format!("/v2/{}/manifests/v1", "a/".repeat(200) + "a"), 400),
        ("GET", "/v2/a/blobs/uploads/..".to_owned(), 400),
        ("GET", "/v2/a/blobs/uploads/%2e%2e%2fx".to_owned(), 400),
        ("PATCH", format!("/v2/a/blobs/uploads/{id}"), 404),
        ("GET", format!("/v2/a/blobs/uploads/{id}"), 404),
        ("DELETE", format!("/v2/a/blobs/uploads/{id}"), 404),
        ("PUT", format!("/v2/a/blobs/uploads/{id}?digest={secret}"), 404),
        ("POST", format!("/v2/a/blobs/uploads/?mount={secret}&from=..%2fprivate"), 400),
        ("POST", "/v2/a/blobs/uploads/?digest=sha256:0".to_owned(), 400),
        ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5".to_owned(), 400),
    ] {
        let answer = client.send(method, &target, &[], "").await;
        assert_eq!(answer.error().0, status, "{method} {target}: {answer:?}");
        assert!(!answer.text().contains("secret"), "{method} {target}: {answer:?}");
    }
    assert_eq!(memory.usage().await, before);
    assert_eq!(client.get(&location).await.status, 204);
}

async fn a_chunk_is_exactly_what_was_announced(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let location = client.open("a").await;
    let before = memory.usage().await;
    for (headers, body, error) in [
        (vec![("content-length", "3")], frames(&["ab", "cd"]), (400, "SIZE_INVALID")),
        (vec![("content-length", "9")], frames(&["abcd"]), (400, "SIZE_INVALID")),
        (vec![("content-range", "0-8")], frames(&["abcd"]), (400, "SIZE_INVALID")),
        (vec![("content-range", "0-1")], frames(&["abcd"]), (400, "SIZE_INVALID")),
        (vec![("content-range", "0-1")], Body::from("abcd"), (400, "SIZE_INVALID")),
        (vec![("content-range", "1-0")], Body::from("abcd"), (400, "BLOB_UPLOAD_INVALID")),
        (vec![("content-range", "0-18446744073709551615")], frames(&["a"]), (400, "BLOB_UPLOAD_INVALID")),
        (vec![("content-range", "0-18446744073709551614")], frames(&["a"]), (413, "SIZE_INVALID")),
        (vec![("content-length", "18446744073709551615")], frames(&["a"]), (413, "SIZE_INVALID")),
    ] {
        let shown = format!("{headers:?}");
        assert_eq!(client.send("PATCH", &location, &headers, body).await.error(), error, "{shown}");
        assert_eq!(memory.usage().await, before, "{shown}");
    }
    assert_eq!(client.send("PATCH", &location, &[], "abc").await.header("range"), Some("0-2"));
}

async fn a_wrong_digest_leaves_nothing(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let wrong = Digest::sha256(b"something else");
    let location = client.open("a").await;
    client.send("PATCH", &location, &[], "abc").await;
    let finished = client.send("PUT", &format!("{location}?digest={wrong}"), &[], "").await;
    assert_eq!(finished.error(), (400, "DIGEST_INVALID"));
    assert!(finished.text().contains(&Digest::sha256(b"abc").to_string()), "{finished:?}");
    let single = client.send("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], "abc").await;
    assert_eq!(single.error(), (400, "DIGEST_INVALID"));
    memory.is_empty().await;
    let location = client.open("a").await;
    let without = client.send("PUT", &location, &[], "abc").await;
    assert_eq!(without.error(), (400, "DIGEST_INVALID"));
    assert_eq!(client.get(&location).await.status, 204, "a finish without a digest changes nothing");
}

async fn open_uploads_are_bounded(kind: Kind) {
    let memory = leaf!(kind, max_uploads(100));
    let client = Client::new(&memory);
    let mut refused = 0;
    for _ in 0..10_000 {
        let answer = client.send("POST", "/v2/a/blobs/uploads/", &[], "").await;
        if answer.status != 202 {
            assert_eq!(
                (answer.error(), answer.header("retry-after")),
                ((429, "TOOMANYREQUESTS"), Some("60"))
            );
            refused += 1;
        }
    }
    assert_eq!((refused, memory.usage().await.uploads), (9_900, 100));

    // A trickle ends with the time-out of a request; what came of it is counted.
    tokio::time::advance(Duration::from_secs(60)).await;
    let location = client.open("a").await;
    let stalled = Body::from_stream(stream::unfold(0, async |sent| match sent {
        0..3 => Some((Ok::<_, BoxError>(Bytes::from_static(b"x")), sent + 1)),
        _ => std::future::pending().await,
    }));
    let answer = client.send("PATCH", &location, &[], stalled).await;
    assert_eq!(answer.error(), (408, "BLOB_UPLOAD_INVALID"));
    assert_eq!(client.get(&location).await.header("range"), Some("0-2"));

    tokio::time::advance(Duration::from_secs(3600)).await;
    let location = client.open("a").await;
    assert_eq!(client.send("DELETE", &location, &[], "").await.status, 204);
    memory.is_empty().await;
}

/// More of them than are ever needed, each known to its end.
async fn many_uploads_can_be_open(kind: Kind) {
    let memory = leaf!(kind, max_uploads(10_000));
    let client = Client::new(&memory);
    let mut last = String::new();
    for _ in 0..50 {
        let locations = futures_util::future::join_all((0..200).map(|_| client.open("a"))).await;
        last = locations.into_iter().next().unwrap();
    }
    assert_eq!(memory.usage().await.uploads, 10_000);
    assert_eq!(client.send("PATCH", &last, &[], "abc").await.header("range"), Some("0-2"));
}

async fn endless_uploads_end(kind: Kind) {
    let leaf = leaf!(kind, max_blob(1 << 20));
    let client = Client::new(&leaf);
    let location = client.open("a").await;
    assert_eq!(client.send("PATCH", &location, &[], endless()).await.error(), (413, "SIZE_INVALID"));
    let answer = client.get(&location).await;
    assert_eq!((answer.status, answer.header("range")), (204, Some("0-0")), "nothing of it stays");
    let single = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(b""));
    assert_eq!(client.send("POST", &single, &[], endless()).await.error(), (413, "SIZE_INVALID"));
}

fn endless() -> Body {
    let chunk = Bytes::from(vec![0; 64 << 10]);
    Body::from_stream(stream::repeat_with(move || Ok::<_, BoxError>(chunk.clone())))
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let memory = Memory::builder().max_bytes(1 << 20).build();
    let client = Client::new(&Leaf::Memory(memory.clone()));
    let location = client.open("a").await;
    let before = memory.usage();
    assert_eq!(before.bytes, 512);
    assert_eq!(client.send("PATCH", &location, &[], endless()).await.error(), (413, "DENIED"));
    assert_eq!(memory.usage(), before);
}

async fn documents_are_bounded_and_say_one_thing(kind: Kind) {
    let memory = leaf!(kind);
    let client = Client::new(&memory);
    client.push_blob("a", "{}").await;
    client.push_blob("a", "layer").await;
    let before = memory.usage().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (content, error) in [
        (manifest(r#","manifests":[]"#), (400, "MANIFEST_INVALID")),
        (manifest(r#","config":{}"#), (400, "MANIFEST_INVALID")),
        (manifest(r#","subject":{"digest":"x"}"#), (400, "MANIFEST_INVALID")),
        (manifest(&format!(r#","annotations":{{"a":{deep}}}"#)), (400, "MANIFEST_INVALID")),
        (manifest("")[1..].to_owned(), (400, "MANIFEST_INVALID")),
        (String::new(), (400, "MANIFEST_INVALID")),
        (manifest(&format!(r#","pad":"{}""#, "x".repeat(4 << 20))), (413, "SIZE_INVALID")),
    ] {
        let shown: String = content.chars().take(200).collect();
        let answer = client.push_manifest("/v2/a/manifests/v1", content).await;
        assert_eq!(answer.error(), error, "{shown}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("tag=t{n}")).collect();
    let digest = Digest::sha256(manifest("").as_bytes());
    let answer =
        client.push_manifest(&format!("/v2/a/manifests/{digest}?{}", many.join("&")), manifest("")).await;
    assert_eq!(answer.status, StatusCode::URI_TOO_LONG.as_u16());
    assert_eq!(memory.usage().await, before);
}

/// Over a real connection: the client announces more than it sends, and leaves.
#[cfg(feature = "testing")]
async fn a_client_that_leaves_in_the_middle_can_go_on(kind: Kind) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower_oci::testing::serve;

    let memory = leaf!(kind);
    let client = Client::new(&memory);
    let location = client.open("a").await;
    let served = serve(OciService::new(memory.registry())).unwrap();
    let mut connection = tokio::net::TcpStream::connect(served.addr()).await.unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: r\r\ncontent-length: 10\r\n\r\nabcd");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    drop(connection);

    let resumed = async {
        loop {
            let status = client.get(&location).await;
            let conflict = client.send("PATCH", &location, &[("content-range", "4-5")], "ef").await;
            if status.header("range") == Some("0-3") && conflict.status == 202 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), resumed).await.unwrap();
    let digest = Digest::sha256(b"abcdef");
    assert_eq!(client.send("PUT", &format!("{location}?digest={digest}"), &[], "").await.status, 201);
    served.stop().await;
}

tests_of_both! {
    open_uploads_are_bounded (start_paused = true),
    many_uploads_can_be_open,
    endless_uploads_end,
    nothing_leads_out_of_a_repository,
    a_chunk_is_exactly_what_was_announced,
    a_wrong_digest_leaves_nothing,
    documents_are_bounded_and_say_one_thing,
}

#[cfg(feature = "testing")]
mod over_a_connection {
    use super::{Kind, a_client_that_leaves_in_the_middle_can_go_on, tests_of_both};

    tests_of_both! { a_client_that_leaves_in_the_middle_can_go_on, }
}
