//! Every condition under which a request is refused, and what is taken.

use http::{Method, StatusCode};
use tower_oci::body::Body;
use tower_oci::wave::Limits;

use super::support::{Service, base64};

#[tokio::test]
async fn what_earns_a_400_says_why() {
    let service = Service::new();
    let long = "x".repeat(200);
    for (body, message) in [
        // Which image.
        ("{}", "neither `containerImage` nor `containerFile` is given"),
        (r#"{"containerImage":null}"#, "neither `containerImage` nor `containerFile` is given"),
        (r#"{"containerImage":""}"#, "neither `containerImage` nor `containerFile` is given"),
        (
            r#"{"containerImage":"busybox","containerFile":"RlJPTSBh"}"#,
            "`containerImage` and `containerFile` are both given: only one of them can be",
        ),
        (
            r#"{"containerImage":"busybox","condaFile":"RlJPTSBh"}"#,
            "`containerImage` and `condaFile` are both given: only one of them can be",
        ),
        (
            r#"{"containerImage":"busybox","freeze":true}"#,
            "`freeze` needs a `buildRepository` to put the image into",
        ),
        (
            r#"{"containerFile":"RlJPTSBh","freeze":true}"#,
            "`freeze` needs a `buildRepository` to put the image into",
        ),
        // Names.
        (
            r#"{"containerImage":"docker://busybox"}"#,
            "`containerImage`: invalid image name `docker://busybox`: it starts with a protocol",
        ),
        (
            r#"{"containerImage":"busy box"}"#,
            "`containerImage`: invalid image name `busy box`: it contains white space",
        ),
        (
            r#"{"containerImage":"busybox:"}"#,
            "`containerImage`: invalid image name `busybox:`: its tag is invalid",
        ),
        (
            r#"{"containerImage":"busybox@sha256:12"}"#,
            "`containerImage`: invalid image name `busybox@sha256:12`: what follows the `@` is no valid digest",
        ),
        (
            r#"{"containerImage":"WAVE.test/busybox"}"#,
            "`containerImage`: invalid image name `WAVE.test/busybox`: its registry is no valid host",
        ),
        (
            r#"{"containerImage":"wave.test:8443/wt/abc/library/busybox"}"#,
            "`containerImage` names an image of this service itself: `wave.test:8443/wt/abc/library/busybox:latest`",
        ),
        // Repositories to push to.
        (
            r#"{"containerImage":"busybox","buildRepository":"https://quay.io/a/b"}"#,
            "`buildRepository`: invalid repository `https://quay.io/a/b`: it starts with a protocol",
        ),
        (
            r#"{"containerImage":"busybox","buildRepository":"quay.io/a/b:v1"}"#,
            "`buildRepository`: invalid repository `quay.io/a/b:v1`: it has a tag",
        ),
        (
            r#"{"containerImage":"busybox","cacheRepository":"quay.io"}"#,
            "`cacheRepository`: invalid repository `quay.io`: it is a host without a path",
        ),
        (
            r#"{"containerImage":"busybox","cacheRepository":"localhost:5000/"}"#,
            "`cacheRepository`: invalid repository `localhost:5000/`: it is a host without a path",
        ),
        (
            r#"{"containerImage":"busybox","cacheRepository":"a:b"}"#,
            "`cacheRepository`: invalid repository `a:b`: it has a tag",
        ),
        // Platforms.
        (
            r#"{"containerImage":"busybox","containerPlatform":"linux/vax"}"#,
            "`containerPlatform`: invalid platform `linux/vax`: its architecture is not known",
        ),
        (
            r#"{"containerImage":"busybox","containerPlatform":"linux/arm/v7/x"}"#,
            "`containerPlatform`: invalid platform `linux/arm/v7/x`: it has more than three parts",
        ),
        // Base64 that doesn't round-trip: no padding, bits behind the end, white space.
        (
            r#"{"containerFile":"Zg"}"#,
            "`containerFile` is no valid base64: its length or its padding is wrong",
        ),
        (
            r#"{"containerFile":"Zh=="}"#,
            "`containerFile` is no valid base64: it ends in bits that mean nothing",
        ),
        (
            r#"{"condaFile":"Zg==\n"}"#,
            "`condaFile` is no valid base64: the character at 4 doesn't belong there",
        ),
        // Times and addresses.
        (
            r#"{"containerImage":"busybox","timestamp":"2026-01-01T00:00:00"}"#,
            "`timestamp` is no ISO-8601 time with an offset: `2026-01-01T00:00:00`",
        ),
        (
            r#"{"containerImage":"busybox","timestamp":"yesterday"}"#,
            "`timestamp` is no ISO-8601 time with an offset: `yesterday`",
        ),
        (
            r#"{"containerImage":"busybox","towerEndpoint":"ftp://tower"}"#,
            "`towerEndpoint` is no http address: `ftp://tower`",
        ),
        // Types.
        (r#"{"containerImage":5}"#, "`containerImage`: invalid type: integer `5`, expected a string"),
        (
            r#"{"containerImage":"busybox","freeze":"yes"}"#,
            "`freeze`: invalid type: string \"yes\", expected a boolean",
        ),
        (
            r#"{"containerImage":"busybox","towerWorkspaceId":"7"}"#,
            "`towerWorkspaceId`: invalid type: string \"7\", expected u64",
        ),
        (r#"{"containerImage":"busybox","towerAccessToken":["hunter2"]}"#, "`towerAccessToken` is no text"),
        (
            r#"{"containerImage":"busybox","towerRefreshToken":{"a":"hunter2"}}"#,
            "`towerRefreshToken` is no text",
        ),
        (r#"{"containerImage":"busybox","containerConfig":[]}"#, "`containerConfig` is no object"),
        (
            r#"{"containerImage":"busybox","containerConfig":{"env":"A=1"}}"#,
            "`containerConfig.env`: invalid type: string \"A=1\", expected a list",
        ),
        (
            r#"{"containerImage":"busybox","containerConfig":{"cmd":[1]}}"#,
            "`containerConfig.cmd`: invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"containerImage":"busybox","containerConfig":{"env":["A"]}}"#,
            "the environment entry `A` is not of the form `NAME=value`",
        ),
        (
            r#"{"containerImage":"busybox","containerConfig":{"layers":[null]}}"#,
            "`containerConfig.layers[0]` is no object",
        ),
        // JSON.
        ("", "the request is no valid JSON: invalid document: EOF while parsing a value at line 1 column 0"),
        ("[]", "the request is no JSON object"),
        ("null", "the request is no JSON object"),
        (
            r#"{"containerImage":"busybox""#,
            "the request is no valid JSON: invalid document: EOF while parsing an object at line 1 column 27",
        ),
        (
            r#"{"containerImage":"a","containerImage":"b"}"#,
            "the request is no valid JSON: invalid document: the key `containerImage` stands twice in one object at line 1 column 43",
        ),
        (
            r#"{"containerImage":"busybox"} x"#,
            "the request is no valid JSON: invalid document: trailing characters at line 1 column 30",
        ),
        (
            &format!(r#"{{"containerImage":{{"a":"{long}"}}}}"#),
            "`containerImage`: invalid type: map, expected a string",
        ),
    ] {
        let answer = service.post(body).await;
        println!("{body}");
        answer.assert_failure(400, message);
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(
        service.post(deep).await.message(),
        "the request is no valid JSON: invalid document: recursion limit exceeded at line 1 column 132"
    );
    assert_eq!(service.ask(Method::POST, "/container-token", vec![0xff, 0xfe]).await.status, 400);
    assert_eq!(service.seen(), [], "nothing was looked up");
}

#[tokio::test]
async fn texts_over_their_limits_are_refused() {
    let service = Service::new();
    let fits = base64(&vec![b'a'; 7500]);
    assert_eq!(fits.len(), 10_000);
    service
        .post(format!(r#"{{"containerFile":"{fits}"}}"#))
        .await
        .assert_failure(501, "this service builds no images: it takes a `containerImage` only");
    for (field, bytes, characters, max) in [
        ("containerFile", 7503, 10_004, 10_000),
        ("condaFile", 37_503, 50_004, 50_000),
        ("spackFile", 37_503, 50_004, 50_000),
    ] {
        let text = base64(&vec![b'a'; bytes]);
        let answer = service.post(format!(r#"{{"{field}":"{text}"}}"#)).await;
        answer.assert_failure(400, &format!("`{field}` has {characters} characters, more than {max}"));
    }
    let answer =
        service.post(format!(r#"{{"containerImage":"a","fingerprint":"{}"}}"#, "f".repeat(8193))).await;
    answer.assert_failure(400, "`fingerprint` has 8193 bytes, more than 8192");
    let words = vec!["\"\""; 4097].join(",");
    let answer =
        service.post(format!(r#"{{"containerImage":"a","containerConfig":{{"cmd":[{words}]}}}}"#)).await;
    answer.assert_failure(400, "`containerConfig.cmd`: more than 4096 entries");
    let name = format!("quay.io/{}", vec!["component"; 22].join("/"));
    let answer = service.post(format!(r#"{{"containerImage":"{name}"}}"#)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().ends_with("has 219 characters, more than 211"), "{}", answer.body);
}

#[tokio::test]
async fn a_request_over_the_limit_is_a_413_announced_or_not() {
    let mut limits = Limits::default();
    limits.max_request = 1000;
    let service = Service::with(|wave| wave.limits(limits));
    let body = format!(r#"{{"containerImage":"busybox","x":"{}"}}"#, "x".repeat(1000));
    let announced = service.post(body.clone()).await;
    announced.assert_failure(413, "the request is larger than 1000 bytes");
    let chunks: Vec<_> =
        body.as_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec().into())).collect();
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let streamed = service.ask(Method::POST, "/container-token", body).await;
    streamed.assert_failure(413, "the request is larger than 1000 bytes");
}

#[tokio::test]
async fn a_request_that_breaks_off_is_the_clients_fault() {
    let service = Service::new();
    let chunks = [Ok("{".into()), Err(std::io::Error::other("connection reset"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let answer = service.ask(Method::POST, "/container-token", body).await;
    answer.assert_failure(400, "the request broke off");
}

#[tokio::test]
async fn what_needs_a_builder_is_a_501() {
    let service = Service::new();
    let build = "this service builds no images: it takes a `containerImage` only";
    for (body, message) in [
        (r#"{"containerFile":"RlJPTSBh"}"#, build),
        (r#"{"condaFile":"RlJPTSBh"}"#, build),
        (r#"{"spackFile":"RlJPTSBh"}"#, build),
        (r#"{"containerFile":"RlJPTSBh","condaFile":"RlJPTSBh","buildRepository":"quay.io/a/b"}"#, build),
        (
            r#"{"containerImage":"a","freeze":true,"buildRepository":"quay.io/a/b"}"#,
            "this service freezes no images: leave `freeze` out",
        ),
    ] {
        service.post(body).await.assert_failure(501, message);
    }
}

#[tokio::test]
async fn what_is_wrong_upstream_is_told_truthfully() {
    let service = Service::new();
    for (image, status, told) in [
        ("missing", 400, "docker.io says: manifest unknown"),
        ("denied", 400, "docker.io says: pull access denied"),
        ("schema1", 400, "Docker schema 1 can't be rewritten"),
        ("narrow", 400, "no image for linux/amd64: there are linux/arm64, linux/s390x"),
        ("limited", 429, "docker.io says: pull rate limit reached"),
        ("down", 503, "docker.io can't be reached"),
        ("odd", 502, "docker.io answered with an HTML page"),
        ("slow", 504, "docker.io took too long"),
    ] {
        let answer = service.post(format!(r#"{{"containerImage":"{image}"}}"#)).await;
        let message =
            format!("`containerImage`: the image `docker.io/library/{image}:latest` can't be served: {told}");
        answer.assert_failure(status, &message);
        let retry_after = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(retry_after, (image == "limited").then_some("77"));
    }
    let answer = service.post(r#"{"containerImage":"denied","towerAccessToken":"hunter2"}"#).await;
    answer.assert_failure(
        400,
        "`containerImage`: the image `docker.io/library/denied:latest` can't be served (this service doesn't use \
         the credentials behind `towerAccessToken`): docker.io says: pull access denied",
    );
}

#[tokio::test]
async fn every_field_of_the_reference_is_taken() {
    let service = Service::new();
    let body = r#"{
        "containerImage": "quay.io/a/b:v1",
        "containerFile": null, "condaFile": "", "spackFile": null,
        "containerConfig": {
            "entrypoint": ["/bin/bash"], "cmd": ["echo", "Hello world"], "env": ["FOO=one", "BAR=two", "EMPTY="],
            "workingDir": "/some/work/dir", "layers": [], "fancy": true
        },
        "containerPlatform": "linux/amd64,arm64",
        "buildRepository": "docker.io/user/my-image",
        "cacheRepository": "docker.io/user/my-cache",
        "timestamp": "2026-01-01T12:30:00.123+01:00",
        "fingerprint": "anything: ü",
        "freeze": false,
        "towerAccessToken": "secret", "towerRefreshToken": "secret",
        "towerEndpoint": "https://api.tower.nf", "towerWorkspaceId": 1234567890123,
        "nameStrategy": "none", "packages": {}
    }"#;
    let submitted = service.submit(body).await;
    assert_eq!(submitted.container_image, "quay.io/a/b:v1");
    let [seen] = &service.seen()[..] else { panic!("one look-up") };
    assert_eq!((seen.what.as_str(), seen.origin.as_str(), seen.pinned), ("HEAD a/b v1", "quay.io", false));
}

#[tokio::test]
async fn null_and_empty_are_absent() {
    let service = Service::new();
    for config in [
        "null",
        "{}",
        r#"{"entrypoint":null,"cmd":null,"env":null,"workingDir":null,"layers":null}"#,
        r#"{"entrypoint":[],"cmd":[],"env":[],"workingDir":"","layers":[]}"#,
    ] {
        service.submit(&format!(r#"{{"containerImage":"busybox","containerConfig":{config}}}"#)).await;
    }
    let plans: Vec<_> = service.seen().into_iter().map(|seen| seen.plan).collect();
    assert_eq!(plans, [plans[0]; 4]);
}

#[tokio::test]
async fn methods_and_paths() {
    let service = Service::new();
    for (method, path, allow) in [
        (Method::GET, "/container-token", "POST"),
        (Method::PUT, "/container-token", "POST"),
        (Method::POST, "/service-info", "GET, HEAD"),
        (Method::POST, "/container-token/abc", "GET, HEAD, DELETE"),
    ] {
        let answer = service.ask(method, path, "").await;
        answer.assert_failure(405, &format!("this method is not allowed here: {allow} is"));
        assert_eq!(answer.headers["allow"], allow);
    }
    for path in ["/", "/v2/", "/container-tokens", "/service-info/", "/x/container-token"] {
        let answer = service.ask(Method::GET, path, "").await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, format!("passed on: {path}")));
    }
    // Any content type will do, as with Wave: here there is none.
    service.submit(r#"{"containerImage":"busybox"}"#).await;
}
