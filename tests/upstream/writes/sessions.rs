//! Upload locations: where an upstream's may lead, and what ours is good for.

use std::time::{Duration, SystemTime};

use tower_oci::client::Upstreams;
use tower_oci::operation::Credential;
use tower_oci::rt::Clock;

use super::*;
use crate::web::{Answer, Web};

const UPLOADS: &str = "https://registry.example/v2/a/b/blobs/uploads/";

/// An upstream that opens uploads at `first` and moves each on to `next`.
fn moving(first: &str, next: Option<&str>) -> Web {
    let (first, next) = (first.to_owned(), next.map(str::to_owned));
    Web::new(move |call| match (call.line.split_once(' ').unwrap().0, &next) {
        ("POST", _) => Answer::status(202).header("location", &first).header("range", "0-0"),
        ("PUT", _) => Answer::status(201).header("location", "/v2/a/b/blobs/sha256:00"),
        ("DELETE", _) => Answer::status(204),
        (_, Some(next)) => Answer::status(202).header("location", next).header("range", "0-2"),
        (_, None) => Answer::status(202).header("range", "0-2"),
    })
}

fn proxy(web: &Web) -> UpstreamBuilder {
    web.upstream().writes(true).upload_key(KEY)
}

fn client(builder: UpstreamBuilder) -> Client {
    Client::new(builder.build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_where_the_upstream_says() {
    let digest = Digest::sha256(b"abc");
    for (location, goes_on, finishes) in [
        ("/v2/a/b/blobs/uploads/1", "/v2/a/b/blobs/uploads/1", "/v2/a/b/blobs/uploads/1?"),
        ("1?_state=x%2Fy", "/v2/a/b/blobs/uploads/1?_state=x%2Fy", "/v2/a/b/blobs/uploads/1?_state=x%2Fy&"),
        ("?open=1&", "/v2/a/b/blobs/uploads/?open=1&", "/v2/a/b/blobs/uploads/?open=1&"),
        ("../../1", "/v2/a/b/1", "/v2/a/b/1?"),
        (
            "/artifacts-uploads/x/1?a=~+%20",
            "/artifacts-uploads/x/1?a=~+%20",
            "/artifacts-uploads/x/1?a=~+%20&",
        ),
        ("https://registry.example/x/1#part", "/x/1", "/x/1?"),
        ("https://REGISTRY.example:443/x/1?", "/x/1?", "/x/1?"),
        ("//registry.example/x/1?ns=other&digest=y", "/x/1?ns=other&digest=y", "/x/1?ns=other&digest=y&"),
    ] {
        let web = moving(location, None);
        let client = client(proxy(&web));
        let first = client.open("a/b").await;
        let ours = first.strip_prefix("/v2/a/b/blobs/uploads/").unwrap();
        assert!(ours.len() > 70 && !ours.contains(['/', '?']), "{ours}");
        let second = client.send("PATCH", &first, &[], "abc").await;
        assert_eq!((second.status, second.header("range")), (202, Some("0-2")), "{location}");
        assert_ne!(second.location(), first);
        let finish = format!("{}?digest={digest}", second.location());
        assert_eq!(client.send("PUT", &finish, &[], "").await.status, 201, "{location}");
        assert_eq!(client.send("DELETE", &first, &[], "").await.status, 204, "{location}");
        let at = "https://registry.example";
        assert_eq!(
            web.seen(),
            [
                format!("POST {UPLOADS}"),
                format!("PATCH {at}{goes_on} abc"),
                format!("PUT {at}{finishes}digest={digest}"),
                format!("DELETE {at}{goes_on}"),
            ],
            "{location}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_chunk_goes_where_the_one_before_says() {
    let web = moving("1?_state=first", Some("2?_state=second"));
    let client = client(proxy(&web));
    let first = client.open("a/b").await;
    let second = client.send("PATCH", &first, &[], "abc").await;
    client.send("PATCH", second.location(), &[], "def").await;
    assert_eq!(
        web.seen(),
        [
            format!("POST {UPLOADS}"),
            format!("PATCH {UPLOADS}1?_state=first abc"),
            format!("PATCH {UPLOADS}2?_state=second def")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_leads_elsewhere_is_refused() {
    let other =
        |origin: &str| format!("{origin}, which is another origin and not configured for its uploads");
    for (location, at) in [
        ("https://uploads.example/1?sig=secret", other("uploads.example")),
        ("//uploads.example/1?sig=secret", other("uploads.example")),
        ("https://registry.example.evil.example/1", other("registry.example.evil.example")),
        ("https://registry.example:8443/1", other("registry.example:8443")),
        ("http://registry.example/1?sig=secret", other("http://registry.example")),
        ("https://registry.example@uploads.example/secret", "what is no URL".to_owned()),
        ("https:///secret", "what is no URL".to_owned()),
        ("ftp://registry.example/secret", "what is no URL of http or https".to_owned()),
    ] {
        let web = moving(location, None);
        let client = client(proxy(&web).credential(Credential::basic("user", "hunter2")));
        let got = client.send("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
        let message = format!("registry.example opens an upload at {at}");
        assert_eq!(got.error(), refused(502, "UNSUPPORTED", &message), "{location}");
        assert_eq!(web.seen(), [format!("POST {UPLOADS}")]);
    }
    let long = format!("/{}", "x".repeat(1480));
    let got = client(proxy(&moving(&long, None))).send("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
    let message = "registry.example: the location of the upload has 1481 bytes, 1480 may be";
    assert_eq!(got.error(), refused(502, "UNSUPPORTED", message));
    let longest = moving(&format!("/{}", "x".repeat(1479)), None);
    let location = client(proxy(&longest)).open("a/b").await;
    assert_eq!(location.len(), "/v2/a/b/blobs/uploads/".len() + 2048);
    let nowhere = Web::new(|_| Answer::status(202));
    let got = client(proxy(&nowhere)).send("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
    let message = "registry.example told no location of the upload";
    assert_eq!(got.error(), refused(502, "UNSUPPORTED", message));
}

#[tokio::test(start_paused = true)]
async fn a_configured_upload_host_gets_the_content_and_no_credentials() {
    let web = Web::new(|call| match call.line.split_once(' ').unwrap() {
        _ if call.headers.contains_key("x-key") != call.line.contains("registry.example") => {
            Answer::status(500)
        }
        _ if call.authorization().is_none() && call.line.contains("registry.example") => {
            Answer::challenge("Basic realm=\"x\"")
        }
        ("POST", _) => Answer::status(202).header("location", "https://uploads.example/1?sig=s"),
        ("PUT", _) => Answer::status(201),
        (_, uri) => Answer::status(202).header("location", &format!("{uri}&part=2")),
    });
    let builder = || {
        let secret = (http::HeaderName::from_static("x-key"), http::HeaderValue::from_static("secret"));
        proxy(&web)
            .credential(Credential::basic("user", "hunter2"))
            .secret_header(secret.0, secret.1)
            .upload_host("uploads.example".parse().unwrap())
    };
    let client = client(builder());
    let first = client.open("a/b").await;
    let second = client.send("PATCH", &first, &[], "abc").await;
    let digest = Digest::sha256(b"abc");
    let finish = format!("{}?digest={digest}", second.location());
    assert_eq!(client.send("PUT", &finish, &[], "").await.status, 201);
    assert_eq!(
        web.seen(),
        [
            format!("POST {UPLOADS}"),
            format!("POST {UPLOADS} [Basic dXNlcjpodW50ZXIy]"),
            "~PATCH https://uploads.example/1?sig=s abc".to_owned(),
            format!("~PUT https://uploads.example/1?sig=s&part=2&digest={digest}"),
        ]
    );
    // An instance that doesn't know the host any more doesn't go there.
    let stranger = Client::new(proxy(&web).build().unwrap());
    let message = "no such upload is open in `a/b` of registry.example";
    let got = stranger.send("PATCH", &first, &[], "abc").await;
    assert_eq!(got.error(), refused(404, "BLOB_UPLOAD_UNKNOWN", message));
    assert_eq!(web.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_has_left_the_upstream_does_not_come_back() {
    let web = Web::new(|call| match call.line.split_once(' ').unwrap().0 {
        "POST" => Answer::status(202).header("location", "https://uploads.example/1"),
        _ => Answer::status(202).header("location", "https://registry.example/v2/a/b/blobs/uploads/1"),
    });
    let client = client(proxy(&web).upload_host("uploads.example".parse().unwrap()));
    let first = client.open("a/b").await;
    let got = client.send("PATCH", &first, &[], "abc").await;
    let message = "uploads.example opens an upload at registry.example, which is another origin and not configured \
                   for its uploads";
    assert_eq!(got.error(), refused(502, "UNSUPPORTED", message));
}

#[tokio::test(start_paused = true)]
async fn instances_with_one_key_go_on_with_each_others_uploads() {
    let home = Home::new();
    let [one, other] = [home.client(), home.client()];
    let opened = one.open("a/b").await;
    let first = other.send("PATCH", &opened, &[], "abc").await;
    let second = one.send("PATCH", first.location(), &[("content-range", "3-5")], "def").await;
    assert_eq!((second.status, second.header("range")), (202, Some("0-5")));
    let finish = format!("{}?digest={}", second.location(), Digest::sha256(b"abcdef"));
    assert_eq!(other.send("PUT", &finish, &[], "").await.status, 201);

    // Through `Upstreams` it's the same.
    let upstreams = |key: &str| {
        let upstream = upstream(&home.hosts);
        let builder = Upstreams::builder().upstream(upstream).default_upstream(HOST.parse().unwrap());
        Client::new(builder.upload_key(key).build().unwrap())
    };
    let opened = upstreams("another key of more than 32 bytes").open("a/b").await;
    assert_eq!(one.send("GET", &opened, &[], "").await.status, 204, "an upstream's own key goes before");
}

#[tokio::test(start_paused = true)]
async fn keys_are_random_shared_or_too_short() {
    let home = Home::new();
    let bare =
        || Upstream::builder(HOST.parse().unwrap()).http(HttpService::new(home.hosts.clone())).writes(true);
    let upstreams = |key: Option<&str>| {
        let builder = Upstreams::builder().upstream(bare()).default_upstream(HOST.parse().unwrap());
        let builder = match key {
            Some(key) => builder.upload_key(key),
            None => builder,
        };
        Client::new(builder.build().unwrap())
    };
    let opened = upstreams(Some(KEY)).open("a/b").await;
    assert_eq!(upstreams(Some(KEY)).send("GET", &opened, &[], "").await.status, 204);
    assert_eq!(home.client().send("GET", &opened, &[], "").await.status, 204);
    let alone = upstreams(None);
    assert_eq!(alone.send("GET", &opened, &[], "").await.status, 404);
    let own = alone.open("a/b").await;
    assert_eq!(alone.send("GET", &own, &[], "").await.status, 204);
    assert_eq!(upstreams(None).send("GET", &own, &[], "").await.status, 404);
    let error = bare().upload_key("short").build().unwrap_err();
    assert_eq!(error.to_string(), "the key for uploads is shorter than 32 bytes");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_unknown_in_the_same_words() {
    let home = Home::new();
    let client = home.client();
    let opened = client.open("a/b").await;
    let id = opened.rsplit_once('/').unwrap().1.to_owned();
    // The upstream's own identity of an upload, which its clients know, is no key either.
    let theirs = Client::new(home.memory.clone()).open("a/b").await;
    let their_id = theirs.rsplit_once('/').unwrap().1.to_owned();
    let later = {
        let builder =
            home.upstream().clock(Clock::from_fn(|| SystemTime::now() - Duration::from_secs(86_401)));
        Client::new(builder.build().unwrap()).open("a/b").await
    };
    let expired = later.rsplit_once('/').unwrap().1.to_owned();
    let mut flipped = id.clone();
    let last = if flipped.ends_with('A') { "E" } else { "A" };
    flipped.replace_range(flipped.len() - 1.., last);
    home.seen();
    let digest = Digest::sha256(b"");
    for id in [
        "x".to_owned(),
        "~eD9uPTE".to_owned(),
        "A".repeat(2048),
        id[..id.len() - 4].to_owned(),
        format!("{id}AAAA"),
        format!("{id}="),
        flipped,
        expired,
        their_id,
    ] {
        for (method, end) in
            [("PATCH", ""), ("GET", ""), ("DELETE", ""), ("PUT", format!("?digest={digest}").as_str())]
        {
            let got = client.send(method, &format!("/v2/a/b/blobs/uploads/{id}{end}"), &[], "x").await;
            let message = "no such upload is open in `a/b` of registry.example";
            assert_eq!(got.error(), refused(404, "BLOB_UPLOAD_UNKNOWN", message), "{method} {id}");
        }
    }
    let got = client.send("PATCH", &format!("/v2/a/c/blobs/uploads/{id}"), &[], "x").await;
    let message = "no such upload is open in `a/c` of registry.example";
    assert_eq!(got.error(), refused(404, "BLOB_UPLOAD_UNKNOWN", message), "another repository");
    assert_eq!(home.seen(), [""; 0], "nobody is asked");
    assert_eq!(client.send("GET", &opened, &[], "").await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_one_upstream_is_unknown_to_another() {
    let web = moving("1", None);
    let other = web.upstream_at("other.example").writes(true).upload_key(KEY);
    let (client, other) = (client(proxy(&web)), client(other));
    let opened = client.open("a/b").await;
    web.seen();
    let got = other.send("PATCH", &opened, &[], "abc").await;
    let message = "no such upload is open in `a/b` of other.example";
    assert_eq!(got.error(), refused(404, "BLOB_UPLOAD_UNKNOWN", message));
    assert_eq!(web.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_echoes_of_its_location_is_not_told_on() {
    let web = Web::new(|call| match call.line.split_once(' ').unwrap() {
        ("POST", _) => Answer::status(202).header("location", "1?sig=0123456789abcdef0123"),
        (_, uri) => Answer::json(400, &format!(r#"{{"errors":[{{"code":"X","message":"no {uri}"}}]}}"#)),
    });
    let client = client(proxy(&web));
    let opened = client.open("a/b").await;
    let told = client.send("PATCH", &opened, &[], "abc").await.error();
    let message = "registry.example refused the request, in words that echo a secret";
    assert_eq!(told, refused(400, "BLOB_UPLOAD_INVALID", message));
}
