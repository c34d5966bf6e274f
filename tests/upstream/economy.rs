//! How few requests do.

use tower_oci::operation::{Credential, GetBlob, Ping, Registry as _, Request, Verified};

use crate::web::*;

#[tokio::test(start_paused = true)]
async fn a_tag_costs_a_head_and_a_get_and_a_digest_one_get() {
    let web = Web::new(open_registry);
    let upstream = web.upstream().build().unwrap();
    let by_head = head(&upstream, "v1").await.unwrap();
    assert_eq!((by_head.digest, by_head.size), (manifest_digest(), MANIFEST.len() as u64));
    assert_eq!(web.seen(), [HEAD_V1]);
    let by_get = pull(&upstream, "v1").await.unwrap();
    assert_eq!((by_get.digest, by_get.content().unwrap()), (manifest_digest(), &MANIFEST.into()));
    assert_eq!(web.seen(), [GET_V1]);
    let by_digest = pull(&upstream, &manifest_digest().to_string()).await.unwrap();
    assert_eq!(by_digest, by_get);
    assert_eq!(
        web.seen(),
        [format!("GET https://registry.example/v2/team/app/manifests/{}", manifest_digest())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_costs_one_get_and_is_verified() {
    let web = Web::new(open_registry);
    let upstream = web.upstream().build().unwrap();
    let operation = GetBlob::new(REPOSITORY.parse().unwrap(), blob_digest());
    let response = upstream.send(Request::new(operation)).await.unwrap();
    assert_eq!(response.extensions().get::<Verified>(), Some(&Verified::new()));
    let blob = response.into_reply();
    assert_eq!(blob.size, Some(BLOB.len() as u64));
    let (all, end) = drain(blob.into_whole().unwrap()).await;
    assert_eq!((all.as_str(), end.is_ok()), (BLOB, true));
    assert_eq!(web.seen(), [get_blob_line()]);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_blob_costs_one_head() {
    let web = Web::new(open_registry);
    let upstream = web.upstream().build().unwrap();
    let operation = GetBlob::head(REPOSITORY.parse().unwrap(), blob_digest());
    let blob = upstream.send(Request::new(operation)).await.unwrap().into_reply();
    assert_eq!(blob.size, Some(BLOB.len() as u64));
    assert_eq!(web.seen(), [get_blob_line().replace("GET", "HEAD")]);
}

#[tokio::test(start_paused = true)]
async fn a_pull_of_a_private_image_provokes_one_challenge_only() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.starts_with("GET https://auth.example/token") => Answer::token("t1", 300),
        _ if call.authorization() == Some("Bearer t1") => open_registry(call),
        _ => Answer::challenge(
            r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:team/app:pull""#,
        ),
    });
    let upstream = web
        .upstream()
        .credential(Credential::basic("user", "hunter2"))
        .token_host("auth.example".parse().unwrap())
        .build()
        .unwrap();
    head(&upstream, "v1").await.unwrap();
    pull(&upstream, &manifest_digest().to_string()).await.unwrap();
    drained(&upstream).await.1.unwrap();
    assert_eq!(
        web.seen(),
        [
            HEAD_V1.to_owned(),
            "GET https://auth.example/token?service=reg&scope=repository:team/app:pull [Basic dXNlcjpodW50ZXIy]"
                .to_owned(),
            format!("{HEAD_V1} [Bearer t1]"),
            format!("GET https://registry.example/v2/team/app/manifests/{} [Bearer t1]", manifest_digest()),
            format!("{} [Bearer t1]", get_blob_line()),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_one_get() {
    let web = Web::new(open_registry);
    let upstream = web.upstream().build().unwrap();
    upstream.send(Request::new(Ping::new())).await.unwrap();
    assert_eq!(web.seen(), ["GET https://registry.example/v2/"]);
}

#[tokio::test(start_paused = true)]
async fn docker_hub_is_spoken_to_where_it_lives() {
    let web = Web::new(|call| match call.line.as_str() {
        line if line.starts_with("GET https://auth.docker.io/token") => Answer::token("t1", 300),
        _ if call.authorization() == Some("Bearer t1") => Answer::manifest(),
        _ => Answer::challenge(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:team/app:pull""#,
        ),
    });
    let hub = web.upstream_at("docker.io").credential(Credential::basic("user", "hunter2")).build().unwrap();
    pull(&hub, "v1").await.unwrap();
    assert_eq!(
        web.seen(),
        [
            "GET https://registry-1.docker.io/v2/team/app/manifests/v1",
            "GET https://auth.docker.io/token?service=registry.docker.io&scope=repository:team/app:pull [Basic dXNlcjpodW50ZXIy]",
            "GET https://registry-1.docker.io/v2/team/app/manifests/v1 [Bearer t1]",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_is_asked_for_in_full() {
    let web = Web::new(|call| {
        assert_eq!(call.header(http::header::ACCEPT_ENCODING), Some("identity"));
        let agent = format!("tower-oci/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(call.header(http::header::USER_AGENT), Some(agent.as_str()));
        let accept = call.header(http::header::ACCEPT).unwrap();
        assert_eq!(accept, tower_oci::spec::media_type::ACCEPT_MANIFESTS);
        Answer::manifest()
    });
    let mut operation = manifest_request("v1");
    operation.accept = tower_oci::operation::Accept::new("application/vnd.oci.image.index.v1+json");
    web.upstream().build().unwrap().send(Request::new(operation)).await.unwrap();
}
